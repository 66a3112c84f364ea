"""The textbook formulas, by hand; and that the docstrings' comparisons with the exact core are true."""

from __future__ import annotations

import inspect
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import catalog
from app.calculations.advanced import AdvancedCalculator
from app.calculations.errors import InvalidInput
from app.calculations.formats import Formats, resolve
from app.calculations.layout_estimate import estimate
from app.calculations.memory import block_working_bytes
from app.calculations.operators import Pass, flops_by_component
from app.calculations.parallelism import Layout
from app.calculations.report import results
from app.calculations.textbook import BYTES_PER_GB
from app.config import PROJECT
from app.scenarios import serving_scenario

B, S, H, F, L, V = 2, 1024, 4096, 14336, 32, 128_256

SHAPE = ("hidden_dimensions", "feedforward_dimensions", "num_layers", "vocab_size", "precision")
BATCH = ("batch_size", "sequence_length")
OVERHEADS = {
    "weights_overhead": 1.05,
    "kv_cache_overhead": 1.05,
    "activations_overhead": 1.1,
    "system_overhead": 1.05,
}
COMPLETION = [
    *BATCH, "output_tokens", *SHAPE, "gpu_tflops", "memory_bandwidth_gb_s", "compute_efficiency",
    "bandwidth_efficiency", "num_gpus",
]  # fmt: skip


@pytest.fixture
def calculator() -> AdvancedCalculator:
    return AdvancedCalculator()


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("calculate_flops_attention", [*BATCH, "hidden_dimensions"]),
        ("calculate_flops_feedforward", [*BATCH, *SHAPE[:2]]),
        ("calculate_flops_prefill", [*BATCH, *SHAPE[:3]]),
        ("calculate_model_vram", [*SHAPE, "overhead_factor"]),
        ("calculate_kv_cache_vram", [*BATCH, SHAPE[0], SHAPE[2], "precision", "overhead_factor"]),
        ("calculate_activations_vram", [*BATCH, SHAPE[0], SHAPE[2], "precision", "overhead_factor"]),
        ("calculate_total_vram", [*BATCH, *SHAPE, *OVERHEADS]),
        ("determine_model_scaling", ["gpu_vram_gb", *BATCH, *SHAPE, *OVERHEADS]),
        ("get_history", []),
        ("calculate_prefill_latency", [*BATCH, *SHAPE[:3], "gpu_tflops", "compute_efficiency", "num_gpus"]),
        (
            "calculate_token_latency",
            [*BATCH, *SHAPE, "memory_bandwidth_gb_s", "bandwidth_efficiency", "num_gpus"],
        ),
        ("calculate_completion_latency", COMPLETION),
        ("estimate_inference_throughput", COMPLETION),
        ("get_available_models", []),
        ("get_model_config", ["model_name"]),
        ("get_available_gpus", []),
        ("get_gpu_config", ["gpu_name"]),
    ],
)
def test_methods_have_the_documented_arguments(method: str, parameters: list[str]) -> None:
    signature = inspect.signature(getattr(AdvancedCalculator, method))
    assert list(signature.parameters)[1:] == parameters
    defaults = {n: p.default for n, p in signature.parameters.items() if p.default is not p.empty}
    optional = ("overhead", "overhead_factor", "efficiency", "num_gpus")
    assert defaults == {n: OVERHEADS.get(n, 1.0) for n in parameters if n.endswith(optional)}


def test_attention(calculator: AdvancedCalculator) -> None:
    assert calculator.calculate_flops_attention(B, S, H) == B * S * (H**2 + S * H) == 42_949_672_960


def test_feedforward(calculator: AdvancedCalculator) -> None:
    assert calculator.calculate_flops_feedforward(B, S, H, F) == 2 * B * S * H * F == 240_518_168_576


def test_prefill_is_the_sum_over_layers(calculator: AdvancedCalculator) -> None:
    assert calculator.calculate_flops_prefill(B, S, H, F, L) == 32 * (42_949_672_960 + 240_518_168_576)


