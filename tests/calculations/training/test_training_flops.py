"""FLOPs per token under the conventions in use, against what the sources print."""

import pytest

from app import catalog
from app.calculations.training.flops import CONVENTIONS, flops_per_token, utilization

LLAMA = catalog.model("meta-llama/Llama-3.1-8B")


def counted(model, seq_len, convention, **changes):
    return flops_per_token(catalog.model(model), seq_len, CONVENTIONS[convention], **changes)


def test_palm_is_six_times_the_multiplying_parameters_and_twelve_layers_width_length():
    n = LLAMA.total_params - 128_256 * 4096 - 65 * 4096
    assert counted("meta-llama/Llama-3.1-8B", 8192, "palm").model == pytest.approx(
        6 * n + 12 * 32 * 4096 * 8192, rel=2e-4
    )


def test_a_causal_mask_halves_attention():
    palm, causal = (counted("meta-llama/Llama-3.1-8B", 8192, name).model for name in ("palm", "causal"))
    assert palm - causal == pytest.approx(6 * 32 * 4096 * 8192, rel=2e-4)


def test_all_parameters_count_the_input_embedding():
    palm, everything = (counted("meta-llama/Llama-3.1-8B", 8192, name).model for name in ("palm", "all_params"))
    assert everything - palm == pytest.approx(6 * (128_256 + 65) * 4096)
    assert counted("meta-llama/Llama-3.1-8B", 8192, "params").model == pytest.approx(6 * LLAMA.total_params)


@pytest.mark.parametrize(
    ("model", "seq_len", "convention", "tokens_per_s", "tflops", "source"),
    [
        ("meta-llama/Meta-Llama-3-70B", 8192, "palm", 1524, 734, "NVIDIA/NeMo 24.07 performance summary"),
        ("meta-llama/Llama-2-7b-hf", 4096, "palm", 16934, 780, "NVIDIA/NeMo 24.07 performance summary"),
        ("mosaicml/mpt-30b", 2048, "all_params", 0, 0, "llm-foundry README: 6N + 12 L d s, N all parameters"),
    ],
)
def test_sources_tflops_follow_from_their_tokens_per_second(model, seq_len, convention, tokens_per_s, tflops, source):
    flops = counted(model, seq_len, convention).model
    if tokens_per_s:
        assert flops * tokens_per_s / 1e12 == pytest.approx(tflops, rel=0.005)
    else:
        n = catalog.model(model).total_params
        assert flops == pytest.approx(6 * n + 12 * 48 * 7168 * seq_len, rel=1e-3)


def test_narayanans_formula_is_palm_with_recomputed_layers():
    """96 B s l h^2 (1 + s / 6h + V / 16 l h) per token: arXiv:2104.04473, equation 3."""
    bloom = catalog.model("bigscience/bloom")
    h, layers, s, v = 14336, 70, 2048, bloom.vocab_size
    formula = 96 * layers * h**2 * (1 + s / (6 * h) + v / (16 * layers * h))
    assert counted("bigscience/bloom", s, "palm", recomputed=(1.0, 1.0)).hardware == pytest.approx(formula, rel=1e-3)


def test_frozen_weights_have_no_gradients_of_their_own():
    full = counted("meta-llama/Llama-2-7b-hf", 4096, "causal", attended_tokens=1).model
    lora = counted("meta-llama/Llama-2-7b-hf", 4096, "causal", attended_tokens=1, trains_weights=False).model
    assert lora == pytest.approx(full * 2 / 3, rel=1e-3)


def test_a_mixture_counts_the_experts_that_run():
    model = catalog.model("Qwen/Qwen3-30B-A3B")
    assert counted("Qwen/Qwen3-30B-A3B", 1, "params").model == pytest.approx(6 * model.active_params, rel=1e-3)


def test_utilization_is_a_share_of_the_peak():
    assert utilization(50e9, 10_000, 1e15) == 0.5
