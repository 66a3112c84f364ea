"""A training script with TRL's SFTTrainer, which accelerate and DeepSpeed start: its options.

Options: trl 1.16, trl/trainer/sft_config.py and trl/trainer/model_config.py; those that it inherits: transformers 5.24,
transformers/training_args.py and transformers/trainer_optimizer.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.calculations.architecture import Attention, LatentAttention, Model
from app.calculations.training.recipe import Adapter
from app.deploy.training_plan import Plan, accumulation, refuse_unknown, states

#: Optimizer -> what --optim and --optim_args call it.
OPTIMIZERS = {
    "adamw": ("adamw_torch_fused", None),
    "adamw-8bit": ("adamw_bnb_8bit", None),
    "paged-adamw": ("paged_adamw_32bit", None),
    "paged-adamw-8bit": ("paged_adamw_8bit", None),
    "adafactor": ("adafactor", None),
    "lion": ("lion_32bit", None),
    "sgd": ("sgd", None),
    "sgd-momentum": ("sgd", "momentum=0.9"),
}
#: Tensors whose modules Transformers calls otherwise.
MODULES = {"kv_a_proj": "kv_a_proj_with_mqa"}


def trl_options(launcher: str, plan: Plan, model: Model) -> dict[str, Any]:
    """Options of the script. Raises InvalidInput for what TRL does not have."""
    refuse_unknown(launcher, plan, "method", ("full", "lora", "dora", "qlora"))
    refuse_unknown(launcher, plan, "optimizer", tuple(OPTIMIZERS))
    optimizer, settings = OPTIMIZERS[plan["optimizer"]]
    packed = bool(plan["document_tokens"])
    return {
        "model_name_or_path": model.name,
        "dtype": "float32" if states(plan).master and plan["method"] == "full" else "bfloat16",
        "per_device_train_batch_size": plan["micro_batch_size"],
        "gradient_accumulation_steps": accumulation(plan),
        "max_length": plan["seq_len"],
        # Kernels for variable lengths keep the samples of a sequence apart.
        "packing": "true" if packed else None,
        "attn_implementation": "flash_attention_2" if packed else None,
        "max_steps": plan["steps"],
        "save_steps": plan["checkpoint_steps"],
        "optim": optimizer,
        "optim_args": settings,
        "loss_type": "chunked_nll" if plan["loss"] == "chunked" else None,
        "use_liger_kernel": "true" if plan["loss"] == "fused" else None,
        "activation_offloading": "true" if plan["offload"] == "activations" else None,
        **adapter_options(plan, model),
    }


def adapter_options(plan: Plan, model: Model) -> dict[str, Any]:
    """LoRA, DoRA or QLoRA. The estimate has no dropout and quantises the scales, too."""
    if plan["method"] == "full":
        return {}
    quantized = plan["method"] == "qlora"
    return {
        "use_peft": True,
        "lora_r": plan["lora_rank"],
        "lora_dropout": 0,
        "lora_target_modules": " ".join(adapted_modules(plan["lora_targets"], model)),
        "use_dora": plan["method"] == "dora",
        "load_in_4bit": quantized,
        "use_bnb_nested_quant": quantized,
        "bnb_4bit_quant_storage": "bfloat16" if quantized and plan["sharding"] != "none" else None,
    }


def adapted_modules(targets: str, model: Model) -> list[str]:
    """Names of the modules that get an adapter."""
    if targets == "all":
        return ["all-linear"]
    adapter = Adapter(kind="lora", rank=1, targets=targets)
    names = [
        tensor.name
        for layer, _ in model.layer_counts
        for block in layer.blocks
        if isinstance(block, Attention | LatentAttention)
        for tensor in block.tensors
        if tensor.kind == "linear" and adapter.adapts(tensor.name, tensor.group)
    ]
    return [MODULES.get(name, name) for name in dict.fromkeys(names)]


def trl_notes(plan: Plan, model: Model) -> Iterator[str]:
    """What TRL and Transformers cannot express, and do instead."""
    yield "train.py: a script with TRL's SFTTrainer, such as trl/scripts/sft.py; give it --dataset_name."
    if plan["activation_recompute"] == "selective":
        yield "activation_recompute selective: Transformers recomputes whole layers, which keeps less and takes longer."
    if plan["recompute_layers"] is not None:
        yield f"recompute_layers {plan['recompute_layers']}: Transformers recomputes all layers."
    if plan["recompute_group"] > 1:
        yield f"recompute_group {plan['recompute_group']}: Transformers keeps the input of every layer."
    if plan["loss"] == "compiled":
        yield "loss compiled: Transformers holds all logits without fused kernels."
    if not plan["compiled"]:
        yield "compiled false: the script compiles nothing unless it is given --torch_compile."
    if model.num_experts and not plan["dropless"]:
        yield "dropless false: Transformers' experts drop no tokens."


def recomputes(plan: Plan) -> bool:
    """Whether layers are recomputed: the only kind that Transformers has."""
    return bool(plan["activation_recompute"] != "none")
