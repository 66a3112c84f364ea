"""Hugging Face accelerate with FSDP: a configuration and the command that uses it.

Keys: accelerate 1.15, accelerate/utils/dataclasses.py (FullyShardedDataParallelPlugin), accelerate/commands/launch.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.calculations.architecture import Model
from app.deploy.launch_trl import recomputes, trl_notes, trl_options
from app.deploy.training_plan import PORT, Plan, command, nodes, refusal, refuse_parallel, refuse_unknown, states

NAME = "accelerate with FSDP"
#: Sharding -> FSDP's strategy. FSDP always deals out gradients: ZeRO-1 is the nearest, which needs less memory.
STRATEGIES = {
    "none": "NO_SHARD",
    "zero1": "SHARD_GRAD_OP",
    "zero2": "SHARD_GRAD_OP",
    "fsdp-grad-op": "SHARD_GRAD_OP",
    "zero3": "FULL_SHARD",
    "fsdp-full": "FULL_SHARD",
    "hsdp": "HYBRID_SHARD",
}
PRECISIONS = ("bf16", "fp16", "fp32", "fp8")
FP8 = """
fp8_config:
  backend: TE
  fp8_format: HYBRID"""


def accelerate(plan: Plan, model: Model) -> tuple[list[str], str]:
    """What accelerate does otherwise than planned, its configuration and its command."""
    refuse_parallel(NAME, plan, ("tp", "pp", "cp", "ep"))
    refuse_unknown(NAME, plan, "precision", PRECISIONS)
    count, gpus = nodes(plan)
    if plan["sharding"] == "hsdp" and min(plan["hsdp_gpus"], plan["dp"]) != gpus:
        raise refusal(NAME, f"hsdp_gpus {plan['hsdp_gpus']} on nodes of {gpus} GPUs", f"hsdp_gpus {gpus}")
    mixed = mixed_precision(plan)
    text = f"""# fsdp.yaml
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: {mixed}
num_machines: {count}
num_processes: {plan["num_gpus"]}
fsdp_config:
  fsdp_version: 1
  fsdp_sharding_strategy: {STRATEGIES[plan["sharding"]]}
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_backward_prefetch: BACKWARD_PRE
  fsdp_forward_prefetch: true
  fsdp_use_orig_params: true
  fsdp_activation_checkpointing: {str(recomputes(plan)).lower()}
  fsdp_offload_params: {str(plan["offload"] in ("optimizer", "all")).lower()}
  fsdp_state_dict_type: SHARDED_STATE_DICT{FP8 if mixed == "fp8" else ""}

"""
    options = {
        **trl_options(NAME, plan, model),
        # SFTConfig's defaults are true; FSDP recomputes by itself.
        "gradient_checkpointing": "false",
        "bf16": str(mixed == "bf16").lower(),
        "fp16": "true" if mixed == "fp16" else None,
    }
    where = f" --machine_rank $NODE_RANK --main_process_ip $HEAD_NODE --main_process_port {PORT}" if count > 1 else ""
    return list(notes(plan, model)), text + command(
        f"accelerate launch --config_file fsdp.yaml{where} train.py", options
    )


def mixed_precision(plan: Plan) -> str:
    """Of products. FSDP keeps FP32 weights wherever it is on, so 16-bit weights throughout need it off."""
    if plan["precision"] in ("fp16", "fp8"):
        return str(plan["precision"])
    return "bf16" if states(plan).master and plan["precision"] == "bf16" else "'no'"


def notes(plan: Plan, model: Model) -> Iterator[str]:
    """What accelerate cannot express, and does instead."""
    yield from trl_notes(plan, model)
    if plan["sharding"] == "zero1":
        yield "sharding zero1: FSDP deals out gradients, too, which needs less memory."
    if plan["offload"] == "optimizer":
        yield "offload optimizer: FSDP moves weights and gradients to the host, too."
    kept = states(plan)
    own = "bf16" if mixed_precision(plan) == "'no'" and plan["precision"] == "bf16" else "fp32"
    if not kept.master and own == "fp32":
        yield f"master_weights off: FSDP keeps FP32 weights with {plan['precision']}."
    for field, planned in (("gradient_precision", kept.gradient), ("state_precision", kept.moment)):
        if planned not in (own, "its own"):
            yield f"{field} {planned}: FSDP keeps {own}."
