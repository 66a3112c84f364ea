"""What starts a planned training run: torchrun with torchtitan, accelerate with FSDP, DeepSpeed, Megatron-LM."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from app.calculations.architecture import Attention, Experts, FeedForward, Model
from app.calculations.errors import InvalidInput

NODE_GPUS = 8
FULLY_SHARDED = ("zero3", "fsdp-full", "hsdp")
#: Sharding -> ZeRO stage.
ZERO_STAGES = {"none": 0, "zero1": 1, "zero2": 2, "fsdp-grad-op": 2, "zero3": 3, "fsdp-full": 3, "hsdp": 3}
Plan = Mapping[str, Any]


def snippet(launcher: str, inputs: Plan, results: Plan, model: Model) -> str:
    """Command and configuration of a run. Raises InvalidInput where the launcher cannot do the layout."""
    return LAUNCHERS[launcher]({**inputs, **results["layout"]}, model)


def nodes(plan: Plan) -> tuple[int, int]:
    """Nodes, and GPUs of each."""
    gpus = plan["num_gpus"]
    return (ceil(gpus / NODE_GPUS), NODE_GPUS) if gpus > NODE_GPUS else (1, gpus)


def torchrun(plan: Plan) -> str:
    count, gpus = nodes(plan)
    if count == 1:
        return f"torchrun --standalone --nproc-per-node {gpus}"
    rendezvous = "--rdzv-backend c10d --rdzv-endpoint $HEAD_NODE:29500"
    return f"torchrun --nnodes {count} --nproc-per-node {gpus} {rendezvous}"


def command(start: str, options: Mapping[str, Any]) -> str:
    """A command with an option a line; True is a bare flag, None is left out."""
    lines = [start]
    for name, value in options.items():
        if value is not None and value is not False:
            lines.append(f"  --{name}" if value is True else f"  --{name} {value}")
    return " \\\n".join(lines)


def refuse(launcher: str, plan: Plan, names: tuple[str, ...]) -> None:
    """InvalidInput for kinds of parallelism that the launcher does not have."""
    for name in names:
        if plan[name] > 1:
            raise InvalidInput("launch", f"{launcher} does not do {name} {plan[name]}.", "megatron, or another layout")


def torchtitan(plan: Plan, model: Model) -> str:
    """torchtitan: FSDP2 with tensor, pipeline and context parallelism."""
    sharded = plan["sharding"] in FULLY_SHARDED
    recompute = plan["activation_recompute"]
    degree = plan["dp"] if plan["sharding"] != "hsdp" else min(plan.get("hsdp_gpus", NODE_GPUS), plan["dp"])
    return command(
        f"{torchrun(plan)} -m torchtitan.train",
        {
            "job.config_file": "train.toml",
            "training.seq_len": plan["seq_len"],
            "training.local_batch_size": plan["micro_batch_size"],
            "training.global_batch_size": plan["global_batch_size"],
            "parallelism.data_parallel_shard_degree": degree if sharded else 1,
            "parallelism.data_parallel_replicate_degree": plan["dp"] // degree if sharded else plan["dp"],
            "parallelism.tensor_parallel_degree": plan["tp"],
            "parallelism.pipeline_parallel_degree": plan["pp"],
            "parallelism.pipeline_parallel_schedule": ("Interleaved1F1B" if plan["vpp"] > 1 else "1F1B")
            if plan["pp"] > 1
            else None,
            "parallelism.context_parallel_degree": plan["cp"],
            "parallelism.expert_parallel_degree": plan["ep"],
            "activation_checkpoint.mode": recompute,
            "activation_checkpoint.selective_ac_option": "op" if recompute == "selective" else None,
            "compile.enable": bool(plan.get("compiled", True)),
            "model.converters": "float8" if plan["precision"] == "fp8" else None,
        },
    )


def accelerate(plan: Plan, model: Model) -> str:
    """Hugging Face accelerate: an FSDP configuration and the command that uses it."""
    refuse("accelerate with FSDP", plan, ("tp", "pp", "ep"))
    strategies = {"hsdp": "HYBRID_SHARD", "fsdp-grad-op": "SHARD_GRAD_OP", "zero2": "SHARD_GRAD_OP", "none": "NO_SHARD"}
    count, _ = nodes(plan)
    accumulation = plan["global_batch_size"] // (plan["micro_batch_size"] * plan["dp"])
    mixed = {"fp16": "fp16", "fp8": "fp8", "fp32": "'no'"}.get(plan["precision"], "bf16")
    return f"""# fsdp.yaml
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: {mixed}
num_machines: {count}
num_processes: {plan["num_gpus"]}
gradient_accumulation_steps: {accumulation}
fsdp_config:
  fsdp_version: 1
  fsdp_sharding_strategy: {strategies.get(plan["sharding"], "FULL_SHARD")}
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_backward_prefetch: BACKWARD_PRE
  fsdp_forward_prefetch: true
  fsdp_use_orig_params: true
  fsdp_activation_checkpointing: {str(plan["activation_recompute"] == "full").lower()}
  fsdp_offload_params: {str(plan.get("offload") == "all").lower()}
  fsdp_state_dict_type: SHARDED_STATE_DICT

