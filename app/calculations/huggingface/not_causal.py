"""Models that are no causal language models."""

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
