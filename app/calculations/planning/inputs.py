"""What a planner asks for, each input declared once."""

from __future__ import annotations

from typing import Any

from app.calculations.inputs import declared

#: Groups of inputs in the order of a form: name -> (heading, folded away by default).
GROUPS = {
    "model": ("Model", False),
    "workload": ("Load", False),
    "goals": ("Goals", False),
    "choice": ("What may be bought", True),
    "price": ("Price and energy", True),
}
STATISTICS = (("mean", "Mean"), ("p90", "P90"), ("p99", "P99"))


class PlanningInputs:
    """A load to serve and goals to meet."""

    model: Any = declared(
        group="model",
        kind="name",
        catalogue="models",
        label="Model",
        default="meta-llama/Llama-3.1-8B-Instruct",
        help="A preset or a saved model.",
    )
    engine: Any = declared(
        group="model", kind="name", catalogue="engines", label="Engine", default="vllm", help="The serving software."
    )
    input_tokens: Any = declared(
        group="workload",
        kind="integer",
        label="Prompt",
        default=1024,
        minimum=1,
        maximum=100_000_000,
        unit="tokens",
        slider=(64, 131_072, 2),
        help="Mean length of a prompt.",
    )
    output_tokens: Any = declared(
        group="workload",
        kind="integer",
        label="Output",
        default=256,
        minimum=1,
        maximum=100_000_000,
        unit="tokens",
        slider=(16, 16_384, 2),
        help="Mean number of generated tokens.",
    )
    request_rate: Any = declared(
        group="workload",
        kind="number",
        label="Request rate",
        minimum=1e-6,
        maximum=1e9,
        unit="requests/s",
        placeholder="or users",
        slider=(1, 1024, 2),
        help="Mean arrivals per second; either this or the concurrency.",
    )
    concurrency: Any = declared(
        group="workload",
        kind="integer",
        label="Concurrency",
        minimum=1,
        maximum=10_000_000,
        unit="requests",
        placeholder="or a rate",
        help="Requests that are always in flight; either this or the request rate.",
    )
    peak_factor: Any = declared(
        group="workload",
        kind="number",
        label="Peak factor",
        default=1.0,
        minimum=1,
        maximum=100,
        unit="ratio",
        help="Load at the peak over the mean: replicas are bought for the peak.",
    )
    growth: Any = declared(
        group="workload",
        kind="number",
        label="Growth",
        default=0.0,
        minimum=0,
        maximum=100,
        unit="share",
        help="Growth of the load to plan for: 0.5 is half as much again.",
    )
    request_mix: Any = declared(
        group="workload",
        kind="text",
        label="Mix of requests",
        placeholder="requests are alike",
        help="In place of prompt and output: classes of requests as share% prompt/output, separated by commas, as in "
        "70% 1024/256, 30% 8192/512. The goals then hold for every class.",
    )
    max_ttft_ms: Any = declared(
        group="goals",
        kind="number",
        label="Longest TTFT",
        minimum=0.1,
        maximum=1e9,
        unit="ms",
        placeholder="no goal",
        help="Time to first token that must not be exceeded.",
    )
    max_tpot_ms: Any = declared(
        group="goals",
        kind="number",
        label="Longest TPOT",
        minimum=0.01,
        maximum=1e9,
        unit="ms",
        placeholder="no goal",
        help="Time per output token that must not be exceeded.",
    )
    min_tokens_per_s_per_user: Any = declared(
        group="goals",
        kind="number",
        label="Least speed of a user",
        minimum=0.001,
        maximum=1e6,
        unit="tokens/s",
        placeholder="no goal",
        help="Tokens per second that one user must see: 1 / TPOT.",
    )
    statistic: Any = declared(
        group="goals",
        kind="choice",
        label="Goals hold for",
        default="mean",
        choices=STATISTICS,
        help="The mean request, or 90 or 99 of 100 under Poisson arrivals (with a request rate).",
    )
    budget_usd_per_hour: Any = declared(
        group="goals",
        kind="number",
        label="Budget",
        minimum=0.001,
        maximum=1e9,
        unit="USD/h",
        placeholder="no limit",
        help="Most that all GPUs may cost an hour.",
    )
    gpu: Any = declared(
        group="choice",
        kind="text",
        label="Accelerators",
        placeholder="all",
        help="Names separated by commas. Empty: every accelerator of the catalogue.",
    )
    max_gpus_per_replica: Any = declared(
        group="choice",
        kind="integer",
        label="GPUs of a replica",
        default=8,
        minimum=1,
        maximum=64,
        unit="GPUs",
        help="Most GPUs that one replica is cut over.",
    )
    other_engines: Any = declared(
        group="choice",
        kind="text",
        label="Other engines",
        placeholder="none",
        help="Engines separated by commas that are weighed beside the one above.",
    )
    other_models: Any = declared(
        group="choice",
        kind="text",
        label="Other models",
        placeholder="none",
        help="Models separated by commas that could serve the load in place of the one above: all are weighed, and "
        "each one's cheapest plan is shown.",
    )
    weight_precision: Any = declared(
        group="choice",
        kind="text",
        label="Weights",
        default="auto, fp8",
        help="Formats separated by commas that the weights may be stored in; auto is the checkpoint's own.",
    )
    kv_precision: Any = declared(
        group="choice",
        kind="text",
        label="KV cache",
        default="auto",
        help="Formats separated by commas that the KV cache may have; auto is 16-bit.",
    )
    spare_replicas: Any = declared(
        group="choice",
        kind="integer",
        label="Spare replicas",
        default=0,
        minimum=0,
        maximum=1000,
        unit="replicas",
        help="Bought beyond what the load needs (1 is N+1).",
    )
    price_usd_per_gpu_hour: Any = declared(
        group="price",
        kind="number",
        label="Price",
        minimum=0,
        maximum=100_000,
        unit="USD per GPU and hour",
        placeholder="list price",
        help="For all accelerators. Empty: each one's list price; unknown where it has none.",
    )
    api_usd_per_million_input_tokens: Any = declared(
        group="price",
        kind="number",
        label="API price of prompts",
        minimum=0,
        maximum=1_000_000,
        unit="USD per 1M tokens",
        placeholder="no comparison",
        help="What an API that is paid by the token asks: shows from which load on own GPUs are cheaper.",
    )
    api_usd_per_million_output_tokens: Any = declared(
        group="price",
        kind="number",
        label="API price of output",
        minimum=0,
        maximum=1_000_000,
        unit="USD per 1M tokens",
        placeholder="no comparison",
        help="The same for generated tokens.",
    )
    region: Any = declared(
        group="price",
        kind="name",
        catalogue="grids",
        label="Region",
        default="world",
        help="Where the GPUs stand: its yearly mean of gCO2 per kWh, and its list prices where they are known.",
    )
    pue: Any = declared(
        group="price",
        kind="number",
        label="PUE",
        default=1.2,
        minimum=1,
        maximum=3,
        unit="ratio",
        help="Power of the whole site over that of its computers.",
    )
