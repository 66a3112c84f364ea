"""What decides how long a training step takes, with every choice made."""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.training.communication import TrainingLinks
from app.calculations.training.recipe import Adapter
from app.calculations.training.stack import Stack

#: Precisions whose dense products take less than 16 bits.
NARROW = ("fp8", "mxfp8", "nvfp4")
#: Shardings that leave a GPU no whole weights.
FULLY_SHARDED = ("zero3", "fsdp-full", "hsdp")


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
    #: Layers of a stage that full recomputation covers; None: all.
    recompute_layers: int | None = None
    #: full, lora, dora, qlora or adapter.
    method: str = "full"
    #: What is trained beside frozen weights.
    adapter: Adapter | None = None
    sequence_parallel: bool = True
    #: Mean length of samples packed into a sequence, whose tokens do not see each other; None: one document.
    document_tokens: int | None = None
    #: Multi-token-prediction modules that are trained, too.
    multi_token: int = 0
    #: Routing without fixed shapes: the host waits for token counts.
    dropless: bool = False
    #: Tokens that the fullest GPU's experts meet over the mean.
    expert_imbalance: float = 1.0
    #: In host memory: "" nothing, "paged" optimizer states that do not fit, "optimizer", "activations", or "all" of
    #: optimizer and weights.
    offload: str = ""
    #: Bytes of optimizer state per parameter (AdamW: 8), and of them on a GPU, those in host memory for want of room.
    state_bytes: float = 8.0
    paged_bytes: float = 0.0
    #: Bytes of a gradient as it is reduced, where they are not the framework's, and bytes per parameter that updating a
    #: weight moves beyond those of the framework's own formats.
    gradient_bytes: float | None = None
    update_bytes: float = 0.0
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
    def wide_bytes(self) -> float:
        """Of an activation, or of a weight where it is multiplied in 16 or 32 bits."""
        return 4.0 if self.precision == "fp32" else 2.0

    @property
    def weights_in_host(self) -> bool:
        """Sharded weights (on one GPU: all) are in host memory and fetched layer by layer."""
        return self.offload == "all" and (self.sharding in FULLY_SHARDED or self.dp * self.cp == 1)

    @property
    def updates_in_host(self) -> bool:
        return self.offload in ("optimizer", "all")

    @property
    def imbalance(self) -> float:
        """Tokens of the fullest GPU's experts over the mean; where each GPU holds all experts, none is fuller."""
        return self.expert_imbalance if self.ep > 1 else 1.0

    @property
    def narrow_products(self) -> bool:
        return self.precision in NARROW

    @property
    def recomputed_shares(self) -> tuple[float, float]:
        """Shares of the forward products and of the attention that the backward pass repeats."""
        if self.activation_recompute == "full":
            return self.covered_share, self.covered_share
        if self.activation_recompute != "selective":
            return 0.0, 0.0
        return self.recomputed or (self.stack.selective_products, self.stack.selective_attention)

    @property
    def covered_share(self) -> float:
        """Share of a mean stage's layers that full recomputation covers."""
        if self.recompute_layers is None:
            return 1.0
        return min(self.recompute_layers * self.pp / self.model.num_layers, 1.0)

    @property
    def expert_tp(self) -> int:
        """GPUs that one expert is cut over: with expert parallelism it is whole."""
        return 1 if self.ep > 1 else self.tp
