"""Rows of training tables -> what was run: model, GPU, layout, software; and what had to be assumed.

What a source says only in its notes is read here: asynchronous tensor parallelism, the recipe of 8-bit training,
releases, packing, offload, networks. What it does not say takes the framework's default, and the row says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app import catalog
from app.by_hand import custom_config
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config

Row = Mapping[str, str]

#: Framework as tables name it -> stack (first match counts).
STACKS = (
    (r"torchtitan|fsdp2|fms", "torchtitan"),
    (r"llm-foundry|composer", "llm-foundry"),
    (r"torchtune|litgpt|trl|hugging|peft|axolotl|unsloth", "torchtune"),
    (r"maxtext|jax|paxml", "maxtext"),
    (r"oneflow", "oneflow"),
    (r"megatron-deepspeed", "megatron-deepspeed"),
    (r"deepspeed|zero", "deepspeed"),
    (r"fsdp\+tp", "megatron"),
    (r"megatron|nemo|bridge|megascale|transformer engine", "megatron"),
    (r"fsdp|pytorch", "torchtitan"),
)
#: Megatron-LM of before FlashAttention and Transformer Engine.
MEGATRON_2021_UNTIL = 2022.7
#: Newest Megatron release measured, to which software age counts.
NEWEST_RELEASE = 2026.6
#: Mean length of samples packed into a sequence (SQuAD, Alpaca with prompt template).
SAMPLE_TOKENS = 256
#: Parameters of a layer without biases over the square of its width, plain MLP of 4 h.
PLAIN_LAYER = 12
#: Years beyond which older software is not thought to be slower still.
OLDEST_YEARS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A row as raw inputs by their names, beside the model where no preset has it."""

    raw: Mapping[str, Any]
    model: Model
    #: Assumptions, in words.
    assumed: tuple[str, ...]
    #: Layout columns that the source leaves open.
    open_layout: bool
    #: What else the notes say: see `facts`.
    facts: Mapping[str, Any]


def whole(text: str | None) -> int | None:
    return int(float(text)) if text else None


def year(row: Row) -> float:
    """Date of the row as a fraction of years."""
    number, _, month = (row.get("source_date") or "2025-01").partition("-")
    return int(number) + (int(month or 6) - 0.5) / 12


def stack_name(row: Row) -> str:
    """The framework's entry in training_stacks.toml."""
    framework = (row.get("framework") or "").lower()
    for pattern, name in STACKS:
        if re.search(pattern, framework):
            return "megatron-2021" if name == "megatron" and year(row) < MEGATRON_2021_UNTIL else name
    return "torchtitan" if (row.get("sharding") or "").startswith("fsdp") else "megatron"