accelerate launch --config_file fsdp.yaml train.py \\
  --model_name_or_path {model.name} \\
  --per_device_train_batch_size {plan["micro_batch_size"]} \\
  --gradient_accumulation_steps {accumulation} \\
  --max_length {plan["seq_len"]}{lora_options(plan)}"""


def lora_options(plan: Plan) -> str:
    if plan["method"] == "full":
        return ""
    found = f" \\\n  --use_peft --lora_r {plan['lora_rank']}"
    found += " --lora_target_modules all-linear" if plan["lora_targets"] == "all" else ""
    found += " --use_dora" if plan["method"] == "dora" else ""
    return found + (" --load_in_4bit" if plan["method"] == "qlora" else "")


def deepspeed(plan: Plan, model: Model) -> str:
    """DeepSpeed: ds_config.json and the command that uses it."""
    refuse("DeepSpeed's ZeRO", plan, ("tp", "pp", "cp", "ep"))
    stage = ZERO_STAGES[plan["sharding"]]
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": True, "contiguous_gradients": True}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if plan.get("offload") in ("optimizer", "all"):
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if plan.get("offload") == "all" and stage == 3:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    accumulation = plan["global_batch_size"] // (plan["micro_batch_size"] * plan["dp"])
    config = {
        "train_batch_size": plan["global_batch_size"],
        "train_micro_batch_size_per_gpu": plan["micro_batch_size"],
        "gradient_accumulation_steps": accumulation,
        "fp16" if plan["precision"] == "fp16" else "bf16": {"enabled": plan["precision"] != "fp32"},
        "gradient_clipping": 1.0,
        "zero_optimization": zero,
    }
    count, gpus = nodes(plan)
    where = f"--num_gpus {gpus}" if count == 1 else f"--hostfile hosts --num_nodes {count} --num_gpus {gpus}"
    return f"# ds_config.json\n{json.dumps(config, indent=2)}\n\ndeepspeed {where} train.py --deepspeed ds_config.json"


def megatron(plan: Plan, model: Model) -> str:
    """Megatron-LM: arguments of pretrain_gpt.py."""
    if plan["method"] != "full":
        raise InvalidInput("launch", f"Megatron-LM's pretrain_gpt.py does not do {plan['method']}.", "accelerate")
    recompute = plan["activation_recompute"]
    full = recompute == "full"
    every = plan.get("recompute_layers")
    chunk_layers = model.num_layers // (plan["pp"] * plan["vpp"])
    return command(
        f"{torchrun(plan)} pretrain_gpt.py",
        {
            **architecture(plan, model),
            "seq-length": plan["seq_len"],
            "max-position-embeddings": max(plan["seq_len"], model.max_position or 0),
            "micro-batch-size": plan["micro_batch_size"],
            "global-batch-size": plan["global_batch_size"],
            "tensor-model-parallel-size": plan["tp"],
            "pipeline-model-parallel-size": plan["pp"],
            "num-layers-per-virtual-pipeline-stage": chunk_layers if plan["vpp"] > 1 else None,
            "context-parallel-size": plan["cp"],
            "expert-model-parallel-size": plan["ep"] if model.num_experts else None,
            "sequence-parallel": plan["tp"] > 1 and plan.get("sequence_parallel", True),
            "use-distributed-optimizer": plan["sharding"] != "none",
            "overlap-grad-reduce": plan["dp"] > 1,
            "overlap-param-gather": plan["sharding"] != "none",
            "recompute-granularity": None if recompute == "none" else recompute,
            "recompute-method": ("block" if every is not None else "uniform") if full else None,
            "recompute-num-layers": (every if every is not None else plan.get("recompute_group", 1)) if full else None,
            "use-flash-attn": True,
            "bf16": plan["precision"] not in ("fp16", "fp32"),
            "fp16": plan["precision"] == "fp16",
            "fp8-format": "hybrid" if plan["precision"] in ("fp8", "mxfp8") else None,
            "fp8-recipe": "mxfp8" if plan["precision"] == "mxfp8" else None,
        },
    )


def architecture(plan: Plan, model: Model) -> dict[str, Any]:
    """The model as Megatron-LM's arguments, from its most frequent layer."""
    layer, _ = max(model.layer_counts, key=lambda one: one[1])
    attention = next((b for b in layer.blocks if isinstance(b, Attention)), None)
    mlp = next((b for b in layer.blocks if isinstance(b, FeedForward | Experts)), None)
    grouped = attention is not None and attention.num_kv_heads != attention.num_heads
    experts = mlp if isinstance(mlp, Experts) else None
    return {
        "num-layers": model.num_layers,
        "hidden-size": model.hidden_size,
        "num-attention-heads": model.num_heads,
        "kv-channels": attention.head_dim if attention else None,
        "group-query-attention": grouped,
        "num-query-groups": attention.num_kv_heads if grouped and attention else None,
        "ffn-hidden-size": mlp.width if mlp else None,
        "swiglu": bool(mlp and mlp.gated),
        "untie-embeddings-and-output-weights": not model.tied_embeddings,
        "num-experts": experts.num_experts if experts else None,
        "moe-router-topk": experts.experts_per_token if experts else None,
        "moe-ffn-hidden-size": experts.width if experts else None,
        "multi-latent-attention": attention is None,
    }


LAUNCHERS: Mapping[str, Callable[[Plan, Model], str]] = {
    "torchrun": torchtitan,
    "accelerate": accelerate,
    "deepspeed": deepspeed,
    "megatron": megatron,
}
