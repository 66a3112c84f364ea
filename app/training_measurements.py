"""Rows of training tables -> what was run, and what had to be assumed.

What a source says only in its notes is read here: asynchronous tensor parallelism, the recipe of 8-bit training,
packing, offload, networks. What it does not say takes the framework's default, and `Run.assumed` says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app import catalog, training_catalog
from app.by_hand import custom_config
from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.calculations.training.flops import CONVENTIONS, Convention, flops_per_token
from app.calculations.training.setting import Setting
from app.calculations.training.stack import Stack
from app.calculations.training.work import PEAKS, peak

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
    (r"megatron|nemo|bridge|megascale|fsdp\+tp", "megatron"),
    (r"fsdp|pytorch", "torchtitan"),
)
#: Megatron-LM before FlashAttention and Transformer Engine, as a year.
MEGATRON_2021_UNTIL = 2022.7
#: Newest Megatron release measured, to which software age counts, and the most years that count.
NEWEST_RELEASE, OLDEST_YEARS = 2026.6, 3.0
#: Mean length of the samples that fine-tuning packs into a sequence (SQuAD, Alpaca).
SAMPLE_TOKENS = 256
#: Parameters of a layer over the square of its width, attention and plain MLP of 4 h.
PLAIN_LAYER = 12
#: Bytes per parameter of weights, of weights with gradients, and of what ZeRO-1 shards; memory that they may take.
WEIGHT_BYTES, STATE_BYTES, OPTIMIZER_BYTES, STATES_SHARE = 2, 6, 12, 0.65
#: Metrics -> power of the step time that they follow.
SPEEDS = {"tokens_per_s_per_gpu": -1, "tflops_per_gpu": -1, "mfu": -1, "hfu": -1, "step_time_s": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a row ran. `open_layout`: the source leaves tp or pp open."""

    setting: Setting
    assumed: tuple[str, ...]
    open_layout: bool
    #: FLOPs per token as the source counts them; None where the row has no such metric.
    flops_per_token: float | None


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
    if name == "megatron" and year(row) < MEGATRON_2021_UNTIL:
        name = "megatron-2021"
    return training_catalog.stacks()[name]


def is_known(row: Row) -> bool:
    """Whether the row's framework is one of those that coefficients are kept for."""
    framework = (row.get("framework") or "").lower()
    return any(re.search(pattern, framework) for pattern, _ in STACKS)


# --- models -----------------------------------------------------------------------------------------------------


def model_of(row: Row) -> tuple[Model, tuple[str, ...]]:
    """The preset of the row's model, else the model that its columns describe. Raises InvalidInput."""
    try:
        return catalog.model(row["model"]), ()
    except InvalidInput:
        if not row.get("hidden_size") or not row.get("vocab_size"):
            raise
    values, assumed = described(row)
    return read_config(custom_config(values), name=row["model"], source=row.get("source", "")), assumed


