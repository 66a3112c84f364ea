"""Models that are not read: no causal language models, or of blocks that no reader knows."""

from __future__ import annotations

#: model_type -> what it is.
NOT_CAUSAL = {
    **dict.fromkeys(
        (
            "t5",
            "mt5",
            "umt5",
            "longt5",
            "t5gemma",
            "bart",
            "mbart",
            "pegasus",
            "marian",
            "m2m_100",
            "nllb-moe",
            "led",
        ),
        "an encoder-decoder",
    ),
    **dict.fromkeys(
        (
            "blenderbot",
            "blenderbot-small",
            "mvp",
            "plbart",
            "fsmt",
            "prophetnet",
            "switch_transformers",
            "bigbird_pegasus",
        ),
        "an encoder-decoder",
    ),
    **dict.fromkeys(
        (
            "bert",
            "roberta",
            "xlm-roberta",
            "distilbert",
            "albert",
            "electra",
            "deberta",
            "deberta-v2",
            "mpnet",
        ),
        "an encoder",
    ),
    **dict.fromkeys(
        (
            "modernbert",
            "xlm-roberta-xl",
            "rembert",
            "roformer",
            "megatron-bert",
            "data2vec-text",
            "longformer",
            "big_bird",
            "nomic_bert",
            "camembert",
            "ernie",
            "esm",
        ),
        "an encoder",
    ),
    **dict.fromkeys(
        ("vit", "deit", "swin", "beit", "dinov2", "siglip", "clip", "resnet", "convnext", "detr"), "a vision"
    ),
    **dict.fromkeys(("whisper", "wav2vec2", "hubert", "speech_to_text", "speecht5", "seamless_m4t"), "a speech"),
}

#: model_type -> the blocks that make it another kind of network.
NOT_READ = {
    **dict.fromkeys(("rwkv", "rwkv5", "rwkv6", "rwkv7"), "RWKV's time mixing"),
    **dict.fromkeys(("zamba", "zamba2"), "Mamba with shared attention"),
    **dict.fromkeys(("plamo2", "plamo3"), "Mamba beside attention in another order"),
    "xlstm": "matrix LSTMs",
    "retnet": "retention",
    "openelm": "layers of different widths",
}
#: Parts of keys that change the layers themselves: who does not know them does not know the model.
STRUCTURAL = (
    "adapter",
    "conv",
    "cla_share",
    "every_n_layers",
    "hybrid",
    "latent",
    "layer_group",
    "linear_attn",
    "low_rank",
    "mamba",
    "mem_block",
    "recurren",
    "rwkv",
    "ssm",
)
