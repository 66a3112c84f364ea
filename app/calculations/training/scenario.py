"""A training run that can be answered: names resolved, every choice made, and the rules that choices must keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd

from app.calculations.accelerator import Hardware
from app.calculations.energy import Grid
from app.calculations.errors import InvalidInput
from app.calculations.parallelism import Layout, check, divisors, nearest
from app.calculations.training.coefficients import TrainingEfficiency
from app.calculations.training.flops import DEFAULT, Convention
from app.calculations.training.memory import MemorySetting
from app.calculations.training.pipeline import micro_batches
from app.calculations.training.run import Interruptions
from app.calculations.training.setting import Setting
from app.calculations.training.work import PEAKS, multiplies
from app.calculations.uncertainty import Spreads


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the whole run is: tokens, prices, interruptions. None: not known."""

    tokens: float | None = None
    price_usd_per_gpu_hour: float | None = None
    budget_usd: float | None = None
    region: Grid | None = None
    pue: float = 1.0
    interruptions: Interruptions = field(default_factory=Interruptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingScenario:
    """A run with all its choices, and the coefficients that predict it. Raises InvalidInput for an illegal layout."""

    setting: Setting
    memory: MemorySetting
    hardware: Hardware
    efficiency: TrainingEfficiency
    #: How far measurements lay from predictions, of steps and of memory; empty: no ranges.
    spreads: Spreads = field(default_factory=dict, repr=False)
    memory_spreads: Spreads = field(default_factory=dict, repr=False)
    #: Whether the framework's memory was measured.
    measured_memory: bool = True
    convention: Convention = DEFAULT
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        check_layout(self.setting)
        check_batch(self.setting)
        check_precision(self.setting)
        check_memory(self.setting, self.memory)

    @property
    def capacity_bytes(self) -> float:
        """What a process may hold: the GPU's memory less what the driver keeps."""
        return self.setting.gpu.memory_bytes - self.hardware.driver_bytes


def shown_layout(s: Setting) -> str:
    return " x ".join(f"{name} {getattr(s, name)}" for name in ("tp", "pp", "cp", "dp"))


def check_layout(s: Setting) -> None:
    """GPUs, heads, layers, experts and chunks against the degrees of parallelism."""
    check(s.model, Layout(tp=s.tp, pp=s.pp))
    product = s.tp * s.pp * s.cp * s.dp
    if product != s.num_gpus:
        raise InvalidInput(
            "num_gpus",
            f"{s.num_gpus} GPUs are not {shown_layout(s)} = {product}; try {product} GPUs.",
            str(product),
        )
    check_experts(s)
    if s.vpp > 1 and s.pp == 1:
        raise InvalidInput("vpp", f"Virtual stages {s.vpp}: chunks need a pipeline, and pp is 1.", "1")
    # Of interleaved chunks the first may be the embedding alone and the last the head (Llama 3, section 3.3.2).
    ends = 2 if s.vpp > 1 else 0
    if s.pp * s.vpp > s.model.num_layers + ends:
        most = (s.model.num_layers + ends) // s.pp
        raise InvalidInput(
            "vpp",
            f"Virtual stages {s.vpp}: {s.pp} stages of {s.vpp} chunks are more than the {s.model.num_layers} layers "
            f"of {s.model.name}; try {most}.",
            f"1 to {most}",
        )


def check_experts(s: Setting) -> None:
    if s.ep == 1:
        return
    if not s.model.is_mixture_of_experts:
        raise InvalidInput("ep", f"Expert parallel {s.ep}: {s.model.name} has no experts.", "1")
    group = s.tp * s.cp * s.dp
    legal = [n for n in divisors(s.model.num_experts) if group % n == 0]
    if s.ep not in legal:
        raise InvalidInput(
            "ep",
            f"Expert parallel {s.ep} must divide the {s.model.num_experts} experts of {s.model.name} and the {group} "
            f"GPUs of a stage (tp {s.tp} x cp {s.cp} x dp {s.dp}); try {nearest(legal, s.ep)}.",
            ", ".join(map(str, legal)),
        )


def check_batch(s: Setting) -> None:
    """The global batch in whole micro-batches, the sequence in whole parts."""
    whole = s.micro_batch_size * s.dp
    if s.global_batch_size % whole:
        below = s.global_batch_size // whole * whole
        around = [size for size in (below, below + whole) if size]
        raise InvalidInput(
            "global_batch_size",
            f"Global batch {s.global_batch_size} is no multiple of {whole} (micro-batch {s.micro_batch_size} x "
            f"dp {s.dp}); try {' or '.join(map(str, around))}.",
            f"a multiple of {whole}",
        )
    if s.seq_len % s.cp:
        legal = divisors(gcd(s.seq_len, s.num_gpus))
        raise InvalidInput(
            "cp",
            f"Context parallel {s.cp} does not divide a sequence of {s.seq_len} tokens; try {nearest(legal, s.cp)}.",
            ", ".join(map(str, legal)),
        )
    if s.document_tokens and s.document_tokens > s.seq_len:
        raise InvalidInput(
            "document_tokens",
            f"Packed samples of {s.document_tokens} tokens do not fit into a sequence of {s.seq_len}.",
            f"1 to {s.seq_len}",
        )
    count = micro_batches(s.global_batch_size, s.micro_batch_size, s.dp)
    if s.vpp > 1 and count % s.pp:
        raise InvalidInput(
            "vpp",
            f"Virtual stages {s.vpp}: the interleaved schedule needs micro-batches in multiples of the {s.pp} stages, "
            f"and a step has {count}; try a global batch of {-(-count // s.pp) * s.pp * whole}, or 1.",
            "1",
        )


def check_precision(s: Setting) -> None:
    """Whether the GPU multiplies in the format."""
    if s.precision != "fp32" and not multiplies(s.gpu, s.precision):
        legal = [name for name in PEAKS if multiplies(s.gpu, name)]
        wide = s.gpu.sixteen_bit
        raise InvalidInput(
            "precision", f"{s.gpu.name} has no {s.precision.upper()} units; try {wide}.", ", ".join(legal) or wide
        )


def check_memory(s: Setting, m: MemorySetting) -> None:
    """Ranks and groups that mean something."""
    if s.adapter and s.adapter.rank > s.model.hidden_size:
        raise InvalidInput(
            "lora_rank",
            f"Adapter rank {s.adapter.rank} is wider than the model ({s.model.hidden_size}); try 8 to 128.",
            f"1 to {s.model.hidden_size}",
        )
    if s.sharding == "hsdp" and (s.dp * s.cp) % s.hsdp_gpus:
        legal = divisors(s.dp * s.cp)
        raise InvalidInput(
            "hsdp_gpus",
            f"HSDP group {s.hsdp_gpus} does not divide the {s.dp * s.cp} data-parallel GPUs; "
            f"try {nearest(legal, s.hsdp_gpus)}.",
            ", ".join(map(str, legal)),
        )