@pytest.mark.parametrize(
    ("precision", "size"),
    [
        ("fp32", 4),
        ("fp16", 2),
        ("bf16", 2),
        ("BF16", 2),
        ("int8", 1),
        ("fp8", 1),
        ("int4", 0.5),
        ("fp4", 0.5),
    ],
)
def test_memory_follows_the_precision(calculator: AdvancedCalculator, precision: str, size: float) -> None:
    params = L * (4 * H**2 + 2 * H * F) + V * H
    assert calculator.calculate_model_vram(H, F, L, V, precision) == params * size / 1024**3
    assert calculator.calculate_kv_cache_vram(B, S, H, L, precision) == 2 * B * S * H * L * size / 1024**3
    assert calculator.calculate_activations_vram(B, S, H, L, precision) == 4 * B * S * H * L * size / 1024**3


def test_overhead_multiplies(calculator: AdvancedCalculator) -> None:
    one = calculator.calculate_model_vram(H, F, L, V, "fp16")
    assert calculator.calculate_model_vram(H, F, L, V, "fp16", overhead_factor=1.25) == one * 1.25


def test_total_is_the_sum_with_overheads(calculator: AdvancedCalculator) -> None:
    parts = (
        calculator.calculate_model_vram(H, F, L, V, "fp16", 1.05),
        calculator.calculate_kv_cache_vram(B, S, H, L, "fp16", 1.05),
        calculator.calculate_activations_vram(B, S, H, L, "fp16", 1.1),
    )
    assert calculator.calculate_total_vram(B, S, H, F, L, V, "fp16") == pytest.approx(sum(parts) * 1.05, rel=1e-12)


@pytest.mark.parametrize(
    ("gpu_vram_gb", "strategy", "tensor_parallel", "pipeline_parallel"),
    [
        (1000, "single GPU", 1, 1),
        (65, "single GPU", 1, 1),
        (64, "tensor parallel", 2, 1),
        (8.2, "tensor parallel", 8, 1),
        (8, "tensor and pipeline parallel", 8, 2),
        (0.11, "tensor and pipeline parallel", 8, 80),
        (0.06, "tensor and pipeline parallel", 16, 80),
        (1e-9, "does not fit", None, None),
    ],
)
def test_scaling(
    calculator: AdvancedCalculator,
    gpu_vram_gb: float,
    strategy: str,
    tensor_parallel: int,
    pipeline_parallel: int,
) -> None:
    shape = (16, 1024, 8192, 28672, 80, V, "int4")
    assert calculator.calculate_total_vram(*shape) == pytest.approx(64.98, abs=0.01)
    found = calculator.determine_model_scaling(gpu_vram_gb, *shape)
    assert found["recommended_strategy"] == strategy
    assert found["tensor_parallel"] == tensor_parallel
    assert found["pipeline_parallel"] == pipeline_parallel


def test_an_odd_width_is_cut_by_layers(calculator: AdvancedCalculator) -> None:
    found = calculator.determine_model_scaling(8, B, S, 4097, F, L, V, "fp16")
    assert (found["recommended_strategy"], found["tensor_parallel"]) == ("pipeline parallel", 1)


@settings(max_examples=60)
@given(
    gpu_vram_gb=st.floats(0.5, 500),
    batch_size=st.integers(1, 256),
    hidden_dimensions=st.integers(1, 20_000),
    num_layers=st.integers(1, 200),
)
def test_the_recommended_share_fits(
    gpu_vram_gb: float, batch_size: int, hidden_dimensions: int, num_layers: int
) -> None:
    calculator = AdvancedCalculator()
    shape = (batch_size, 512, hidden_dimensions, 4 * hidden_dimensions, num_layers, 1000, "bf16")
    total = calculator.calculate_total_vram(*shape)
    found = calculator.determine_model_scaling(gpu_vram_gb, *shape)
    if found["num_gpus_required"] is None:
        assert found["vram_per_gpu_gb"] > gpu_vram_gb
        return
    assert found["num_gpus_required"] == found["tensor_parallel"] * found["pipeline_parallel"]
    assert found["vram_per_gpu_gb"] <= gpu_vram_gb * (1 + 1e-9)
    assert found["num_gpus_required"] * gpu_vram_gb >= total * (1 - 1e-9)
    assert hidden_dimensions % found["tensor_parallel"] == 0
    assert found["pipeline_parallel"] <= num_layers
    assert (found["num_gpus_required"] == 1) == (total <= gpu_vram_gb)


