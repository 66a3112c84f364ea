"""What a row of a training table says of the software, much of it only in its notes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app import training_catalog
from app.calculations.errors import InvalidInput
from app.calculations.training.flops import CONVENTIONS, Convention
from app.calculations.training.stack import Stack
from app.calculations.training.work import PEAKS

Row = Mapping[str, str]

#: Framework as tables name it -> stack (the first that matches).
STACKS = (
    (r"torchtitan|fsdp2|fms", "torchtitan"),
    (r"llm-foundry|composer", "llm-foundry"),
    (r"torchtune|litgpt|trl|hugging|peft|axolotl|unsloth", "torchtune"),
    (r"maxtext|jax|paxml", "maxtext"),
    (r"oneflow", "oneflow"),
    (r"megatron-deepspeed", "megatron-deepspeed"),
    (r"deepspeed|zero", "deepspeed"),
    (r"meta internal|fsdp\+tp", "llama-3"),
    (r"megatron|nemo|bridge|megascale", "megatron"),
    (r"fsdp|pytorch", "torchtitan"),
)
#: Megatron-LM before it hid the backward pass's sums, and before FlashAttention and Transformer Engine: as a year.
MEGATRON_ERAS = (("megatron-2021", 2021.85), ("megatron-2022", 2022.7))
#: Mean length of the samples that fine-tuning packs into a sequence (SQuAD, Alpaca).
SAMPLE_TOKENS = 256


def whole(text: str | None) -> int | None:
    return int(float(text)) if text else None


def year(row: Row) -> float:
    """Date of the row as a fraction of years."""
    number, _, month = (row.get("source_date") or "2025-01").partition("-")
    return int(number) + (int(month[:2] or 6) - 0.5) / 12


def notes_of(row: Row) -> str:
    return (row.get("notes") or "").lower()


def stack_of(row: Row) -> Stack:
    """The framework of its era; by how the row shards where it is not known."""
    framework = (row.get("framework") or "").lower()
    name = next((stack for pattern, stack in STACKS if re.search(pattern, framework)), "")
    if not name:
        name = "torchtitan" if (row.get("sharding") or "").startswith("fsdp") else "megatron"
    if name == "megatron":
        name = next((era for era, until in MEGATRON_ERAS if year(row) < until), name)
    return training_catalog.stacks()[name]


def is_known(row: Row) -> bool:
    """Whether the row's framework is one of those that coefficients are kept for."""
    framework = (row.get("framework") or "").lower()
    return any(re.search(pattern, framework) for pattern, _ in STACKS)


def method_of(row: Row) -> str:
    """full, lora or qlora."""
    found = re.search(r"method=([\w ]+)", notes_of(row))
    text = found.group(1) if found else notes_of(row)
    return "qlora" if "qlora" in text else "lora" if re.search(r"\blora\b", text) else "full"


def network_gb_s(row: Row) -> float | None:
    """GB/s per GPU of the cluster's adapters, where the notes say; a node has eight GPUs."""
    notes = notes_of(row)
    if found := re.search(r"(\d+)\s*gb/s per gpu", notes):
        return float(found.group(1)) / 8
    if found := re.search(r"(\d+)\s*gbps node-node", notes):
        return float(found.group(1)) / 8 / 8
    if found := re.search(r"(\d+)gb/s infiniband", notes):
        return float(found.group(1)) / 8 / 8
    # Jean Zay: Omni-Path, four 100 Gb/s adapters for four V100 or eight A100.
    return 12.5 if "jean zay" in notes else None


def precision_of(row: Row) -> str:
    """The format of products. Raises InvalidInput for one that training does not use."""
    name = (row.get("precision") or "bf16").lower()
    if name not in PEAKS:
        raise InvalidInput("precision", f"Precision {name!r} is not one of training.", ", ".join(PEAKS))
    return name


def cluster_of(row: Row) -> str:
    """BigScience's runs were on Jean Zay, whose tensor-parallel sums took twice as long as others'."""
    return "jean-zay" if row.get("source") == "bigscience" or "jean zay" in notes_of(row) else ""


def offload_of(row: Row) -> str:
    notes = notes_of(row)
    if re.search(r"with cpu offload|optimizer cpu offload", notes):
        return "all"
    return "paged" if "paged" in notes else ""


def recomputed(row: Row) -> tuple[float, float] | None:
    """Shares of products and attention that selective recomputation repeats, where the notes name modules."""
    if "selective layer" in notes_of(row):
        return 0.5, 0.5
    if found := re.search(r"recompute_modules=([\w+]+)", notes_of(row)):
        modules = found.group(1).split("+")
        products = 0.5 if "moe" in modules else 0.3 if "mlp" in modules else 0.0
        return products, 1.0 if "core_attn" in modules else 0.0
    return None


def packed_tokens(row: Row, stack: Stack) -> int | None:
    """Length of samples where Megatron packs short ones; torchtune's rows count attention over what they pack."""
    fine_tuning = re.search(r"\bsft\b|\blora\b|squad", notes_of(row))
    return SAMPLE_TOKENS if fine_tuning and stack.name == "megatron" else None


def sequence_parallel(row: Row, stack: Stack) -> bool:
    """As the row says, else as software has done since 2022."""
    said = row.get("sequence_parallel")
    return said == "1" if said else stack.fused_attention


def asynchronous_tp(row: Row) -> bool:
    notes = notes_of(row)
    return bool(re.search(r"async ?tp", notes)) and "vanilla" not in notes


def rowwise(row: Row) -> bool:
    return "float8 rowwise" in notes_of(row)


def compiled(row: Row, stack: Stack) -> bool:
    """Whether torch.compile was on: torchtune says where it was, torchtitan where not; others have fused kernels."""
    if stack.name == "torchtune":
        return "torch.compile" in notes_of(row)
    return "no torch.compile" not in notes_of(row)


def convention_of(row: Row) -> tuple[Convention, bool]:
    """How the source counts FLOPs, and whether it counts what is recomputed."""
    notes = notes_of(row)
    counts = "hardware" in notes.split(";")[0] or row.get("metric") == "hfu"
    if "including both embeddings" in notes or "n=all params" in notes:
        return CONVENTIONS["all_params"], counts
    if re.search(r"8\*n\*tokens|[68]\*1\.3e9\*tokens", notes):
        return CONVENTIONS["params"], counts
    if re.search(r"halved|at half|flop_utils", notes) and not re.search(r"full attention|not halved", notes):
        return CONVENTIONS["causal"], counts
    return CONVENTIONS["palm"], counts
