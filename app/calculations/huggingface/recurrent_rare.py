"""Recurrent blocks of single families: lightning attention (MiniMax-Text-01) and Griffin's RG-LRU."""

from __future__ import annotations

from app.calculations.architecture import Recurrent
from app.calculations.huggingface.config import Config
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.tensors import column, norm, row, vector

SSM = "state_space"


def lightning_attention(config: Config, family: Family) -> Recurrent:
    """Lightning attention (arXiv:2501.08313): linear attention with a decay per head, an output gate and a norm.

    Its parameters count as attention: it is the model's self_attn. The state of a head is size x size.
    """
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    size = config.integer("head_dim") or hidden // heads
    width, group = heads * size, "attention"
    tensors = (
        column("q_proj", group, width, hidden, heads)
        + column("k_proj", group, width, hidden, heads)
        + column("v_proj", group, width, hidden, heads)
        + column("output_gate", group, width, hidden, heads)
        + norm("norm", "rms", width)
        + row("o_proj", group, hidden, width, heads)
    )
    return Recurrent(tensors=tensors, state_elements=heads * size * size, conv_elements=0, heads=heads)


def real_gated_recurrence(config: Config, family: Family) -> Recurrent:
    """RG-LRU (arXiv:2402.19427, section 2.4): a short convolution and gates that are block-diagonal by head."""
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    width, kernel = config.integer("lru_width") or hidden, config.size("conv1d_width")
    size = width // heads
    tensors = (
        column("linear_y", SSM, width, hidden, width, bias=True)
        + column("linear_x", SSM, width, hidden, width, bias=True)
        + vector("conv_1d", SSM, width, 1, kernel, units=width)
        + vector("conv_1d_bias", SSM, width, units=width)
        + vector("recurrent_param", SSM, width, units=width)
        + column("input_gate", SSM, width, size, heads, bias=True)
        + column("recurrent_gate", SSM, width, size, heads, bias=True)
        + row("linear_out", SSM, hidden, width, width, bias=True)
    )
    return Recurrent(tensors=tensors, state_elements=width, conv_elements=width * (kernel - 1), heads=heads)
