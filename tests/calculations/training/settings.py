"""Training settings that tests share: real presets, few knobs."""

from typing import Any

from app import catalog, training_catalog
from app.calculations.training.recipe import Adapter
from app.calculations.training.setting import Setting
from app.calculations.training.speed import time_of


def setting(model: str = "meta-llama/Llama-3.1-8B", gpu: str = "h100-sxm", **changes: Any) -> Setting:
    """Llama 3.1 8B on eight H100, everything else changed by name; dp is what the other degrees leave."""
    chosen = {"num_gpus": 8, "seq_len": 4096, "micro_batch_size": 1, "global_batch_size": 128} | changes
    cut = chosen.get("tp", 1) * chosen.get("pp", 1) * chosen.get("cp", 1)
    chosen.setdefault("dp", chosen["num_gpus"] // cut)
    if chosen.get("method", "full") != "full":
        chosen.setdefault("adapter", Adapter(kind="lora", rank=8, targets="qv"))
    accelerator = catalog.gpu(gpu)
    return Setting(
        model=catalog.model(model),
        gpu=accelerator,
        links=training_catalog.links(accelerator),
        stack=training_catalog.stacks()[chosen.pop("stack", "megatron")],
        **{"sharding": "zero1"} | chosen,
    )


def seconds(**changes: Any) -> float:
    """Step time of a setting with the calibrated coefficients."""
    return float(time_of(setting(**changes), training_catalog.efficiency()).total)
