"""The inputs of training, each declared once. Every front end derives from here."""

from __future__ import annotations

from typing import Any

from app.calculations.inputs import declared
from app.calculations.training.flops import CONVENTIONS

#: Groups of inputs in the order of the form: name -> (heading, folded away by default).
GROUPS = {
    "model": ("Model", False),
    "custom_model": ("Custom architecture", True),
    "hardware": ("Accelerators", False),
    "custom_gpu": ("Custom accelerator", True),
    "batch": ("Batch", True),
    "method": ("Method", True),
    "layout": ("Layout", True),
    "memory": ("Memory", True),
    "software": ("Software", True),
    "run": ("Run", True),
    "price": ("Price", True),
    "energy": ("Energy and carbon", True),
}
#: Methods of training: value, label.
METHODS = (
    ("full", "Full: all weights"), ("lora", "LoRA"), ("dora", "DoRA"), ("qlora", "QLoRA: 4-bit base (NF4)"),
    ("adapter", "Adapters: bottlenecks after attention and MLP"),
)  # fmt: skip
#: How states are dealt out over data-parallel GPUs.
SHARDINGS = (
    ("none", "None: every GPU holds all"), ("zero1", "ZeRO-1: optimizer"), ("zero2", "ZeRO-2: optimizer, gradients"),
    ("zero3", "ZeRO-3: optimizer, gradients, weights"), ("fsdp-full", "FSDP full shard"),
    ("fsdp-grad-op", "FSDP shard grad op: weights stay gathered"), ("hsdp", "HSDP: sharded in a node, copied across"),
)  # fmt: skip


