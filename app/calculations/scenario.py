"""The inputs, each declared once: label, unit, limits, choices, default, help. Every front end derives from here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from app.calculations.accelerator import Gpu, Hardware
from app.calculations.architecture import Model
from app.calculations.coefficients import Efficiency
from app.calculations.energy import Grid
from app.calculations.engine import Engine
from app.calculations.errors import InvalidInput
from app.calculations.inputs import declared, inputs_of
from app.calculations.kernel_library import Curves
from app.calculations.lengths import expected_longest
from app.calculations.mix import RequestClass, mean
from app.calculations.parallelism import Layout, check
from app.calculations.precision import GGUF_FILE_TYPES, choices
from app.calculations.uncertainty import Measured, Spreads

#: Groups of inputs in the order of the form: name -> (heading, folded away by default).
GROUPS = {
    "model": ("Model", False),
    "custom_model": ("Custom architecture", True),
    "hardware": ("Accelerators", False),
    "custom_gpu": ("Custom accelerator", True),
    "workload": ("Workload", False),
    "goals": ("Goals", True),
    "layout": ("Layout", True),
    "precision": ("Precision", True),
    "engine": ("Engine and overhead", True),
    "price": ("Price", True),
    "energy": ("Energy and carbon", True),
}

CUSTOM = "custom"
ON_OFF = (("auto", "Engine's default"), ("on", "On"), ("off", "Off"))


class CustomArchitecture:
    """A model described by hand; used where the model is "custom"."""

    num_layers: Any = declared(
        group="custom_model", kind="integer", label="Layers", default=32, minimum=1, maximum=1000, unit="layers",
        help="Transformer blocks (num_hidden_layers).")
    hidden_size: Any = declared(
        group="custom_model", kind="integer", label="Hidden size", default=4096, minimum=8, maximum=1_000_000,
        unit="elements", help="Width of the residual stream.")
    num_heads: Any = declared(
        group="custom_model", kind="integer", label="Attention heads", default=32, minimum=1, maximum=4096,
        unit="heads", help="Query heads of a layer.")
    num_kv_heads: Any = declared(
        group="custom_model", kind="integer", label="Key/value heads", minimum=1, maximum=4096, unit="heads",
        help="8 of 32 is grouped-query attention, 1 multi-query. Empty: as many as query heads.")
    head_dim: Any = declared(
        group="custom_model", kind="integer", label="Head dimension", minimum=1, maximum=65_536, unit="elements",
        help="Its own field in many models. Empty: hidden size / heads.")
    ffn_size: Any = declared(
        group="custom_model", kind="integer", label="Feed-forward size", default=14336, minimum=1, maximum=10_000_000,
        unit="elements", help="Inner width of the MLP (intermediate_size).")
    gated_mlp: Any = declared(
        group="custom_model", kind="flag", label="Gated MLP", default=True,
        help="Three matrices (SwiGLU, GeGLU) instead of two.")
    vocab_size: Any = declared(
        group="custom_model", kind="integer", label="Vocabulary", default=128_256, minimum=1, maximum=10_000_000,
        unit="tokens", help="Rows of the embedding table.")
    tied_embeddings: Any = declared(
        group="custom_model", kind="flag", label="Tied embeddings", default=False,
        help="lm_head shares the embedding table.")
    attention_bias: Any = declared(
        group="custom_model", kind="flag", label="Biases in attention", default=False,
        help="Bias vectors on the query, key, value and output projections.")
    mlp_bias: Any = declared(
        group="custom_model", kind="flag", label="Biases in the MLP", default=False,
        help="Bias vectors on the feed-forward matrices.")
    num_experts: Any = declared(
        group="custom_model", kind="integer", label="Routed experts", default=0, minimum=0, maximum=100_000,
        unit="experts", help="0 for a dense model.")
    experts_per_token: Any = declared(
        group="custom_model", kind="integer", label="Experts per token", default=2, minimum=1, maximum=100_000,
        unit="experts", help="Routed experts that each token runs through (top-k).")
    expert_ffn_size: Any = declared(
        group="custom_model", kind="integer", label="Expert size", minimum=1, maximum=10_000_000, unit="elements",
        help="Inner width of one expert. Empty: the feed-forward size.")
    shared_experts: Any = declared(
        group="custom_model", kind="integer", label="Shared experts", default=0, minimum=0, maximum=1000,
        unit="experts", help="Experts that every token runs through.")
    dense_layers: Any = declared(
        group="custom_model", kind="integer", label="Dense first layers", default=0, minimum=0, maximum=1000,
        unit="layers", help="First layers with a dense MLP instead of experts.")
    kv_lora_rank: Any = declared(
        group="custom_model", kind="integer", label="MLA latent rank", minimum=1, maximum=65_536, unit="elements",
        help="Multi-head latent attention: width of the cached latent (kv_lora_rank). Empty: no MLA.")
    q_lora_rank: Any = declared(
        group="custom_model", kind="integer", label="MLA query rank", minimum=1, maximum=65_536, unit="elements",
        help="Low-rank query projection (q_lora_rank). Empty: full.")
    qk_rope_head_dim: Any = declared(
        group="custom_model", kind="integer", label="MLA rotary dimension", default=64, minimum=1, maximum=65_536,
        unit="elements", help="Rotary part of a key, cached beside the latent.")
    sliding_window: Any = declared(
        group="custom_model", kind="integer", label="Sliding window", minimum=1, maximum=100_000_000, unit="tokens",
        help="Every layer attends to and caches only this many tokens. Empty: full attention.")


class CustomAccelerator:
    """An accelerator described by hand; used where the GPU is "custom". Peaks are dense."""

    gpu_memory_gib: Any = declared(
        group="custom_gpu", kind="number", label="Memory", default=80.0, minimum=0.1, maximum=100_000, unit="GiB",
        help="What the driver reports: an A100 80 GB has 80 GiB, a B200 178 GiB.")
    gpu_bandwidth_gb_s: Any = declared(
        group="custom_gpu", kind="number", label="Memory bandwidth", default=2000.0, minimum=1, maximum=1_000_000,
        unit="GB/s", help="Peak of the datasheet.")
    gpu_bf16_tflops: Any = declared(
        group="custom_gpu", kind="number", label="BF16 peak", default=300.0, minimum=0.01, maximum=1_000_000,
        unit="TFLOPS", help="Dense, without sparsity. FP16 is taken as equal.")
    gpu_fp8_tflops: Any = declared(
        group="custom_gpu", kind="number", label="FP8 peak", minimum=0.01, maximum=1_000_000, unit="TFLOPS",
        help="Dense. Empty: no FP8 units.")
    gpu_int8_tops: Any = declared(
        group="custom_gpu", kind="number", label="INT8 peak", minimum=0.01, maximum=1_000_000, unit="TOPS",
        help="Dense. Empty: no INT8 units.")
    gpu_fp4_tflops: Any = declared(
        group="custom_gpu", kind="number", label="FP4 peak", minimum=0.01, maximum=1_000_000, unit="TFLOPS",
        help="Dense. Empty: no FP4 units.")
    gpu_link_gb_s: Any = declared(
        group="custom_gpu", kind="number", label="Link to other GPUs", default=32.0, minimum=0.1, maximum=100_000,
        unit="GB/s", help="Per GPU, one direction: NVLink 4 is 450, PCIe 4 x16 32.")
    gpu_domain: Any = declared(
        group="custom_gpu", kind="integer", label="GPUs per fast domain", default=8, minimum=1, maximum=100_000,
        unit="GPUs", help="How many GPUs the link joins; beyond it traffic takes the network.")
    gpu_tdp_w: Any = declared(
        group="custom_gpu", kind="number", label="Board power", default=400.0, minimum=1, maximum=100_000, unit="W",
        help="Thermal design power.")


class ServingInputs:
    """What is asked of a planner who wants to serve a model."""

    model: Any = declared(
        group="model", kind="name", catalogue="models", label="Model", default="meta-llama/Llama-3.1-8B-Instruct",
        help="A preset, or custom to describe an architecture by hand.")
    gpu: Any = declared(
        group="hardware", kind="name", catalogue="gpus", label="Accelerator", default="h100-sxm",
        help="A preset, or custom to describe one by hand.")
    num_gpus: Any = declared(
        group="hardware", kind="integer", label="Number of GPUs", minimum=1, maximum=16_384, unit="GPUs",
        placeholder="automatic", slider=(1, 64, 1), help="Of one instance. Empty: the smallest number that fits.")
    tp: Any = declared(
        group="layout", kind="integer", label="Tensor parallel", minimum=1, maximum=1024, unit="GPUs",
        placeholder="automatic", help="Every matrix is cut over this many GPUs.")
    pp: Any = declared(
        group="layout", kind="integer", label="Pipeline parallel", minimum=1, maximum=1024, unit="stages",
        placeholder="automatic", help="The layers are cut into this many stages.")
    dp: Any = declared(
        group="layout", kind="integer", label="Data parallel", minimum=1, maximum=4096, unit="replicas",
        placeholder="automatic", help="Replicas of the attention part; requests are dealt out among them.")
    ep: Any = declared(
        group="layout", kind="integer", label="Expert parallel", minimum=1, maximum=4096, unit="GPUs",
        placeholder="automatic", help="The experts of a mixture are dealt out over this many GPUs.")
    prefill_gpus: Any = declared(
        group="layout", kind="integer", label="Prefill GPUs", minimum=1, maximum=16_384, unit="GPUs",
        placeholder="none of their own",
        help="So many of the GPUs only prefill and send the cache to the others, which only decode (disaggregated "
        "serving). The layout above is then that of the others. Empty: all do both.")
    prefill_tp: Any = declared(
        group="layout", kind="integer", label="Tensor parallel of prefill", minimum=1, maximum=1024, unit="GPUs",
        placeholder="as above", help="GPUs of a prefill replica, where some GPUs only prefill.")
    weight_precision: Any = declared(
        group="precision", kind="choice", label="Weights", default="auto", choices=choices(
            "fp32", "bf16", "fp16", "fp8", "int8", "int4", "mxfp4", "nvfp4", *(name for name, _, _ in GGUF_FILE_TYPES)
        ),
        help="Automatic: the checkpoint's own. Embeddings, norms, routers and lm_head stay 16-bit.")
    activation_precision: Any = declared(
        group="precision", kind="choice", label="Activations", default="auto",
        choices=choices("fp32", "bf16", "fp16", "fp8", "int8", "nvfp4"),
        help="The format that is multiplied. Automatic: the weights' where the GPU can, else 16-bit.")
    kv_precision: Any = declared(
        group="precision", kind="choice", label="KV cache", default="auto",
        choices=choices("fp32", "bf16", "fp16", "fp8", "int8"),
        help="Format of cached keys and values. Automatic: 16-bit.")
    value_precision: Any = declared(
        group="precision", kind="choice", label="Cached values", default="auto",
        choices=choices("fp32", "bf16", "fp16", "fp8", "int8", "int4"),
        help="Format of cached values where it is not that of the keys. Automatic: the KV cache's.")
    input_tokens: Any = declared(
        group="workload", kind="integer", label="Prompt", default=1024, minimum=1, maximum=100_000_000, unit="tokens",
        slider=(64, 131_072, 2), help="Mean length of a prompt.")
    shared_prefix_tokens: Any = declared(
        group="engine", kind="integer", label="Shared prefix", default=0, minimum=0, maximum=100_000_000, unit="tokens",
        help="First tokens that all prompts share (a system prompt): cached once per replica and computed once.")
    prefix_hit_rate: Any = declared(
        group="engine", kind="number", label="Prefix hit rate", default=0.0, minimum=0, maximum=1, unit="share",
        help="Share of prompt tokens found in the prefix cache (earlier turns, documents): attended to, not computed "
        "again. Each request still holds its whole cache: hits are not taken to be shared between running requests.")
    output_tokens: Any = declared(
        group="workload", kind="integer", label="Output", default=256, minimum=1, maximum=100_000_000, unit="tokens",
        slider=(16, 16_384, 2), help="Mean number of generated tokens.")
    concurrency: Any = declared(
        group="workload", kind="integer", label="Concurrency", default=16, minimum=1, maximum=10_000_000,
        unit="requests", words=("saturated",), slider=(1, 1024, 1),
        help="Requests in flight over the whole instance, or saturated for as many as the memory holds.")
    arrival: Any = declared(
        group="workload", kind="choice", label="Arrival", default="closed",
        choices=(("closed", "Fixed concurrency"), ("static", "One batch"), ("burst", "All at once"),
                 ("open", "Arrival rate (Poisson)")),
        help="Fixed concurrency: each answer is followed by the next request. One batch: all start and end together. "
        "All at once: so many requests come together and are served as places come free; nothing follows. "
        "Arrival rate: requests come at random at the request rate.")
    request_rate: Any = declared(
        group="workload", kind="number", label="Request rate", minimum=1e-6, maximum=1e9, unit="requests/s",
        placeholder="for arrival rate", help="Mean arrivals per second over the whole instance, with arrival rate.")
    max_ttft_ms: Any = declared(
        group="goals", kind="number", label="Longest TTFT", minimum=0.1, maximum=1e9, unit="ms", placeholder="no goal",
        help="Time to first token of the mean request that is still good enough.")
    max_tpot_ms: Any = declared(
        group="goals", kind="number", label="Longest TPOT", minimum=0.01, maximum=1e9, unit="ms", placeholder="no goal",
        help="Time per output token that is still good enough: 50 ms are 20 tokens/s for each user.")
    beam_width: Any = declared(
        group="engine", kind="integer", label="Beams", default=1, minimum=1, maximum=1024, unit="sequences",
        help="Sequences generated for each request (beam search); they share its prompt and one of them is the answer.")
    length_spread: Any = declared(
        group="engine", kind="number", label="Spread of output lengths", default=1.0, minimum=0, maximum=1,
        unit="share",
        help="(Longest - shortest) / longest output. Requests of equal length stay in step and wait for each other.")
    prompt_spread: Any = declared(
        group="engine", kind="number", label="Spread of prompt lengths", default=0.0, minimum=0, maximum=1,
        unit="share",
        help="(Longest - shortest) / longest prompt, uniform around the mean. Counts where prompts are padded.")
    waves: Any = declared(
        group="engine", kind="number", label="Waves of a finite run", minimum=1, maximum=1e9, unit="waves",
        placeholder="steady server", help="Requests per slot of a benchmark: its first wave starts all at once.")
    run_requests: Any = declared(
        group="engine", kind="integer", label="Requests of a finite run", minimum=1, maximum=1_000_000_000,
        unit="requests", placeholder="steady server",
        help="Of a benchmark at an arrival rate: throughput is counted from the first arrival to the last token.")
    engine: Any = declared(
        group="engine", kind="name", catalogue="engines", label="Engine", default="vllm",
        help="The serving software; sets overheads and memory rules.")
    memory_utilization: Any = declared(
        group="engine", kind="number", label="Memory utilisation", minimum=0.05, maximum=1.0, unit="share",
        placeholder="engine's default", help="Share of the GPU's memory that the engine may take (0.9 for vLLM).")
    max_batched_tokens: Any = declared(
        group="engine", kind="integer", label="Tokens per step", minimum=16, maximum=10_000_000, unit="tokens",
        placeholder="engine's default", help="Token budget of one step; longer prompts are cut in chunks.")
    max_sequences: Any = declared(
        group="engine", kind="integer", label="Sequences per step", minimum=1, maximum=10_000_000, unit="sequences",
        placeholder="engine's default", help="Most requests of a replica that run at once (max_num_seqs).")
    chunked_prefill: Any = declared(
        group="engine", kind="choice", label="Chunked prefill", default="auto", choices=ON_OFF,
        help="Long prompts are cut to the tokens of a step and share steps with decodes. Off: whole prompts.")
    cuda_graphs: Any = declared(
        group="engine", kind="choice", label="CUDA graphs", default="auto", choices=ON_OFF,
        help="Decode steps are launched as one graph. Off (eager): the host launches each kernel.")
    fused_attention: Any = declared(
        group="engine", kind="choice", label="Fused attention", default="auto", choices=ON_OFF,
        help="Attention that never writes its score matrix (FlashAttention). Off: scores go through memory.")
    padding_removal: Any = declared(
        group="engine", kind="choice", label="Padding removal", default="auto", choices=ON_OFF,
        help="Prompts of a step are packed. Off: each takes as many tokens as the longest of its batch.")
    overlap_scheduling: Any = declared(
        group="engine", kind="choice", label="Overlap scheduling", default="auto", choices=ON_OFF,
        help="The host prepares the next step while the GPU computes one. On where it is not the default: its time "
        "hides behind the GPU's. Off where it is: 1 ms a step and 10 us a sequence are assumed to have been hidden.")
    draft_tokens: Any = declared(
        group="engine", kind="integer", label="Draft tokens", default=0, minimum=0, maximum=64, unit="tokens",
        help="Speculative decoding: guessed tokens that each decode step verifies. 0: off. Weights of a draft model "
        "are not counted; add them to the runtime overhead.")
    acceptance_rate: Any = declared(
        group="engine", kind="number", label="Acceptance rate", default=0.7, minimum=0, maximum=1, unit="share",
        help="Chance that a draft is accepted where those before it were.")
    draft_cost: Any = declared(
        group="engine", kind="number", label="Cost of a draft", default=0.05, minimum=0, maximum=10, unit="share",
        help="Time of guessing one token as a share of the GPU time of a decode step without drafts.")
    runtime_gib: Any = declared(
        group="engine", kind="number", label="Runtime overhead", minimum=0, maximum=1000, unit="GiB",
        placeholder="engine's default", help="Context, communication buffers and graphs on each GPU.")
    calibration: Any = declared(
        group="engine", kind="name", catalogue="calibrations", label="Calibration", default="published",
        help="Measurements that the speeds are calibrated on: the published ones, or yours saved by calibrate --save.")
    compute_efficiency: Any = declared(
        group="engine", kind="number", label="Compute efficiency", minimum=0.01, maximum=1.0, unit="share",
        placeholder="calibrated", help="Share of the dense peak that large matrix products reach.")
    bandwidth_efficiency: Any = declared(
        group="engine", kind="number", label="Bandwidth efficiency", minimum=0.01, maximum=1.0, unit="share",
        placeholder="calibrated", help="Share of the peak memory bandwidth that reading weights reaches.")
    step_overhead_ms: Any = declared(
        group="engine", kind="number", label="Overhead per step", minimum=0, maximum=10_000, unit="ms",
        placeholder="engine's default", help="Time of the host between two steps.")
    cpu_bandwidth_gb_s: Any = declared(
        group="engine", kind="number", label="Main memory bandwidth", default=60.0, minimum=1, maximum=10_000,
        unit="GB/s",
        help="For layers that llama.cpp leaves to the CPU. Two channels of DDR5-5600 reach about 60 of 90 GB/s.")
    price_usd_per_gpu_hour: Any = declared(
        group="price", kind="number", label="Price", minimum=0, maximum=100_000, unit="USD per GPU and hour",
        placeholder="list price", help="Empty: the catalogue's price, or unknown where it has none.")
    region: Any = declared(
        group="energy", kind="name", catalogue="grids", label="Region", default="world",
        help="Where the GPUs stand: its yearly mean of gCO2 per kWh, and its list prices where they are known.")
    pue: Any = declared(
        group="energy", kind="number", label="PUE", default=1.2, minimum=1, maximum=3, unit="ratio",
        help="Power of the whole site over that of its computers. Large clouds reach 1.1 to 1.2; the mean of Uptime "
        "Institute's survey of 2024 is 1.56.")
    electricity_usd_per_kwh: Any = declared(
        group="energy", kind="number", label="Electricity", minimum=0, maximum=100, unit="USD per kWh",
        placeholder="unknown", help="Price of electricity, for those who pay it themselves. Empty: not known.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingScenario:
    """A question that can be answered: names resolved, every value in its limits. None means automatic."""

    model: Model
    gpu: Gpu
    engine: Engine
    hardware: Hardware
    #: How far measurements lay from predictions, and what was measured; empty: no ranges.
    spreads: Spreads = dataclasses.field(default_factory=dict)
    measured: Measured = dataclasses.field(default_factory=Measured)
    #: How long kernels take, and how engines differ from that.
    curves: Curves = dataclasses.field(default_factory=dict, repr=False)
    efficiency: Efficiency = dataclasses.field(default_factory=Efficiency)
    num_gpus: int | None = None
    tp: int | None = None
    pp: int | None = None
    ep: int | None = None
    dp: int | None = None
    prefill_gpus: int | None = None
    prefill_tp: int | None = None
    weight_precision: str = "auto"
    activation_precision: str = "auto"
    kv_precision: str = "auto"
    value_precision: str = "auto"
    input_tokens: int = 1024
    shared_prefix_tokens: int = 0
    prefix_hit_rate: float = 0.0
    output_tokens: int = 256
    #: Classes of a mix, of which `input_tokens` and `output_tokens` are the rounded means; empty: requests are alike.
    mix: tuple[RequestClass, ...] = ()
    #: None: saturated.
    concurrency: int | None = 16
    arrival: str = "closed"
    request_rate: float | None = None
    #: What the mean request should stay below; None: no goal.
    max_ttft_ms: float | None = None
    max_tpot_ms: float | None = None
    beam_width: int = 1
    length_spread: float = 1.0
    prompt_spread: float = 0.0
    waves: float | None = None
    run_requests: int | None = None
    #: Facts of a measured run: dummy weights send every token to the same experts; it ran, so it fitted.
    collapsed_routing: bool = False
    seen_to_run: bool = False
    chunked_prefill: str = "auto"
    cuda_graphs: str = "auto"
    fused_attention: str = "auto"
    padding_removal: str = "auto"
    overlap_scheduling: str = "auto"
    draft_tokens: int = 0
    acceptance_rate: float = 0.7
    draft_cost: float = 0.05
    max_sequences: int | None = None
    memory_utilization: float | None = None
    max_batched_tokens: int | None = None
    runtime_gib: float | None = None
    compute_efficiency: float | None = None
    bandwidth_efficiency: float | None = None
    step_overhead_ms: float | None = None
    cpu_bandwidth_gb_s: float = 60.0
    price_usd_per_gpu_hour: float | None = None
    #: None: not known, and so is the carbon.
    region: Grid | None = None
    pue: float = 1.2
    electricity_usd_per_kwh: float | None = None

    def __post_init__(self) -> None:
        if self.arrival == "open" and self.request_rate is None:
            raise InvalidInput(
                "request_rate", "Request rate: arrivals at a rate need the rate.", "a number of requests per second"
            )
        self._check_arrivals()
        if self.shared_prefix_tokens >= self.input_tokens:
            raise InvalidInput(
                "shared_prefix_tokens",
                f"Shared prefix: {self.shared_prefix_tokens:,} tokens leave nothing of a prompt of "
                f"{self.input_tokens:,} tokens.",
                f"0 to {self.input_tokens - 1:,}",
            )
        self._check_pools()
        if self.mix and (self.prefill_gpus or self.beam_width > 1 or not self.engine.continuous):
            raise InvalidInput(
                "request_mix",
                f"Mix: {self.engine.label} with these inputs runs requests of one length only.",
                "an engine with continuous batching, without beams and without separate prefill GPUs",
            )
        if self.draft_tokens and self.beam_width > 1:
            raise InvalidInput("draft_tokens", "Draft tokens: engines do not draft for beam search.", "0")
        by_hand = {name: getattr(self, name) for name in ("tp", "pp", "dp") if getattr(self, name)}
        product = prod(by_hand.values())
        gpus = self.decode_gpus
        if gpus and (gpus % product or (len(by_hand) == 3 and product != gpus)):
            shown = " x ".join(f"{name} {value}" for name, value in by_hand.items())
            raise InvalidInput(
                "num_gpus",
                f"{gpus} GPUs cannot be cut into {shown} = {product}; "
                f"use {product} or a multiple of it, or leave one of tp, pp, dp empty.",
                "a multiple of tp x pp x dp",
            )
        layout = Layout(tp=self.tp or 1, pp=self.pp or 1, dp=self.dp or 1)
        check(self.model, layout, gpus)
        spread_known = self.tp and self.dp
        experts_divide = self.model.num_experts and self.model.num_experts % (self.ep or 1) == 0
        if self.ep and self.ep > 1 and (spread_known or not experts_divide):
            check(self.model, dataclasses.replace(layout, ep=self.ep))

    def _check_arrivals(self) -> None:
        """InvalidInput for a rate where nothing arrives at one, and for arrivals at an engine that runs batches."""
        if self.arrival == "open" and not self.engine.continuous:
            raise InvalidInput(
                "arrival",
                f"Arrivals: {self.engine.label} runs one batch after the other; arrivals at a rate are calculated for "
                "engines that batch continuously.",
                "closed or static, or another engine",
            )
        for name in ("request_rate", "run_requests") if self.arrival != "open" else ():
            value = getattr(self, name)
            if value is not None:
                raise InvalidInput(
                    name,
                    f"{inputs_of(ServingInputs)[name].label}: {value:g} counts only for arrivals at a rate, and they "
                    f"are {self.arrival}.",
                    "arrival open, or leave it out",
                )

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Inputs that were changed and change nothing here, with the reason."""
        said = inputs_of(ServingInputs)
        reasons = {
            "waves": self.arrival != "closed" or self.prefill_gpus is not None,
            "length_spread": self.prefill_gpus is not None,
            "acceptance_rate": not self.draft_tokens,
            "draft_cost": not self.draft_tokens,
            "cpu_bandwidth_gb_s": not self.engine.offloads,
        }
        why = {
            "waves": "a steady or single batch has none",
            "length_spread": "separate pools are calculated with equal lengths",
            "acceptance_rate": "no draft tokens",
            "draft_cost": "no draft tokens",
            "cpu_bandwidth_gb_s": f"{self.engine.label} leaves no layers in main memory",
        }
        for name, idle in reasons.items():
            if idle and getattr(self, name) != said[name].default:
                yield said[name].label, why[name]

    def _check_pools(self) -> None:
        """InvalidInput where GPUs that only prefill are asked for and make no sense."""
        if self.prefill_gpus is None:
            if self.prefill_tp:
                raise InvalidInput("prefill_tp", "Tensor parallel of prefill: no GPUs only prefill.", "prefill_gpus")
            return
        if self.arrival != "closed" or not self.engine.continuous:
            raise InvalidInput(
                "prefill_gpus", "Prefill GPUs: separate pools are calculated for a fixed concurrency only.", "nothing"
            )
        if self.output_tokens < 2:
            raise InvalidInput("prefill_gpus", "Prefill GPUs: with one output token nothing is decoded.", "nothing")
        if self.num_gpus and self.num_gpus <= self.prefill_gpus:
            raise InvalidInput(
                "prefill_gpus",
                f"Prefill GPUs: {self.prefill_gpus} of {self.num_gpus} GPUs leave none that decode.",
                f"1 to {self.num_gpus - 1}" if self.num_gpus > 1 else "nothing",
            )
        tp = self.prefill_tp or self.tp or 1
        if self.prefill_gpus % tp:
            raise InvalidInput(
                "prefill_gpus",
                f"Prefill GPUs: {self.prefill_gpus} cannot be cut into replicas of {tp}; use a multiple of {tp}.",
                f"a multiple of {tp}",
            )
        if self.prefill_tp:
            try:
                check(self.model, Layout(tp=tp))
            except InvalidInput as wrong:
                raise InvalidInput("prefill_tp", wrong.message, wrong.allowed) from None

    def of_mix(self, classes: tuple[RequestClass, ...]) -> ServingScenario:
        """The scenario with requests of these classes; one class alone is its lengths."""
        return dataclasses.replace(
            self,
            mix=classes if len(classes) > 1 else (),
            input_tokens=round(mean(classes, lambda one: one.input_tokens)),
            output_tokens=round(mean(classes, lambda one: one.output_tokens)),
        )

    @property
    def classes(self) -> tuple[RequestClass, ...]:
        """The requests by class; one where they are alike."""
        alike = RequestClass(share=1.0, input_tokens=self.input_tokens, output_tokens=self.output_tokens)
        return self.mix or (alike,)

    @property
    def mean_input_tokens(self) -> float:
        return float(mean(self.classes, lambda one: one.input_tokens))

    @property
    def mean_output_tokens(self) -> float:
        return float(mean(self.classes, lambda one: one.output_tokens))

    @property
    def longest_tokens(self) -> int:
        """Tokens of the longest request at its end."""
        return max(one.tokens for one in self.classes)

    @property
    def decode_gpus(self) -> int | None:
        """GPUs of the layout: all, or those that only decode."""
        return self.num_gpus and self.num_gpus - (self.prefill_gpus or 0)

    @property
    def request_tokens(self) -> int:
        """Tokens that a finished request holds in the cache: its prompt once, the output of each beam."""
        return self.input_tokens + self.beam_width * self.output_tokens

    @property
    def nearness(self) -> str:
        """How far the question is from what was measured."""
        return self.measured.nearness(self.engine.name, self.gpu.slug, self.model.name)

    @property
    def uses_graphs(self) -> bool:
        return self.engine.cuda_graphs if self.cuda_graphs == "auto" else self.cuda_graphs == "on"

    @property
    def padded_spread(self) -> float:
        """Spread of prompt lengths that padding makes up for; 0 where padding is removed."""
        removed = self.engine.padding_removal if self.padding_removal == "auto" else self.padding_removal == "on"
        return 0.0 if removed else self.prompt_spread

    @property
    def hides_host(self) -> bool:
        """Whether host work that was calibrated as visible is to hide behind the GPU."""
        return self.overlap_scheduling == "on" and not self.engine.overlap_scheduling

    @property
    def shows_host(self) -> bool:
        """Whether host work that was calibrated as hidden is to be visible."""
        return self.overlap_scheduling == "off" and self.engine.overlap_scheduling

    @property
    def chunks_prefill(self) -> bool:
        return self.engine.whole_prompt_tokens == 0 if self.chunked_prefill == "auto" else self.chunked_prefill == "on"

    @property
    def sequence_limit(self) -> int:
        return self.max_sequences or self.engine.max_sequences(self.gpu)

    @property
    def sampled_sequences(self) -> int:
        """Rows that the sampler is sized for: the engine's most, or the batch where it runs one batch only."""
        limit = self.sequence_limit
        return limit if self.engine.continuous or self.concurrency is None else min(limit, self.concurrency)

    @property
    def utilization(self) -> float:
        return self.memory_utilization or self.engine.memory_utilization

    @property
    def step_tokens(self) -> int:
        limit = self.max_batched_tokens or self.engine.step_tokens(self.gpu)
        if self.engine.continuous or self.concurrency is None:
            return limit
        longest = expected_longest(self.input_tokens, self.padded_spread, self.concurrency)
        return min(limit, self.concurrency * ceil(longest))