@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, math.inf, 10**13, 10**400, "4096", None, True])
def test_a_size_is_a_whole_positive_number(calculator: AdvancedCalculator, value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        calculator.calculate_flops_attention(B, S, value)  # type: ignore[arg-type]
    assert caught.value.field == "hidden_dimensions"
    assert calculator.get_history() == []


@pytest.mark.parametrize("precision", ["fp12", "", None, 16])
def test_a_precision_is_known(calculator: AdvancedCalculator, precision: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        calculator.calculate_model_vram(H, F, L, V, precision)  # type: ignore[arg-type]
    assert caught.value.field == "precision"
    assert "bf16" in caught.value.allowed


@pytest.mark.parametrize("factor", [0, -1.0, math.nan, "1.1"])
def test_an_overhead_is_a_positive_number(calculator: AdvancedCalculator, factor: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        calculator.calculate_total_vram(B, S, H, F, L, V, "fp16", system_overhead=factor)  # type: ignore[arg-type]
    assert caught.value.field == "system_overhead"


def test_whole_floats_count_as_whole(calculator: AdvancedCalculator) -> None:
    assert calculator.calculate_flops_attention(2.0, 1024.0, 4096.0) == 42_949_672_960  # type: ignore[arg-type]


def test_history_keeps_own_calls_in_order(calculator: AdvancedCalculator) -> None:
    calculator.calculate_flops_prefill(B, S, H, F, L)
    calculator.calculate_kv_cache_vram(B, S, H, L, precision="fp8")
    first, second = calculator.get_history()
    assert first["method"] == "calculate_flops_prefill"
    assert second == {
        "method": "calculate_kv_cache_vram",
        "arguments": {
            "batch_size": B,
            "sequence_length": S,
            "hidden_dimensions": H,
            "num_layers": L,
            "precision": "fp8",
            "overhead_factor": 1.0,
        },
        "result": 0.5,
    }
    assert AdvancedCalculator().get_history() == []


def test_changing_the_returned_history_changes_nothing(calculator: AdvancedCalculator) -> None:
    calculator.calculate_flops_attention(B, S, H)
    calculator.get_history()[0]["arguments"].clear()
    assert calculator.get_history()[0]["arguments"]


# --- what the docstrings say of the exact core ---

SHAPES = {
    "meta-llama/Llama-3.1-8B-Instruct": (4096, 14336, 32),
    "meta-llama/Llama-3.1-70B-Instruct": (8192, 28672, 80),
}


def formats_of(name: str) -> Formats:
    return resolve(catalog.model(name), catalog.gpu("h100-sxm"), weights="bf16", activations="bf16", kv_cache="bf16")


@pytest.mark.parametrize(
    ("name", "attention", "prefill"),
    [("meta-llama/Llama-3.1-8B-Instruct", 4.4, 3.2), ("meta-llama/Llama-3.1-70B-Instruct", 4.2, 3.2)],
)
def test_flops_are_that_much_below_the_core(
    calculator: AdvancedCalculator, name: str, attention: float, prefill: float
) -> None:
    hidden, feedforward, layers = SHAPES[name]
    work = Pass(sequences=1, new_tokens=1024, cached_tokens=0)
    exact = flops_by_component(catalog.model(name), formats_of(name), work)
    ours = layers * calculator.calculate_flops_attention(1, 1024, hidden)
    assert round((exact["attention_projections"] + exact["attention_scores"]) / ours, 1) == attention
    ours = layers * calculator.calculate_flops_feedforward(1, 1024, hidden, feedforward)
    assert exact["feed_forward"] == pytest.approx(3 * ours, rel=1e-9)
    ours = calculator.calculate_flops_prefill(1, 1024, hidden, feedforward, layers)
    assert round((sum(exact.values()) - exact["lm_head"]) / ours, 1) == prefill
    assert f"{prefill} times" in str(AdvancedCalculator.calculate_flops_prefill.__doc__)
    assert f"{attention} times" in str(AdvancedCalculator.calculate_flops_attention.__doc__)


@pytest.mark.parametrize(
    ("name", "percent"), [("meta-llama/Llama-3.1-8B-Instruct", 20), ("meta-llama/Llama-3.1-70B-Instruct", 15)]
)
def test_weights_are_that_much_below_the_core(calculator: AdvancedCalculator, name: str, percent: int) -> None:
    ours = calculator.calculate_model_vram(*SHAPES[name], V, "bf16")
    exact = 2 * catalog.model(name).total_params / BYTES_PER_GB
    assert round(100 * (1 - ours / exact)) == percent
    assert f"{percent} %" in str(AdvancedCalculator.calculate_model_vram.__doc__)


@pytest.mark.parametrize(
    ("name", "group"), [("meta-llama/Llama-3.1-8B-Instruct", 4), ("meta-llama/Llama-3.1-70B-Instruct", 8)]
)
def test_the_cache_is_that_much_above_the_core(calculator: AdvancedCalculator, name: str, group: int) -> None:
    hidden, _, layers = SHAPES[name]
    ours = calculator.calculate_kv_cache_vram(1, 1, hidden, layers, "bf16") * BYTES_PER_GB
    assert ours == group * 2 * catalog.model(name).cache_elements_per_token


@pytest.mark.parametrize(
    ("name", "ours", "exact"),
    [("meta-llama/Llama-3.1-8B-Instruct", 8, 0.8), ("meta-llama/Llama-3.1-70B-Instruct", 40, 1.7)],
)
def test_activations_are_that_much_above_the_working_set(
    calculator: AdvancedCalculator, name: str, ours: float, exact: float
) -> None:
    hidden, _, layers = SHAPES[name]
    assert calculator.calculate_activations_vram(1, 8192, hidden, layers, "bf16") == ours
    working_set = block_working_bytes(catalog.model(name), Layout(), formats_of(name), step_tokens=8192)
    assert round(working_set / BYTES_PER_GB, 1) == exact
    assert f"{exact} " in str(AdvancedCalculator.calculate_activations_vram.__doc__)


# --- latency and throughput, by hand


def test_prefill_is_flops_over_tflops(calculator: AdvancedCalculator) -> None:
    flops = calculator.calculate_flops_prefill(B, S, H, F, L)
    assert calculator.calculate_prefill_latency(B, S, H, F, L, 989.0) == flops / 989e12
    assert calculator.calculate_prefill_latency(B, S, H, F, L, 989.0, 0.5, num_gpus=2) == pytest.approx(flops / 989e12)


def test_a_decode_step_is_weights_and_cache_over_bandwidth(calculator: AdvancedCalculator) -> None:
    read = (L * (4 * H**2 + 2 * H * F) + V * H + 2 * B * S * H * L) * 2
    found = calculator.calculate_token_latency(B, S, H, F, L, V, "bf16", 3350.0)
    assert found == pytest.approx(read / 3.35e12, rel=1e-12)
    assert calculator.calculate_token_latency(B, S, H, F, L, V, "bf16", 3350.0, 0.5, 2) == pytest.approx(found)


def test_a_completion_is_a_prefill_and_steps_at_the_mean_context(calculator: AdvancedCalculator) -> None:
    prefill = calculator.calculate_prefill_latency(B, S, H, F, L, 989.0)
    step = calculator.calculate_token_latency(B, S + 50, H, F, L, V, "bf16", 3350.0)
    arguments = (B, S, 100, H, F, L, V, "bf16", 989.0, 3350.0)
    assert calculator.calculate_completion_latency(*arguments) == pytest.approx(prefill + 100 * step, rel=1e-12)
    assert calculator.estimate_inference_throughput(*arguments) == pytest.approx(B * 100 / (prefill + 100 * step))
    with pytest.raises(InvalidInput) as caught:
        calculator.estimate_inference_throughput(*arguments, compute_efficiency=0)
    assert caught.value.field == "compute_efficiency"


# --- lookups


def test_models_and_accelerators_are_looked_up_under_the_names_of_the_formulas(calculator: AdvancedCalculator) -> None:
    shape = calculator.get_model_config("llama-3.1-8b")
    assert [shape[name] for name in SHAPE[:4]] == [4096, 14336, 32, 128_256]
    assert (shape["total_params"], shape["kv_bytes_per_token_bf16"]) == (8_030_261_248, 131_072)
    gpu = calculator.get_gpu_config("H100")
    assert (gpu["gpu"], gpu["memory_bandwidth_gb_s"], gpu["tflops"]["bf16"]) == ("h100-sxm", 3350.0, 989.4)
    assert shape["model"] in calculator.get_available_models()
    assert gpu["gpu"] in calculator.get_available_gpus()
    models = calculator.get_available_models()
    without = [name for name in models if not calculator.get_model_config(name)["feedforward_dimensions"]]
    assert without and all("mamba" in name.lower() for name in without), "Mamba is the one without an MLP"


@pytest.mark.parametrize(
    ("method", "arguments", "field"),
    [
        ("get_model_config", ["llama-9"], "model_name"),
        ("get_gpu_config", ["h1000"], "gpu_name"),
        ("analyze_model_on_gpu", ["llama-3.1-8b", "h100", 1, 1024, 256, "fp12"], "precision"),
        ("analyze_model_on_gpu", ["llama-3.1-8b", "h100", 0], "concurrency"),
    ],
)
def test_what_is_not_known_is_refused_by_its_name(
    calculator: AdvancedCalculator, method: str, arguments: list[object], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        getattr(calculator, method)(*arguments)
    assert caught.value.field == field


def test_an_analysis_is_the_exact_core_beside_the_textbook(calculator: AdvancedCalculator) -> None:
    found = calculator.analyze_model_on_gpu("llama-3.1-70b", "h100-sxm", batch_size=8, num_gpus=4)
    raw = {"model": "llama-3.1-70b", "gpu": "h100-sxm", "num_gpus": 4, "concurrency": 8, "arrival": "static"}
    exact = results(estimate(serving_scenario(raw | {"weight_precision": "bf16"})[0]))
    for name in ("fits", "verdict", "ttft_ms", "tpot_ms", "output_tokens_per_s", "memory_bytes_per_gpu"):
        assert found["exact"][name] == exact[name], name
    shape = calculator.get_model_config("llama-3.1-70b")
    arguments = (8, 1024, 256, *(shape[name] for name in SHAPE[:4]), "bf16", 989.4, 3350.0)
    seconds = calculator.calculate_completion_latency(*arguments, num_gpus=4)
    assert found["simplified"]["e2e_latency_ms"] == pytest.approx(1000 * seconds)


def test_every_accelerator_has_a_textbook_answer(calculator: AdvancedCalculator) -> None:
    for name in calculator.get_available_gpus():
        found = calculator.analyze_model_on_gpu("llama-3.1-8b", name)
        assert 0 < found["simplified"]["tpot_ms"] < math.inf, name


def test_recommendations_fit_and_are_the_cheapest_first(calculator: AdvancedCalculator) -> None:
    found = calculator.get_recommended_gpus_for_model("llama-3.1-70b", batch_size=8, precision="fp8", max_gpus=2)
    prices = [one["usd_per_hour"] for one in found if one["usd_per_hour"] is not None]
    assert len(prices) > 3 and prices == sorted(prices)
    assert all(one["num_gpus"] <= 2 for one in found)
    cheapest = found[0]
    analysis = calculator.analyze_model_on_gpu("llama-3.1-70b", cheapest["gpu"], 8, precision="fp8")
    assert analysis["exact"]["fits"] and analysis["exact"]["num_gpus"] == cheapest["num_gpus"]
    assert not {"rtx-4090", "t4"} & {one["gpu"] for one in found}


# --- docs/metrics_calculation.md: the textbook beside the exact core


def compared_in_the_docs() -> list[tuple[str, str, str, str]]:
    text = (PROJECT / "docs" / "metrics_calculation.md").read_text(encoding="utf-8")
    table = text.split("## The textbook's formulas beside the exact ones")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return [(name.strip("`"), formula, small, large) for name, formula, small, large, _ in rows[2:]]


def ratios(model: str, num_gpus: int) -> dict[str, float]:
    """Textbook over exact for a batch of 16, a prompt of 1,024 and 256 output tokens, bf16, on H100 SXM."""
    calculator, batch, prompt, output = AdvancedCalculator(), 16, 1024, 256
    analysis = calculator.analyze_model_on_gpu(model, "h100-sxm", batch, prompt, output, num_gpus=num_gpus)
    raw = {"model": model, "gpu": "h100-sxm", "num_gpus": num_gpus, "concurrency": batch, "arrival": "static"}
    exact = results(estimate(serving_scenario(raw)[0]))
    shape = calculator.get_model_config(model)
    hidden, width, layers, vocab = (shape[name] for name in SHAPE[:4])
    flops, memory = exact["flops"]["prefill"], exact["memory_bytes_per_gpu"]
    gigabytes = {name: num_gpus * size / BYTES_PER_GB for name, size in memory.items()}
    attention = flops["attention_projections"] + flops["attention_scores"]
    simplified = analysis["simplified"]
    held = prompt + output
    return {
        "calculate_flops_attention": layers * calculator.calculate_flops_attention(1, prompt, hidden) / attention,
        "calculate_flops_feedforward": (
            layers * calculator.calculate_flops_feedforward(1, prompt, hidden, width) / flops["feed_forward"]
        ),
        "calculate_flops_prefill": (
            calculator.calculate_flops_prefill(1, prompt, hidden, width, layers) / (attention + flops["feed_forward"])
        ),
        "calculate_model_vram": (
            calculator.calculate_model_vram(hidden, width, layers, vocab, "bf16")
            * BYTES_PER_GB
            / exact["model"]["weight_bytes"]
        ),
        "calculate_kv_cache_vram": (
            calculator.calculate_kv_cache_vram(1, 1, hidden, layers, "bf16")
            * BYTES_PER_GB
            / exact["model"]["kv_bytes_per_token"]
        ),
        "calculate_activations_vram": (
            calculator.calculate_activations_vram(batch, held, hidden, layers, "bf16") / gigabytes["activations"]
        ),
        "calculate_total_vram": simplified["total_vram_gb"] / gigabytes["total"],
        "calculate_prefill_latency": simplified["ttft_ms"] / exact["ttft_ms"]["value"],
        "calculate_token_latency": simplified["tpot_ms"] / exact["tpot_ms"]["value"],
        "calculate_completion_latency": simplified["e2e_latency_ms"] / exact["e2e_latency_ms"]["value"],
        "estimate_inference_throughput": (simplified["output_tokens_per_s"] / exact["output_tokens_per_s"]["value"]),
    }


def test_the_table_of_the_docs_is_true() -> None:
    rows = compared_in_the_docs()
    small, large = ratios("llama-3.1-8b", 1), ratios("llama-3.1-70b", 4)
    assert [name for name, *_ in rows] == list(small)
    for name, _, first, second in rows:
        within = 0.1 if name.endswith(("latency", "throughput")) else 0.01  # Speeds change with the calibration.
        assert float(first) == pytest.approx(small[name], rel=within), name
        assert float(second) == pytest.approx(large[name], rel=within), name
