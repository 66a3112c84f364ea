"""torchrun with torchtitan: FSDP2 with tensor, pipeline, context and expert parallelism.

Options: torchtitan 0.2.2, torchtitan/config/job_config.py; what they do: torchtitan/distributed/parallel_dims.py,
torchtitan/distributed/pipeline_parallel.py, torchtitan/components/optimizer.py.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from math import ceil
from typing import Any

from app import catalog
from app.calculations.architecture import Model
from app.calculations.parallelism import stage_sizes
from app.deploy.training_plan import (
    Plan,
    accumulation,
    command,
    data_parallel,
    refusal,
    refuse_unknown,
    states,
    torchrun,
)

NAME = "torchtitan"
#: Precision -> what converts the products, of dense layers and of experts.
CONVERTERS = {
    "fp8": ("quantize.linear.float8", "quantize.grouped_mm.float8"),
    "mxfp8": ("quantize.linear.mx", "quantize.grouped_mm.mx"),
}


def torchtitan(plan: Plan, model: Model) -> tuple[list[str], str]:
    """What torchtitan does otherwise than planned, and its command."""
    refuse_unknown(NAME, plan, "method", ("full",))
    refuse_unknown(NAME, plan, "optimizer", ("adamw",))
    refuse_unknown(NAME, plan, "precision", ("bf16", "fp32", *CONVERTERS))
    options = {
        "job.config_file": "train.toml",
        **model_options(model),
        "training.seq_len": plan["seq_len"],
        **batch(plan),
        "training.steps": plan["steps"],
        "checkpoint.enable": True,
        "checkpoint.interval": plan["checkpoint_steps"],
        "optimizer.name": "AdamW",
        **sharding(plan),
        "parallelism.tensor_parallel_degree": plan["tp"],
        "parallelism.enable_async_tensor_parallel": plan["asynchronous_tp"] and plan["tp"] > 1,
        **pipeline(plan, model),
        "parallelism.context_parallel_degree": plan["cp"],
        "parallelism.expert_parallel_degree": plan["ep"],
        "parallelism.expert_tensor_parallel_degree": 1 if plan["ep"] > 1 else None,
        "activation_checkpoint.mode": plan["activation_recompute"],
        "activation_checkpoint.selective_ac_option": "op" if plan["activation_recompute"] == "selective" else None,
        **compilation(plan),
        **precision(plan, model),
        "training.enable_cpu_offload": offloads(plan),
    }
    return list(notes(plan, model)), command(f"{torchrun(plan)} -m torchtitan.train", options)


@cache
def flavors() -> Mapping[str, str]:
    """Preset -> name and flavor of the same model in torchtitan."""
    tables = tomllib.loads((catalog.DATA / "deployment.toml").read_text(encoding="utf-8"))
    found: Mapping[str, str] = tables["torchtitan"]
    return found


def model_options(model: Model) -> dict[str, Any]:
    """The model as one of torchtitan's own, where it has it."""
    if model.name not in flavors():
        return {}
    name, flavor = flavors()[model.name].split()
    assets = f"./assets/hf/{model.name.rsplit('/', 1)[-1]}"
    return {"model.name": name, "model.flavor": flavor, "model.hf_assets_path": assets}


def batch(plan: Plan) -> dict[str, Any]:
    """Sequences: a pipeline is fed a replica's whole share of a step, cut into micro-batches."""
    local = plan["micro_batch_size"] * (accumulation(plan) if plan["pp"] > 1 else 1)
    return {
        "training.local_batch_size": local,
        "parallelism.pipeline_parallel_microbatch_size": plan["micro_batch_size"] if plan["pp"] > 1 else None,
        "training.global_batch_size": plan["global_batch_size"],
    }


def sharding(plan: Plan) -> dict[str, Any]:
    """Replicas that shard and that copy; context-parallel GPUs always shard, beside the replicas."""
    dp, cp, shard = plan["dp"], plan["cp"], plan["dp"]
    if plan["sharding"] == "none":
        if dp > 1 and plan["tp"] * plan["pp"] * plan["ep"] > 1:
            raise refusal(NAME, "sharding none beside tp, pp or ep", "sharding fsdp-full")
        shard = 1
    elif plan["sharding"] == "hsdp":
        group = min(plan["hsdp_gpus"], data_parallel(plan))
        if group % cp:
            raise refusal(NAME, f"hsdp_gpus {group} with cp {cp}", f"hsdp_gpus a multiple of {cp}")
        shard = group // cp
    stage = shard * cp * plan["tp"]
    if stage % plan["ep"]:
        raise refusal(NAME, f"ep {plan['ep']} over copies of {stage} GPUs", f"ep a divisor of {stage}")
    gathered_once = plan["sharding"] in ("zero1", "zero2", "fsdp-grad-op")
    return {
        "parallelism.data_parallel_shard_degree": shard,
        "parallelism.data_parallel_replicate_degree": dp // shard,
        "parallelism.fsdp_reshard_after_forward": "never" if gathered_once else None,
    }