def described(row: Row) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The row's architecture columns as inputs of a model described by hand."""
    hidden, vocab = int(row["hidden_size"]), int(row["vocab_size"])
    layers, assumed = whole(row.get("num_layers")), []
    if layers is None:
        layers = round((float(row["n_params"]) - hidden * vocab) / (PLAIN_LAYER * hidden**2))
        assumed.append(f"{layers} layers from the number of parameters")
    heads = whole(row.get("num_heads")) or 0
    if heads == 0 or hidden % heads:
        heads = next(count for count in range(max(hidden // 128, 1), 0, -1) if hidden % count == 0)
        assumed.append(f"{heads} heads")
    kv_heads = whole(row.get("num_kv_heads"))
    ffn = int(row.get("ffn_size") or 4 * hidden)
    return {
        "num_layers": layers,
        "hidden_size": hidden,
        "num_heads": heads,
        "num_kv_heads": kv_heads if kv_heads and heads % kv_heads == 0 else None,
        "head_dim": None,
        "ffn_size": ffn,
        "gated_mlp": row.get("gated_mlp") == "1",
        "vocab_size": vocab,
        "tied_embeddings": row.get("tied_embeddings") == "1",
        "attention_bias": False,
        "mlp_bias": False,
        "num_experts": whole(row.get("num_experts")) or 0,
        "experts_per_token": whole(row.get("experts_per_token")) or 1,
        "expert_ffn_size": ffn,
        "shared_experts": 0,
        "dense_layers": 0,
        "kv_lora_rank": None,
        "sliding_window": None,
    }, tuple(assumed)


# --- what the notes say -----------------------------------------------------------------------------------------


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


# --- what the row leaves open -----------------------------------------------------------------------------------


def default_chunks(stack: Stack, layers: int, interleaved: bool) -> int:
    """Model chunks per stage where the source does not say: Megatron recipes interleave as far as they can."""
    if stack.name == "torchtitan":
        return 2 if interleaved else 1
    if stack.name in ("megatron", "megatron-2021"):
        return next((count for count in (8, 7, 6, 5, 4, 3, 2) if layers % count == 0), 1)
    return 1


def default_micro_batch(stack: Stack, batch: int, dp: int, pp: int) -> int:
    """Sequences per micro-batch where the source does not say: torchtitan cuts a batch into as many as stages.

    MaxText does not accumulate gradients.
    """
    per_replica = max(batch // dp, 1)
    if stack.name == "maxtext":
        return per_replica
    if pp > 1:
        return max(per_replica // pp, 1) if stack.name == "torchtitan" else 1
    return next(count for count in (4, 3, 2, 1) if per_replica % count == 0)


def default_recompute(stack: Stack) -> str:
    """Megatron of 2021, the recipes of torchtune and of MaxText checkpoint every layer."""
    return "full" if stack.name in ("megatron-2021", "torchtune", "maxtext") else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Degrees of parallelism, sequences per micro-batch, and what of them was assumed."""

    tp: int
    pp: int
    vpp: int
    cp: int
    ep: int
    dp: int
    micro_batch: int
    assumed: tuple[str, ...] = ()


def usual_cut(model: Model, gpu: Gpu, stack: Stack, batch: int, row: Row) -> Cut:
    """What an operator chooses where the source leaves it open: the least cutting whose states leave room.

    Fully sharded states need none; experts are dealt over as many GPUs as divide them.
    """
    gpus, said_pp = int(float(row["num_gpus"])), whole(row.get("pp"))
    ep = max((n for n in range(1, min(gpus, 64) + 1) if gpus % n == 0 and model.num_experts % n == 0), default=1)
    ep = ep if model.is_mixture_of_experts else 1
    groups = model.params_by_group
    params = model.total_params - groups["expert"] + groups["expert"] / ep
    tp, pp = 1, said_pp or 1
    if stack.name != "maxtext" and not (row.get("sharding") or "").startswith(("fsdp", "zero3", "hsdp")):
        for cut in (n for n in range(1, gpus + 1) if gpus % n == 0 and batch % (gpus // n) == 0):
            tp = max(n for n in (1, 2, 4, 8) if cut % n == 0 and n <= gpu.domain_gpus)
            pp = cut // tp
            per_param = STATE_BYTES + OPTIMIZER_BYTES * cut / gpus if method_of(row) == "full" else WEIGHT_BYTES
            fits = params / cut * per_param <= STATES_SHARE * gpu.memory_bytes
            if fits and model.num_layers % pp == 0 and pp == (said_pp or pp):
                break
    dp = max(gpus // (tp * pp), 1)
    vpp = default_chunks(stack, model.num_layers // pp, interleaved=False) if pp > 1 else 1
    micro = default_micro_batch(stack, batch, dp, pp)
    said = f"layout tp {tp}, pp {pp}, ep {ep}, dp {dp}, micro-batches of {micro}"
    return Cut(tp=tp, pp=pp, vpp=vpp, cp=1, ep=min(ep, dp * tp), dp=dp, micro_batch=micro, assumed=(said,))


def said_cut(model: Model, stack: Stack, batch: int | None, row: Row) -> Cut:
    """The row's own degrees; data parallelism is what is left of the GPUs."""
    tp, pp, cp, ep = (whole(row.get(name)) or 1 for name in ("tp", "pp", "cp", "ep"))
    assumed = []
    dp = max(int(float(row["num_gpus"])) // (tp * pp * cp), 1)
    vpp = whole(row.get("vpp")) or 1
    if pp > 1 and not row.get("vpp"):
        vpp = default_chunks(stack, model.num_layers // pp, interleaved="interleaved" in notes_of(row))
        assumed.append(f"{vpp} model chunks per pipeline stage")
    micro = whole(row.get("micro_batch_size"))
    if micro is None:
        micro = default_micro_batch(stack, batch or dp, dp, pp)
        assumed.append(f"micro-batches of {micro}")
    return Cut(tp=tp, pp=pp, vpp=vpp, cp=cp, ep=ep, dp=dp, micro_batch=micro, assumed=tuple(assumed))


def run_of(row: Row) -> Run:
    """What the row ran. Raises InvalidInput where the model or the GPU is not known."""
    model, found = model_of(row)
    gpu, stack, notes = catalog.gpu(row["gpu"]), stack_of(row), notes_of(row)
    batch = whole(row.get("global_batch_size"))
    open_layout = not row.get("tp") or not row.get("pp")
    cut = usual_cut(model, gpu, stack, batch or 1, row) if open_layout else said_cut(model, stack, batch, row)
    batch = batch or cut.micro_batch * cut.dp * (whole(row.get("grad_accum")) or 1)
    if cut.micro_batch * cut.dp > batch:
        raise InvalidInput(
            "global_batch_size", f"{batch} sequences are fewer than one micro-batch on {cut.dp} replicas."
        )
    assumed = [*found, *cut.assumed]
    recompute = row.get("activation_recompute") or default_recompute(stack)
    if not row.get("activation_recompute"):
        assumed.append(f"{recompute} recomputation")
    is_megatron = stack.name == "megatron"
    setting = Setting(
        model=model,
        gpu=gpu,
        links=training_catalog.links(
            gpu, network_gb_s=network_gb_s(row), node_gpus=4 if "nodes x 4 v100" in notes else None
        ),
        stack=stack,
        num_gpus=int(float(row["num_gpus"])),
        seq_len=int(row["seq_len"]),
        micro_batch_size=cut.micro_batch,
        global_batch_size=batch,
        tp=cut.tp,
        pp=cut.pp,
        vpp=cut.vpp,
        cp=cut.cp,
        ep=cut.ep,
        dp=cut.dp,
        sharding=row.get("sharding") or ("fsdp-full" if stack.name == "maxtext" else "zero1"),
        precision=precision_of(row),
        activation_recompute=recompute,
        recomputed=recomputed(row),
        method=method_of(row),
        sequence_parallel=sequence_parallel(row, stack),
        document_tokens=packed_tokens(row, stack),
        multi_token=model.mtp_layers if is_megatron and "w/o mtp" not in notes else 0,
        dropless=is_megatron and "tokendrop" not in notes and "cuda graphs" not in notes,
        offload=offload_of(row),
        state_bytes=2.0 if "8bit" in notes else 8.0,
        age_years=min(max(NEWEST_RELEASE - year(row), 0.0), OLDEST_YEARS) if is_megatron else 0.0,
        asynchronous_tp=asynchronous_tp(row),
        compiled=compiled(row, stack),
        rowwise=rowwise(row),
        cluster=cluster_of(row),
    )
    return Run(
        setting=setting,
        assumed=tuple(assumed),
        open_layout=open_layout,
        flops_per_token=counted_flops(row, setting),
    )


# --- metrics ----------------------------------------------------------------------------------------------------


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


def counted_flops(row: Row, setting: Setting) -> float | None:
    """FLOPs per token as the row's source counts them."""
    if row.get("metric") not in ("mfu", "hfu", "tflops_per_gpu"):
        return None
    convention, hardware = convention_of(row)
    found = flops_per_token(
        setting.model,
        setting.seq_len,
        convention,
        trains_weights=setting.trains_weights,
        recomputed=setting.recomputed_shares if setting.activation_recompute != "none" else (0.0, 0.0),
        attended_tokens=setting.document_tokens,
        multi_token=setting.multi_token,
    )
    return found.hardware if hardware else found.model


def speed(metric: str, step_seconds: float, run: Run) -> float:
    """The metric that a row measured, from a step time."""
    if metric == "step_time_s":
        return step_seconds
    rate = run.setting.tokens_per_step / run.setting.num_gpus / step_seconds
    if metric == "tokens_per_s_per_gpu":
        return rate
    flops = rate * (run.flops_per_token or 0.0)
    return flops / 1e12 if metric == "tflops_per_gpu" else flops / peak(run.setting, run.setting.precision)


def step_seconds(metric: str, value: float, run: Run) -> float:
    """The step time that a measured metric means."""
    one_second = speed(metric, 1.0, run)
    return value if metric == "step_time_s" else one_second / value
