"""What decides how long a training step takes, with every choice made."""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.training.communication import TrainingLinks
from app.calculations.training.stack import Stack

#: Precisions whose dense products take less than 16 bits.
NARROW = ("fp8", "mxfp8", "nvfp4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A training run as its step time sees it. One GPU holds 1 / (tp pp) of the dense weights; gpus = tp pp cp dp."""

    model: Model
    gpu: Gpu
    links: TrainingLinks
    stack: Stack
    num_gpus: int
    seq_len: int
    micro_batch_size: int
    global_batch_size: int
    tp: int = 1
    pp: int = 1
    vpp: int = 1
    cp: int = 1
    ep: int = 1
    dp: int = 1
    #: none, zero1, zero2, zero3, fsdp-full, fsdp-grad-op or hsdp.
    sharding: str = "none"
    #: GPUs that hsdp shards over; groups of them hold copies.
    hsdp_gpus: int = 8
    #: Of dense products: fp32, bf16, fp16, fp8, mxfp8 or nvfp4.
    precision: str = "bf16"
    #: none, selective or full; `recomputed` replaces what the framework understands by selective.
    activation_recompute: str = "none"
    recomputed: tuple[float, float] | None = None
    #: full, lora, dora, qlora or adapter.
    method: str = "full"
    sequence_parallel: bool = True
    #: Mean length of samples packed into a sequence, whose tokens do not see each other; None: one document.
    document_tokens: int | None = None
    #: Multi-token-prediction modules that are trained, too.
    multi_token: int = 0
    #: Routing without fixed shapes: the host waits for token counts.
    dropless: bool = False
    #: In host memory: "" nothing, "paged" optimizer states that do not fit, "optimizer", "activations", or "all" of
    #: optimizer and weights.
    offload: str = ""
    #: Bytes of optimizer state per parameter (AdamW: 8).
    state_bytes: float = 8.0
    #: Years that the software is older than the newest measured.
    age_years: float = 0.0
    asynchronous_tp: bool = False
    compiled: bool = True
    #: fp8 with one scale per row instead of per tensor.
    rowwise: bool = False
    #: A cluster whose links differ from what its parts promise, as measured.
    cluster: str = ""

    @property
    def tokens_per_step(self) -> int:
        return self.global_batch_size * self.seq_len

    @property
    def trains_weights(self) -> bool:
        return self.method == "full"

    @property
    def narrow_products(self) -> bool:
        return self.precision in NARROW

    @property
    def recomputed_shares(self) -> tuple[float, float]:
        """Shares of the forward products and of the attention that the backward pass repeats."""
        if self.activation_recompute == "full":
            return 1.0, 1.0
        if self.activation_recompute != "selective":
            return 0.0, 0.0
        return self.recomputed or (self.stack.selective_products, self.stack.selective_attention)

    @property
    def expert_tp(self) -> int:
        """GPUs that one expert is cut over: with expert parallelism it is whole."""
        return 1 if self.ep > 1 else self.tp
