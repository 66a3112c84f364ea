"""Formats: true bytes per element, and what "auto" means for a model on a GPU."""

import pytest

from app import catalog
from app.calculations.errors import InvalidInput
from app.calculations.formats import resolve
from app.calculations.precision import PRECISIONS


@pytest.mark.parametrize(
    ("name", "bits_per_element"),
    [("fp32", 32), ("bf16", 16), ("fp8", 8.002), ("int8", 8.004), ("int4", 4.156), ("mxfp4", 4.25), ("nvfp4", 4.5)],
)
def test_bits_per_element_include_the_scales(name, bits_per_element):
    assert PRECISIONS[name].bytes_per_element * 8 == pytest.approx(bits_per_element, abs=1e-3)


def chosen(model, gpu, weights="auto", activations="auto", kv_cache="auto"):
    found = resolve(catalog.model(model), catalog.gpu(gpu), weights=weights, activations=activations, kv_cache=kv_cache)
    return found.weights.name, found.activations.name, found.kv_cache.name


@pytest.mark.parametrize(
    ("model", "gpu", "weights", "expected"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "h100-sxm", "auto", ("bf16", "bf16", "bf16")),
        ("meta-llama/Llama-3.1-8B-Instruct", "t4", "auto", ("fp16", "fp16", "fp16")),
        ("meta-llama/Llama-3.1-8B-Instruct", "h100-sxm", "fp8", ("fp8", "fp8", "bf16")),
        ("meta-llama/Llama-3.1-8B-Instruct", "a100-sxm-80gb", "fp8", ("fp8", "bf16", "bf16")),
        ("meta-llama/Llama-3.1-8B-Instruct", "h100-sxm", "int4", ("int4", "bf16", "bf16")),
        ("meta-llama/Llama-3.1-8B-Instruct", "b200", "nvfp4", ("nvfp4", "nvfp4", "bf16")),
        ("meta-llama/Llama-3.1-8B-Instruct", "h100-sxm", "nvfp4", ("nvfp4", "bf16", "bf16")),
        ("deepseek-ai/DeepSeek-V3", "h200-sxm", "auto", ("fp8", "fp8", "bf16")),
    ],
)
def test_automatic_precision_is_the_checkpoints_where_the_gpu_can(model, gpu, weights, expected):
    assert chosen(model, gpu, weights) == expected


@pytest.mark.parametrize(
    ("gpu", "weights", "activations"),
    [
        ("a100-sxm-80gb", "auto", "fp8"),
        ("t4", "auto", "bf16"),
        ("h100-sxm", "auto", "nvfp4"),
        ("h100-sxm", "bf16", "fp8"),
    ],
    ids=["no fp8 units", "no bf16 units", "no fp4 units", "narrower than the weights"],
)
def test_a_format_the_gpu_cannot_multiply_is_refused_with_those_it_can(gpu, weights, activations):
    with pytest.raises(InvalidInput) as refused:
        chosen("meta-llama/Llama-3.1-8B-Instruct", gpu, weights, activations)
    assert refused.value.field == "activation_precision" and "16" in refused.value.allowed


def test_mxfp4_checkpoints_store_only_experts_narrow():
    model = catalog.model("openai/gpt-oss-20b")
    found = resolve(model, catalog.gpu("h100-sxm"), weights="auto", activations="auto", kv_cache="auto")
    stored = {t.group: found.stored(t).name for t in model.tensors() if t.kind == "linear"}
    assert stored["expert"] == "mxfp4" and stored["attention"] == "bf16" and stored["lm_head"] == "bf16"
