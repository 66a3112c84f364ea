"""The textbook formulas, by hand; and that the docstrings' comparisons with the exact core are true."""

from __future__ import annotations

import inspect
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import catalog
from app.calculations.advanced import BYTES_PER_GB, AdvancedCalculator
from app.calculations.errors import InvalidInput
from app.calculations.formats import Formats, resolve
from app.calculations.memory import activation_bytes
from app.calculations.operators import Pass, flops_by_component
from app.calculations.parallelism import Layout

B, S, H, F, L, V = 2, 1024, 4096, 14336, 32, 128_256

SHAPE = ("hidden_dimensions", "feedforward_dimensions", "num_layers", "vocab_size", "precision")
BATCH = ("batch_size", "sequence_length")
OVERHEADS = {
    "weights_overhead": 1.05,
    "kv_cache_overhead": 1.05,
    "activations_overhead": 1.1,
    "system_overhead": 1.05,
}


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
    ],
)
def test_methods_have_the_documented_arguments(method: str, parameters: list[str]) -> None:
    signature = inspect.signature(getattr(AdvancedCalculator, method))
    assert list(signature.parameters)[1:] == parameters
    defaults = {n: p.default for n, p in signature.parameters.items() if p.default is not p.empty}
    assert defaults == {n: OVERHEADS.get(n, 1.0) for n in parameters if n.endswith(("overhead", "overhead_factor"))}


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
    working_set = activation_bytes(
        catalog.model(name), Layout(), formats_of(name), step_tokens=8192, sampler_rows=0, sampler_copies=1
    )
    assert round(working_set / BYTES_PER_GB, 1) == exact
    assert f"{exact} " in str(AdvancedCalculator.calculate_activations_vram.__doc__)
