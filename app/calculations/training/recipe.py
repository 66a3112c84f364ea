"""How a training framework keeps things in memory: formats of states, what autograd keeps, what lies beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A framework as far as it changes memory. See data/training_memory.toml for meanings, units and sources."""

    name: str
    label: str
    #: Name of the same framework in data/training_stacks.toml.
    stack: str
    #: Bytes per trained parameter: 16-bit weights, FP32 weights, gradients, one moment of the optimizer.
    weight_bytes: float
    master_bytes: float
    gradient_bytes: float
    moment_bytes: float
    #: FP32 gradients of the optimizer's shard, beside the gradients themselves.
    shard_gradient_bytes: float
    #: 16-bit weights that stay on the GPU beside a shard of FP32 weights (FSDP computes them when it gathers).
    sharded_weight_bytes: float
    #: Bytes per element and parameter that the optimizer's step needs beside its states.
    step_bytes: float
    #: Bytes per element that a norm keeps: its input (and what else its kernels keep), with frozen and trained weight.
    norm_bytes: float
    trained_norm_bytes: float
    #: 16-bit elements kept per element of a gated MLP's width (gate, up, activation), without the product; plain.
    gated_copies: float
    plain_copies: float
    #: Whether keys and values are copied to all heads before attention.
    repeats_kv: bool
    #: Whether dropout keeps a mask of one byte per element.
    dropout: bool
    #: Dropout before adapters: bytes per element of their input.
    adapter_dropout_bytes: float
    #: Bytes per logit at the peak, with all logits at once; the default loss keeps `default_loss` of it.
    logit_bytes: float
    default_loss: str
    #: Bytes that 4-bit linear layers keep per element of their inputs and outputs.
    quantized_bytes: float
    #: Embedding and lm_head are units of sharding of their own, not gathered together.
    shards_ends: bool
    #: Copies of a sequence gathered over tensor-parallel GPUs in a layer, with plain and with asynchronous sums.
    gathered_copies: float
    asynchronous_copies: float
    #: Factor on all activations that was measured beside the tensors counted.
    activation_scale: float
    #: lm_head is its own matrix although the checkpoint ties it to the embedding.
    unties: bool
    #: Reserved over allocated memory, minus one; compiled and not.
    slack: float
    eager_slack: float
    #: Bytes allocated beside everything counted (workspaces), and outside the allocator (context, communicators).
    workspace_bytes: float
    runtime_bytes: float
    #: Communicators' buffers, per kind of parallelism that is used.
    communicator_bytes: float
    #: Quantity that the framework's logs call peak memory: allocated, reserved or process.
    reports: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """Small trained matrices beside frozen ones. `kind`: lora, dora or adapter; `targets`: qv, attention or all."""

    kind: str
    rank: int
    targets: str
    dropout: bool = False
    #: Whether the embedding and lm_head have one, too.
    head: bool = False

    def adapts(self, name: str, group: str) -> bool:
        """Whether a linear layer of this name and tensor group has an adapter."""
        if self.kind == "adapter" or group == "router":
            return False
        if group == "lm_head":
            return self.head
        if self.targets == "qv":
            return group == "attention" and name.startswith(("q_", "v_", "kv_b"))
        if self.targets == "attention":
            return group == "attention"
        return True