class TrainingInputs:
    """What is asked of someone who wants to train a model."""

    model: Any = declared(
        group="model", kind="name", catalogue="models", label="Model", default="meta-llama/Meta-Llama-3.1-8B",
        help="A preset, or custom to describe an architecture by hand.")
    gpu: Any = declared(
        group="hardware", kind="name", catalogue="gpus", label="Accelerator", default="h100-sxm",
        help="A preset, or custom to describe one by hand.")
    num_gpus: Any = declared(
        group="hardware", kind="integer", label="Number of GPUs", default=8, minimum=1, maximum=1_000_000, unit="GPUs",
        help="Of the whole job: tp x pp x cp x dp.")
    network_gb_s: Any = declared(
        group="hardware", kind="number", label="Network", minimum=0.1, maximum=10_000, unit="GB/s",
        placeholder="usual for the GPU", help="Between nodes, per GPU and direction: 400 Gb/s are 50 GB/s.")
    seq_len: Any = declared(
        group="batch", kind="integer", label="Sequence length", default=8192, minimum=1, maximum=100_000_000,
        unit="tokens", help="Tokens of one training sequence.")
    micro_batch_size: Any = declared(
        group="batch", kind="integer", label="Micro-batch", minimum=1, maximum=1_000_000, unit="sequences",
        placeholder="automatic", help="Sequences that a data-parallel replica runs at once.")
    global_batch_size: Any = declared(
        group="batch", kind="integer", label="Global batch", minimum=1, maximum=100_000_000, unit="sequences",
        placeholder="about 4M tokens", help="Sequences of one optimizer step, over all replicas. Adapters: 64k tokens.")
    document_tokens: Any = declared(
        group="batch", kind="integer", label="Packed samples", minimum=1, maximum=100_000_000, unit="tokens",
        placeholder="one per sequence",
        help="Mean length of samples packed into a sequence, whose tokens do not attend to each other.")
    method: Any = declared(
        group="method", kind="choice", label="Method", default="full", choices=METHODS,
        help="What is trained: all weights, or small adapters on frozen ones.")
    lora_rank: Any = declared(
        group="method", kind="integer", label="Adapter rank", default=16, minimum=1, maximum=65_536, unit="columns",
        help="Inner width of LoRA, DoRA, QLoRA or adapters.")
    lora_targets: Any = declared(
        group="method", kind="choice", label="Adapted matrices", default="all", choices=(
            ("qv", "Query and value"), ("attention", "All of attention"), ("all", "All linear layers")),
        help="Which matrices get an adapter.")
    optimizer: Any = declared(
        group="method", kind="name", catalogue="optimizers", label="Optimizer", default="adamw",
        help="adamw, adamw-8bit, paged-adamw, paged-adamw-8bit, adafactor, lion, muon, sgd, sgd-momentum.")
    precision: Any = declared(
        group="method", kind="choice", label="Precision", default="bf16", choices=(
            ("bf16", "BF16"), ("fp16", "FP16"), ("fp32", "FP32 (TF32)"), ("fp8", "FP8"), ("mxfp8", "MXFP8"),
            ("nvfp4", "NVFP4")),
        help="Format of dense products. Attention, norms and lm_head stay 16-bit, but for FP32.")
    tp: Any = declared(
        group="layout", kind="integer", label="Tensor parallel", minimum=1, maximum=1024, unit="GPUs",
        placeholder="automatic", help="Every matrix is cut over this many GPUs.")
    pp: Any = declared(
        group="layout", kind="integer", label="Pipeline parallel", minimum=1, maximum=1024, unit="stages",
        placeholder="automatic", help="The layers are cut into this many stages.")
    vpp: Any = declared(
        group="layout", kind="integer", label="Virtual stages", minimum=1, maximum=1024, unit="chunks per stage",
        placeholder="automatic", help="Model chunks per stage (interleaved 1F1B). 1: plain 1F1B.")
    cp: Any = declared(
        group="layout", kind="integer", label="Context parallel", minimum=1, maximum=1024, unit="GPUs",
        placeholder="automatic",
        help="Every sequence is cut over this many GPUs. Empty: while 8,192 tokens stay on each, further if need be.")
    ep: Any = declared(
        group="layout", kind="integer", label="Expert parallel", minimum=1, maximum=4096, unit="GPUs",
        placeholder="automatic", help="The experts of a mixture are dealt out over this many GPUs.")
    dp: Any = declared(
        group="layout", kind="integer", label="Data parallel", minimum=1, maximum=1_000_000, unit="replicas",
        placeholder="what is left", help="Replicas, each with sequences of its own.")
    sharding: Any = declared(
        group="layout", kind="choice", label="Sharding", default="auto",
        choices=(("auto", "Automatic"), *SHARDINGS),
        help="How weights, gradients and optimizer states are dealt out over data-parallel GPUs.")
    sequence_parallel: Any = declared(
        group="layout", kind="flag", label="Sequence parallel", default=True,
        help="Norms and residuals are cut along the sequence beside tensor parallelism.")
    hsdp_gpus: Any = declared(
        group="layout", kind="integer", label="HSDP group", minimum=1, maximum=1_000_000, unit="GPUs",
        placeholder="a node", help="GPUs that HSDP shards over; groups hold copies.")
    activation_recompute: Any = declared(
        group="memory", kind="choice", label="Recompute", default="auto", choices=(
            ("auto", "Automatic"), ("none", "None"), ("selective", "Selective (what the framework means by it)"),
            ("full", "Full: only layer inputs are kept")),
        help="Activations that the backward pass computes again instead of keeping them.")
    recompute_layers: Any = declared(
        group="memory", kind="integer", label="Recomputed layers", minimum=0, maximum=10_000, unit="layers per stage",
        placeholder="all", help="With full recompute, only so many layers of a stage (Megatron's block method).")
    recompute_group: Any = declared(
        group="memory", kind="integer", label="Layers per checkpoint", default=1, minimum=1, maximum=10_000,
        unit="layers", help="With full recompute, layers between kept inputs (Megatron's uniform method).")
    loss: Any = declared(
        group="memory", kind="choice", label="Loss", default="auto", choices=(
            ("auto", "Framework's default"), ("full", "All logits at once"),
            ("compiled", "All logits, fused kernels"), ("chunked", "Chunks of logits"),
            ("fused", "Fused with lm_head: no logits kept")),
        help="How the cross-entropy holds its logits.")
    master_weights: Any = declared(
        group="memory", kind="choice", label="FP32 weights", default="auto", choices=(
            ("auto", "Framework's default"), ("on", "On"), ("off", "Off: the optimizer updates 16-bit weights")),
        help="FP32 copy of the weights that the optimizer updates.")
    gradient_precision: Any = declared(
        group="memory", kind="choice", label="Gradients", default="auto",
        choices=(("auto", "Framework's default"), ("fp32", "FP32"), ("bf16", "BF16")),
        help="Format in which gradients are kept and added up.")
    state_precision: Any = declared(
        group="memory", kind="choice", label="Optimizer states", default="auto",
        choices=(("auto", "Framework's default"), ("fp32", "FP32"), ("bf16", "BF16"), ("fp8", "FP8")),
        help="Format of moments (precision-aware optimizers).")
    offload: Any = declared(
        group="memory", kind="choice", label="Offload", default="none", choices=(
            ("none", "None"), ("optimizer", "Optimizer to host memory"),
            ("all", "Optimizer and sharded weights to host memory"), ("activations", "Activations to host memory")),
        help="What lies in host memory between uses.")
    expert_imbalance: Any = declared(
        group="memory", kind="number", label="Expert imbalance", default=1.0, minimum=1.0, maximum=100, unit="ratio",
        help="Tokens on the fullest GPU's experts over the mean, with expert parallelism. 1 is perfect balance.")
    framework: Any = declared(
        group="software", kind="name", catalogue="frameworks", label="Framework", default="auto",
        help="auto: torchtune for fine-tuning, Megatron-Core where tensors or stages are cut, else torchtitan.")
    compiled: Any = declared(
        group="software", kind="flag", label="torch.compile", default=True,
        help="Of torchtitan and torchtune; other frameworks have fused kernels of their own.")
    asynchronous_tp: Any = declared(
        group="software", kind="flag", label="Asynchronous tensor parallel", default=False,
        help="Sums over tensor-parallel GPUs overlap with products.")
    dropless: Any = declared(
        group="software", kind="flag", label="Dropless experts", default=True,
        help="No token is dropped: shapes vary and the host waits for counts. Off: fixed capacity.")
    flops_convention: Any = declared(
        group="software", kind="choice", label="FLOP convention", default="palm",
        choices=tuple((one.name, one.label) for one in CONVENTIONS.values()),
        help="How MFU, HFU and TFLOPS count a token.")
    tokens: Any = declared(
        group="run", kind="number", label="Tokens", minimum=1, maximum=1e18, unit="tokens",
        placeholder="Chinchilla-optimal", help="Tokens of the whole run.")
    epochs: Any = declared(
        group="run", kind="number", label="Epochs", minimum=1e-6, maximum=1e6, unit="passes",
        placeholder="by tokens", help="Passes over the data set, in place of tokens.")
    dataset_tokens: Any = declared(
        group="run", kind="number", label="Data set", minimum=1, maximum=1e18, unit="tokens",
        placeholder="for epochs", help="Tokens of one epoch.")
    gpu_mtbf_hours: Any = declared(
        group="run", kind="number", label="MTBF of a GPU", default=50_000.0, minimum=1, maximum=1e9, unit="hours",
        help="Mean time between failures of a GPU with its share of the node. Llama 3 saw one in 50,700 hours.")
    checkpoint_seconds: Any = declared(
        group="run", kind="number", label="Checkpoint", default=30.0, minimum=0, maximum=1e6, unit="s",
        help="How long the run stands still to save a checkpoint.")
    checkpoint_interval_minutes: Any = declared(
        group="run", kind="number", label="Checkpoint every", minimum=0.01, maximum=1e6, unit="minutes",
        placeholder="best interval", help="Empty: the interval that loses least.")
    restart_minutes: Any = declared(
        group="run", kind="number", label="Restart", default=10.0, minimum=0, maximum=1e6, unit="minutes",
        help="From a failure to training again.")
    price_usd_per_gpu_hour: Any = declared(
        group="price", kind="number", label="Price", minimum=0, maximum=100_000, unit="USD per GPU and hour",
        placeholder="list price", help="Empty: the catalogue's price, or unknown where it has none.")
    budget_usd: Any = declared(
        group="price", kind="number", label="Budget", minimum=1, maximum=1e15, unit="USD",
        placeholder="none", help="What may be spent: the answer says how many tokens and which model it buys.")
    region: Any = declared(
        group="energy", kind="name", catalogue="grids", label="Region", default="world",
        help="Where the GPUs stand: its yearly mean of gCO2 per kWh, and its list prices where they are known.")
    pue: Any = declared(
        group="energy", kind="number", label="PUE", default=1.2, minimum=1, maximum=3, unit="ratio",
        help="Power of the whole site over that of its computers.")
