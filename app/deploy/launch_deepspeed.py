"""DeepSpeed: ds_config.json and the command that uses it.

Keys: deepspeedai/DeepSpeed, docs/_pages/config-json.md and deepspeed/runtime/precision_config.py, engine.py; "auto" is
filled in by Transformers (transformers/integrations/deepspeed.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from app.calculations.architecture import Model
from app.deploy.launch_trl import recomputes, trl_notes, trl_options
from app.deploy.training_plan import (
    Plan,
    accumulation,
    command,
    nodes,
    refusal,
    refuse_parallel,
    refuse_unknown,
    states,
)

NAME = "DeepSpeed's ZeRO"
#: Sharding -> ZeRO stage.
STAGES = {"none": 0, "zero1": 1, "zero2": 2, "fsdp-grad-op": 2, "zero3": 3, "fsdp-full": 3}
#: Its own optimizer, fused on GPUs and vectorised on hosts; the others come from the script's --optim.
OWN_OPTIMIZER = {"type": "AdamW", "params": dict.fromkeys(("lr", "betas", "eps", "weight_decay"), "auto")}
CPU = {"device": "cpu", "pin_memory": True}


def deepspeed(plan: Plan, model: Model) -> tuple[list[str], str]:
    """What DeepSpeed does otherwise than planned, its configuration and its command."""
    refuse_parallel(NAME, plan, ("tp", "pp", "cp", "ep"))
    refuse_unknown(NAME, plan, "precision", ("bf16", "fp16", "fp32"))
    refuse_unknown(NAME, plan, "sharding", tuple(STAGES))
    config: dict[str, Any] = {
        "train_batch_size": plan["global_batch_size"],
        "train_micro_batch_size_per_gpu": plan["micro_batch_size"],
        "gradient_accumulation_steps": accumulation(plan),
        **precision(plan),
        "gradient_clipping": 1.0,
        "zero_optimization": zero(plan),
    }
    if plan["optimizer"] == "adamw":
        config["optimizer"] = OWN_OPTIMIZER
    else:
        config["zero_allow_untested_optimizer"] = True
    count, gpus = nodes(plan)
    where = f"--num_gpus {gpus}" if count == 1 else f"--hostfile hosts --num_nodes {count} --num_gpus {gpus}"
    options = {
        "deepspeed": "ds_config.json",
        **trl_options(NAME, plan, model),
        "gradient_checkpointing": str(recomputes(plan)).lower(),
        "bf16": str(plan["precision"] == "bf16").lower(),
        "fp16": "true" if plan["precision"] == "fp16" else None,
    }
    start = command(f"deepspeed {where} train.py", options)
    return list(notes(plan, model)), f"# ds_config.json\n{json.dumps(config, indent=2)}\n\n{start}"


def zero(plan: Plan) -> dict[str, Any]:
    """The section of ZeRO: its stage and what lies in host memory."""
    stage, offload = STAGES[plan["sharding"]], plan["offload"]
    found: dict[str, Any] = {"stage": stage, "overlap_comm": True, "contiguous_gradients": True}
    if stage == 3:
        found["stage3_gather_16bit_weights_on_model_save"] = True
    if offload in ("optimizer", "all"):
        if stage == 0 or (offload == "all" and stage < 3):
            raise refusal(NAME, f"offload {offload} with sharding {plan['sharding']}", "sharding zero3")
        if plan["optimizer"] != "adamw":
            raise refusal(NAME, f"offload {offload} with optimizer {plan['optimizer']}", "optimizer adamw")
        found["offload_optimizer"] = CPU
    if offload == "all":
        found["offload_param"] = CPU
    return found


def precision(plan: Plan) -> dict[str, Any]:
    """Formats of products and of what is kept; 16-bit throughout is a setting of ZeRO's stages."""
    kept = states(plan)
    found: dict[str, Any] = {"data_types": {"grad_accum_dtype": gradient_format(plan)}}
    if plan["precision"] == "fp16":
        found["fp16"] = {"enabled": True}
    if plan["precision"] == "bf16":
        found["bf16"] = {"enabled": True}
        if narrow(plan):
            found["bf16"] |= {"bf16_master_weights_and_grads": True, "bf16_optimizer_states": kept.moment == "bf16"}
    return found


def gradient_format(plan: Plan) -> str:
    """Format of gradients: that of weights, or with ZeRO's stages FP32 (engine.py, `_do_optimizer_sanity_check`)."""
    wide = states(plan).gradient == "fp32" and STAGES[plan["sharding"]] > 0
    return "fp32" if wide else str(plan["precision"])


def narrow(plan: Plan) -> bool:
    """Whether DeepSpeed keeps no FP32 weights."""
    return not states(plan).master and plan["precision"] == "bf16" and STAGES[plan["sharding"]] > 0


def notes(plan: Plan, model: Model) -> Iterator[str]:
    """What DeepSpeed cannot express, and does instead."""
    yield from trl_notes(plan, model)
    if plan["sharding"] == "fsdp-grad-op":
        yield "sharding fsdp-grad-op: ZeRO-2, which deals out the same."
    kept = states(plan)
    if kept.gradient != gradient_format(plan):
        yield f"gradient_precision {kept.gradient}: DeepSpeed keeps {gradient_format(plan)} with {plan['sharding']}."
    if not kept.master and not narrow(plan):
        yield f"master_weights off: DeepSpeed keeps FP32 weights with {plan['precision']} and {plan['sharding']}."
    moments = ("fp32", "bf16", "its own") if narrow(plan) else ("fp32", "its own")
    if kept.moment not in moments:
        yield f"state_precision {kept.moment}: DeepSpeed keeps {moments[-2]}."