def pipeline(plan: Plan, model: Model) -> dict[str, Any]:
    """The schedule, and layers that the first and last stage have less for the embedding and the head."""
    pp, vpp = plan["pp"], plan["vpp"]
    if pp == 1:
        return {}
    chunks = pp * vpp
    first, last = ends(plan, model) or (1, 1)
    effective = model.num_layers + first + last
    per_chunk = ceil(effective / chunks)
    if ceil(effective / per_chunk) != chunks:
        raise refusal(NAME, f"vpp {vpp} with {model.num_layers} layers and pp {pp}", "another vpp")
    prefix = "parallelism.pipeline_parallel"
    return {
        f"{prefix}_degree": pp,
        f"{prefix}_schedule": "Interleaved1F1B" if vpp > 1 else "1F1B",
        f"{prefix}_first_stage_less_layers": first,
        f"{prefix}_last_stage_less_layers": last,
        f"{prefix}_layers_per_stage": per_chunk,
    }


def ends(plan: Plan, model: Model) -> tuple[int, int] | None:
    """Layers less on the first and the last stage with which torchtitan deals the layers out as planned."""
    pp, vpp = plan["pp"], plan["vpp"]
    for first, last in ((0, 0), (1, 1), (1, 0), (0, 1)):
        sizes = dealt(model.num_layers, pp * vpp, first, last)
        if [sum(sizes[stage::pp]) for stage in range(pp)] == stage_sizes(model.num_layers, pp):
            return first, last
    return None


def dealt(layers: int, chunks: int, first: int, last: int) -> list[int]:
    """Layers of each chunk: embedding and head count as `first` and `last` layers, spare ones go to the first chunks
    (`generate_llm_fqn_per_model_part`)."""
    each, spare = divmod(layers + first + last, chunks)
    sizes = [each + (chunk < spare) for chunk in range(chunks)]
    sizes[0] -= first
    sizes[-1] -= last
    return sizes


def compilation(plan: Plan) -> dict[str, Any]:
    """torch.compile of the model and of the loss; with loss auto, of what torchtitan compiles by itself."""
    parts = ["model"] if plan["compiled"] else []
    if plan["loss"] == "compiled" or (plan["compiled"] and plan["loss"] in ("chunked", "fused")):
        parts.append("loss")
    return {
        "compile.enable": bool(parts),
        "compile.components": ",".join(parts) if parts and plan["loss"] != "auto" else None,
    }


def precision(plan: Plan, model: Model) -> dict[str, Any]:
    """Formats of products and of what is kept."""
    kept = states(plan)
    found: dict[str, Any] = {"training.dtype": "float32" if kept.master else "bfloat16"}
    if plan["precision"] == "fp32":
        return found | {"training.mixed_precision_param": "float32"}
    if plan["precision"] not in CONVERTERS:
        return found
    dense, experts = CONVERTERS[plan["precision"]]
    found["model.converters"] = f"{dense},{experts}" if model.num_experts else dense
    if plan["precision"] == "fp8":
        found["quantize.linear.float8.enable_fsdp_float8_all_gather"] = True
    if model.num_experts:
        found[f"{experts}.fqns"] = "experts"
    return found


def offloads(plan: Plan) -> bool:
    """Whether FSDP keeps its shards in host memory."""
    refuse_unknown(NAME, plan, "offload", ("none", "optimizer", "all"))
    if plan["offload"] != "none" and plan["sharding"] == "none":
        raise refusal(NAME, f"offload {plan['offload']} without sharding", "sharding fsdp-full")
    return bool(plan["offload"] != "none")


def notes(plan: Plan, model: Model) -> Iterator[str]:
    """What torchtitan cannot express, and does instead."""
    yield "torchtitan 0.2.2; train.toml holds the data set and the learning rate."
    if model.name not in flavors():
        yield f"model {model.name}: torchtitan has none of this name; register it, set --model.name and --model.flavor."
    if plan["sharding"] in ("zero1", "zero2"):
        yield f"sharding {plan['sharding']}: FSDP2 that keeps weights gathered; gradients are dealt out, too."
    if plan["sharding"] == "none" and plan["cp"] > 1:
        yield f"sharding none: torchtitan shards over the GPUs of cp {plan['cp']} all the same."
    if not plan["sequence_parallel"] and plan["tp"] > 1:
        yield "sequence_parallel false: torchtitan always has it beside tensor parallelism."
    if plan["asynchronous_tp"] and not plan["compiled"] and plan["tp"] > 1:
        yield "asynchronous_tp: without torch.compile it has no effect."
    if plan["pp"] > 1 and ends(plan, model) is None:
        yield f"pp {plan['pp']}: of {model.num_layers} layers torchtitan deals spare ones to the first stages."
    if plan["recompute_layers"] is not None:
        yield f"recompute_layers {plan['recompute_layers']}: torchtitan recomputes all layers."
    if plan["recompute_group"] > 1:
        yield f"recompute_group {plan['recompute_group']}: torchtitan keeps the input of every layer."
    if plan["loss"] in ("chunked", "fused"):
        yield f"loss {plan['loss']}: torchtitan holds all logits at once."
    if plan["document_tokens"]:
        yield f"document_tokens {plan['document_tokens']}: only flavors with block_causal attention keep samples apart."
    if model.num_experts and not plan["dropless"]:
        yield "dropless false: torchtitan's experts drop no tokens."
    if plan["offload"] == "optimizer":
        yield "offload optimizer: torchtitan moves sharded weights and gradients to the host, too."
    yield from state_notes(plan)


def state_notes(plan: Plan) -> Iterator[str]:
    """Formats that follow from `training.dtype`: all that is kept has it."""
    kept = states(plan)
    own = "fp32" if kept.master else "bf16"
    for field, planned in (("gradient_precision", kept.gradient), ("state_precision", kept.moment)):
        if planned != own:
            yield f"{field} {planned}: torchtitan keeps {own}, as training.dtype says."
