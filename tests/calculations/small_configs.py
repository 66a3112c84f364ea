"""Two small configurations that tests change one key of."""

from __future__ import annotations

from typing import Any

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
CUSTOM: dict[str, Any] = {
    **LLAMA,
    "model_type": "custom",
    "norm": "rms",
    "gated_mlp": True,
    "attention_bias": False,
    "mlp_bias": False,
}