def model_of(row: Row) -> tuple[Model, tuple[str, ...]]:
    """The preset of the row's model, else the model that its columns describe. Raises InvalidInput."""
    try:
        return catalog.model(row["model"]), ()
    except InvalidInput:
        if not row.get("hidden_size"):
            raise
    hidden, vocab, ffn = int(row["hidden_size"]), int(row["vocab_size"]), int(row["ffn_size"])
    layers, assumed = whole(row.get("num_layers")), ()
    if layers is None:
        layers = round((float(row["n_params"]) - hidden * vocab) / (PLAIN_LAYER * hidden**2))
        assumed = (f"{layers} layers from the number of parameters",)
    heads = whole(row.get("num_heads")) or max(hidden // 128, 1)
    if hidden % heads:
        heads = max(hidden // 128, 1)
    experts = whole(row.get("num_experts")) or 0
    values = {
        "num_layers": layers,
        "hidden_size": hidden,
        "num_heads": heads,
        "num_kv_heads": whole(row.get("num_kv_heads")),
        "head_dim": None if hidden % heads == 0 else 128,
        "ffn_size": ffn,
        "gated_mlp": row.get("gated_mlp") == "1",
        "vocab_size": vocab,
        "tied_embeddings": row.get("tied_embeddings") == "1",
        "attention_bias": False,
        "mlp_bias": False,
        "num_experts": experts,
        "experts_per_token": whole(row.get("experts_per_token")) or 1,
        "expert_ffn_size": ffn,
        "shared_experts": 0,
        "dense_layers": 0,
        "kv_lora_rank": None,
        "sliding_window": None,
    }
    if values["num_kv_heads"] and heads % values["num_kv_heads"]:
        values["num_kv_heads"] = None
    return read_config(custom_config(values), name=row["model"], source=row.get("source", "")), assumed


def method_of(row: Row) -> str:
    """full, lora or qlora, as the notes say."""
    notes = row.get("notes") or ""
    found = re.search(r"method=([\w ]+)", notes)
    text = (found.group(1) if found else notes).lower()
    return "qlora" if "qlora" in text else "lora" if re.search(r"\blora\b", text) else "full"


def facts(row: Row) -> dict[str, Any]:
    """What the notes say of the software."""
    notes = (row.get("notes") or "").lower()
    stack = stack_name(row)
    compiled = "torch.compile" in notes and "no torch.compile" not in notes
    packed_short = bool(re.search(r"\bsft\b|\blora\b|squad", notes)) and stack == "megatron"
    network = None
    if found := re.search(r"(\d+)\s*gb/s per gpu", notes):
        network = float(found.group(1)) / 8
    elif found := re.search(r"(\d+)\s*gbps node-node", notes):
        network = float(found.group(1)) / 8 / 8
    elif found := re.search(r"(\d+)gb/s infiniband", notes):
        network = float(found.group(1)) / 8 / 8
    elif "omni-path" in notes:
        network = 12.5
    elif "jean zay" in notes:
        network = 12.5
    offload = ""
    if re.search(r"with cpu offload|optimizer cpu offload", notes):
        offload = "all"
    elif "paged" in notes:
        offload = "optimizer"
    return {
        "asynchronous_tp": bool(re.search(r"asynctp on|async ?tp|\+ asynctp", notes)) and "vanilla" not in notes,
        "compiled": compiled,
        "rowwise": "rowwise" in notes.split("rowwise baseline")[0],
        "dropless": stack == "megatron" and "tokendrop" not in notes and "cuda graphs" not in notes,
        "document_tokens": SAMPLE_TOKENS if packed_short else None,
        "network_gb_s": network,
        "node_gpus": 4 if "2 nodes x 4" in notes else None,
        "offload": offload,
        "mtp": "w/o mtp" not in notes,
        "age_years": min(max(NEWEST_RELEASE - year(row), 0.0), OLDEST_YEARS) if stack == "megatron" else 0.0,
        "interleaved": "interleaved" in notes,
        "recomputed": recomputed(notes),
        "state_bytes": 2.0 if "8bit" in notes else 8.0,
        "sequence_parallel": sequence_parallel(row),
    }


def recomputed(notes: str) -> tuple[float, float] | None:
    """Shares of products and attention that selective recomputation repeats, where the notes name modules."""
    if "selective layer" in notes:
        return 0.5, 0.5
    if found := re.search(r"recompute_modules=([\w+]+)", notes):
        modules = found.group(1).split("+")
        products = 0.5 if "moe" in modules else 0.3 if "mlp" in modules else 0.0
        return products, 1.0 if "core_attn" in modules else 0.0
    return None


def sequence_parallel(row: Row) -> bool:
    """As the row says; else the default of software since 2022."""
    said = row.get("sequence_parallel")
    return said == "1" if said else not stack_name(row) in ("megatron-2021", "megatron-deepspeed", "oneflow")


def read(row: Row) -> Reading:
    """What the row ran. Raises InvalidInput where the model or the GPU is not known."""
    model, found = model_of(row)
    assumed = list(found)
    gpu = catalog.gpu(row["gpu"])
    noted = facts(row)
    degrees = {name: whole(row.get(name)) for name in ("tp", "pp", "cp", "ep", "dp", "vpp")}
    gpus = int(float(row["num_gpus"]))
    open_layout = any(degrees[name] is None for name in ("tp", "pp"))
    known = {name: degrees[name] or 1 for name in ("tp", "pp", "cp", "ep")}
    if degrees["dp"] is None or degrees["dp"] * known["tp"] * known["pp"] * known["cp"] != gpus:
        degrees["dp"] = max(gpus // (known["tp"] * known["pp"] * known["cp"]), 1)
    layers = model.num_layers // known["pp"]
    vpp = degrees["vpp"]
    if vpp is None and known["pp"] > 1:
        vpp = default_chunks(row, layers, noted["interleaved"])
        assumed.append(f"{vpp} model chunks per pipeline stage")
    micro = whole(row.get("micro_batch_size"))
    batch = whole(row.get("global_batch_size"))
    if batch is None:
        batch = (micro or 1) * degrees["dp"] * (whole(row.get("grad_accum")) or 1)
    if micro is None:
        micro = default_micro_batch(row, batch, degrees["dp"], known["pp"])
        assumed.append(f"micro-batches of {micro}")
    recompute = row.get("activation_recompute") or ""
    if not recompute:
        recompute = default_recompute(row)
        assumed.append(f"{recompute} recomputation")
    raw = {
        "model": model.name,
        "gpu": gpu.slug,
        "num_gpus": gpus,
        "seq_len": int(row["seq_len"]),
        "micro_batch_size": micro,
        "global_batch_size": batch,
        **known,
        "dp": degrees["dp"],
        "vpp": vpp or 1,
        "sharding": row.get("sharding") or "zero1",
        "precision": row.get("precision") or "bf16",
        "activation_recompute": recompute,
        "method": method_of(row),
        "framework": stack_name(row),
    }
    return Reading(raw=raw, model=model, assumed=tuple(assumed), open_layout=open_layout, facts=noted)


def default_chunks(row: Row, layers: int, interleaved: bool) -> int:
    """Model chunks per stage where the source does not say: Megatron recipes interleave as far as they can."""
    name = stack_name(row)
    if name == "torchtitan":
        return 2 if interleaved else 1
    if name.startswith("megatron") and name != "megatron-deepspeed":
        return next((n for n in (8, 7, 6, 5, 4, 3, 2) if layers % n == 0), 1)
    return 1


def default_micro_batch(row: Row, batch: int, dp: int, pp: int) -> int:
    """Sequences per micro-batch where the source does not say: torchtitan cuts a batch into as many as stages."""
    per_replica = max(batch // dp, 1)
    if stack_name(row) == "torchtitan" and pp > 1:
        return max(per_replica // pp, 1)
    if pp > 1:
        return 1
    return next(n for n in (4, 3, 2, 1) if per_replica % n == 0)


def default_recompute(row: Row) -> str:
    """Megatron of 2021 and torchtune's recipes checkpoint every layer."""
    return "full" if stack_name(row) in ("megatron-2021", "torchtune") else "none"
