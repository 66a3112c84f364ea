"""Megatron-LM: arguments of pretrain_gpt.py.

Arguments and their assertions: NVIDIA/Megatron-LM of November 2025 (000c4ac), megatron/training/arguments.py;
megatron/core/transformer/transformer_config.py, megatron/core/optimizer/optimizer_config.py and distrib_optimizer.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app import training_catalog
from app.calculations.architecture import Model
from app.calculations.parallelism import stage_sizes
from app.calculations.training.memory import LAYERS_BESIDE_HOST
from app.deploy.megatron_gaps import model_notes
from app.deploy.megatron_model import architecture, has_expert_biases, is_transformer
from app.deploy.megatron_pipeline import pipeline_options
from app.deploy.training_plan import (
    Plan,
    command,
    data_parallel,
    refusal,
    refuse_unknown,
    states,
    torchrun,
)

NAME = "Megatron-LM"
#: Optimizer -> arguments. Muon has a sharded form of its own.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adam"},
    "sgd": {"optimizer": "sgd", "sgd-momentum": 0},
    "sgd-momentum": {"optimizer": "sgd", "sgd-momentum": 0.9},
    "muon": {"optimizer": "muon", "ckpt-format": "torch"},
}
#: Sharding -> what Megatron-FSDP deals out.
FSDP = {
    "zero2": "optim_grads",
    "fsdp-grad-op": "optim_grads",
    "zero3": "optim_grads_params",
    "fsdp-full": "optim_grads_params",
    "hsdp": "optim_grads_params",
}
#: Kernel of a framework's attention -> backend.
BACKENDS = {"unfused": "unfused", "flash": "flash", "cudnn": "fused"}
PRECISIONS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp16": {"fp16": True},
    "bf16": {"bf16": True},
    "fp8": {"bf16": True, "fp8-format": "hybrid"},
    "mxfp8": {"bf16": True, "fp8-format": "e4m3", "fp8-recipe": "mxfp8"},
    "nvfp4": {"bf16": True, "fp4-format": "e2m1", "fp4-recipe": "nvfp4"},
}


def megatron(plan: Plan, model: Model) -> tuple[list[str], str]:
    """What Megatron-LM does otherwise than planned, and its command."""
    check(plan, model)
    options = {
        **architecture(model, plan["tp"]),
        "seq-length": plan["seq_len"],
        "max-position-embeddings": max(plan["seq_len"], model.max_position or 0),
        "micro-batch-size": plan["micro_batch_size"],
        "global-batch-size": plan["global_batch_size"],
        "train-iters": plan["steps"],
        "save-interval": plan["checkpoint_steps"],
        **parallelism(plan, model),
        **sharding(plan),
        **optimizer(plan),
        **gradients(plan),
        **recomputation(plan, model),
        **kernels(plan, model),
        **PRECISIONS[plan["precision"]],
    }
    # FSDP needs more connections; without it, sums of gradients would overtake those of tensors.
    single = plan["tp"] * plan["cp"] > 1 and plan["sharding"] not in FSDP
    start = f"{'CUDA_DEVICE_MAX_CONNECTIONS=1 ' if single else ''}{torchrun(plan)} pretrain_gpt.py"
    return list(notes(plan, model)), command(start, options)


def check(plan: Plan, model: Model) -> None:
    """InvalidInput for what Megatron-LM asserts or does not have."""
    if plan["method"] != "full":
        raise refusal(f"{NAME}'s pretrain_gpt.py", f"method {plan['method']}", "accelerate")
    if not is_transformer(model):
        raise refusal(
            f"{NAME}'s pretrain_gpt.py", f"model {model.name}: not each layer has attention and an MLP", "torchrun"
        )
    refuse_unknown(NAME, plan, "optimizer", tuple(OPTIMIZERS))
    refuse_unknown(NAME, plan, "offload", ("none", "optimizer", "activations"))
    shards = plan["sharding"] != "none"
    if plan["optimizer"].startswith("sgd") and shards and data_parallel(plan) > 1:
        raise refusal(NAME, f"optimizer {plan['optimizer']} with sharding {plan['sharding']}", "sharding none")
    if plan["optimizer"] == "muon" and plan["sharding"] in FSDP:
        raise refusal(NAME, f"optimizer muon with sharding {plan['sharding']}", "sharding none or zero1")
    if plan["offload"] == "optimizer" and plan["optimizer"] != "adamw":
        raise refusal(NAME, f"offload optimizer with optimizer {plan['optimizer']}", "optimizer adamw")
    if plan["offload"] == "activations" and (plan["pp"] > 1 or plan["activation_recompute"] != "none"):
        raise refusal(NAME, "offload activations beside pp or recompute", "pp 1 and activation_recompute none")
    if plan["cp"] > 1 and plan["seq_len"] % (2 * plan["cp"]):
        raise refusal(NAME, f"seq_len {plan['seq_len']} with cp {plan['cp']}", f"a multiple of {2 * plan['cp']}")
    if plan["ep"] > 1 and plan["precision"] == "fp16":
        raise refusal(NAME, f"precision fp16 with ep {plan['ep']}", "precision bf16")
    if plan["tp"] > 1 and plan["ep"] == 1 and has_expert_biases(model):
        raise refusal(NAME, f"tp {plan['tp']} with ep 1 and experts that have biases", "ep 2 or more, or tp 1")
    if model.num_experts and plan["tp"] > 1 and not plan["sequence_parallel"]:
        raise refusal(NAME, f"experts with tp {plan['tp']} and sequence_parallel false", "sequence_parallel true")


def parallelism(plan: Plan, model: Model) -> dict[str, Any]:
    """GPUs by what is cut over them."""
    found = {
        "tensor-model-parallel-size": plan["tp"],
        "sequence-parallel": plan["tp"] > 1 and plan["sequence_parallel"],
        "tp-comm-overlap": plan["asynchronous_tp"] and plan["tp"] > 1 and plan["sequence_parallel"],
        "pipeline-model-parallel-size": plan["pp"],
        **pipeline_options(model.num_layers, plan["pp"], plan["vpp"]),
        "context-parallel-size": plan["cp"],
    }
    if model.num_experts:
        found |= {
            "expert-model-parallel-size": plan["ep"],
            # The estimate's experts are whole where they are dealt out; Megatron-LM would cut them as all else.
            "expert-tensor-parallel-size": 1 if plan["ep"] > 1 else plan["tp"],
            "moe-token-dispatcher-type": "alltoall",
            "moe-grouped-gemm": plan["precision"] not in ("fp16", "fp32"),
            "moe-expert-capacity-factor": None if plan["dropless"] else plan["expert_imbalance"],
            "moe-pad-expert-input-to-capacity": not plan["dropless"],
        }
    return found


def sharding(plan: Plan) -> dict[str, Any]:
    """ZeRO-1 is the distributed optimizer, more than that Megatron-FSDP. What overlaps needs another GPU to talk to."""
    replicas, kind = data_parallel(plan), plan["sharding"]
    distributed = is_distributed(plan)
    group = min(plan["hsdp_gpus"], replicas)
    return {
        "use-distributed-optimizer": distributed,
        "use-megatron-fsdp": kind in FSDP,
        "data-parallel-sharding-strategy": FSDP.get(kind),
        "ckpt-format": "fsdp_dtensor" if kind in FSDP else None,
        "num-distributed-optimizer-instances": replicas // group if kind == "hsdp" else None,
        "overlap-grad-reduce": replicas > 1,
        "overlap-param-gather": replicas > 1 and distributed,
    }


def is_distributed(plan: Plan) -> bool:
    """Whether the optimizer is Megatron-LM's distributed one, which is Adam's only."""
    return plan["optimizer"] == "adamw" and (plan["sharding"] != "none" or is_precision_aware(plan))


def is_precision_aware(plan: Plan) -> bool:
    """Whether states of Adam have formats of their own, or lie in host memory."""
    kept = states(plan)
    narrow = kept.moment != "fp32" or (
        kept.gradient == "bf16" and plan["sharding"] != "none" and not kept.shard_gradient
    )
    return plan["optimizer"] == "adamw" and plan["precision"] != "fp32" and (narrow or plan["offload"] == "optimizer")


def optimizer(plan: Plan) -> dict[str, Any]:
    """The optimizer and where and how it keeps its states."""
    found = dict(OPTIMIZERS[plan["optimizer"]])
    if plan["optimizer"] == "muon" and plan["sharding"] == "zero1":
        found["optimizer"] = "dist_muon"
    if is_precision_aware(plan):
        moment = states(plan).moment
        found |= {
            "use-precision-aware-optimizer": True,
            "exp-avg-dtype": moment,
            "exp-avg-sq-dtype": moment,
            "optimizer-cpu-offload": plan["offload"] == "optimizer",
        }
    return found


def gradients(plan: Plan) -> dict[str, Any]:
    """Format in which gradients are kept and summed."""
    kept = states(plan)
    if kept.gradient == "bf16":
        narrow_shard = is_precision_aware(plan) and not kept.shard_gradient
        return {
            "grad-reduce-in-bf16": plan["precision"] not in ("fp16", "fp32"),
            "main-grads-dtype": "bf16" if narrow_shard else None,
        }
    return {"accumulate-allreduce-grads-in-fp32": plan["precision"] != "fp32"}


def recomputation(plan: Plan, model: Model) -> dict[str, Any]:
    """Layers that are recomputed: all of them in groups, or so many of each chunk."""
    if plan["activation_recompute"] != "full":
        return {"recompute-granularity": None if plan["activation_recompute"] == "none" else "selective"}
    covered = plan["recompute_layers"]
    if covered is None:
        method, layers = "uniform", plan["recompute_group"]
    else:
        method, layers = "block", -(-min(covered, max(stage_sizes(model.num_layers, plan["pp"]))) // plan["vpp"])
    return {"recompute-granularity": "full", "recompute-method": method, "recompute-num-layers": layers}


def kernels(plan: Plan, model: Model) -> dict[str, Any]:
    """Attention, the loss, and activations in host memory: of all layers but those that compute and are copied."""
    stack = training_catalog.stacks()[training_catalog.recipes()[plan["framework"]].stack]
    return {
        "attention-backend": BACKENDS.get(stack.attention, "auto"),
        "cross-entropy-loss-fusion": plan["loss"] in ("compiled", "chunked", "fused"),
        "cpu-offloading-num-layers": max(model.num_layers - LAYERS_BESIDE_HOST, 1)
        if plan["offload"] == "activations"
        else None,
    }


def notes(plan: Plan, model: Model) -> Iterator[str]:
    """What Megatron-LM cannot express, and does instead."""
    yield from model_notes(model, plan["tp"])
    kept = states(plan)
    if not kept.master:
        yield "master_weights off: Megatron-LM's optimizer keeps FP32 weights."
    if kept.moment not in ("fp32", "its own") and not is_precision_aware(plan):
        yield f"state_precision {kept.moment}: only Adam and 16-bit training have it; states are FP32."
    if kept.gradient == "bf16" and plan["precision"] in ("fp16", "fp32"):
        yield f"gradient_precision bf16: gradients have the format of weights, {plan['precision']}."
    if is_distributed(plan) and plan["sharding"] == "none" and data_parallel(plan) > 1:
        yield "sharding none: states of other formats, or in host memory, need the distributed optimizer: ZeRO-1."
    if plan["asynchronous_tp"] and plan["tp"] > 1 and not plan["sequence_parallel"]:
        yield "asynchronous_tp: Megatron-LM has it beside sequence parallelism only."
    if plan["loss"] in ("chunked", "fused"):
        yield f"loss {plan['loss']}: Megatron-LM fuses the loss's kernels, but holds all logits."
    if plan["document_tokens"]:
        yield f"document_tokens {plan['document_tokens']}: samples of a sequence attend to each other here."
    if not plan["compiled"]:
        yield "compiled false: Megatron-LM has fused kernels of its own."
    if plan["recompute_layers"] is not None and plan["recompute_group"] > 1:
        yield f"recompute_group {plan['recompute_group']}: with recompute_layers the input of every layer is kept."
    if plan["recompute_layers"] is not None and plan["recompute_layers"] % plan["vpp"]:
        yield f"recompute_layers {plan['recompute_layers']}: counted for each of vpp {plan['vpp']} chunks, rounded up."
