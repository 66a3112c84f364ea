"""GGUF file types: bytes against the sizes of published files."""

import pytest

from app import catalog
from app.calculations.formats import resolve
from app.calculations.gguf import FILE_TYPES, more_bits_share
from app.calculations.precision import PRECISIONS

# Sizes in GB as listed on the model cards of bartowski/Meta-Llama-3.1-8B-Instruct-GGUF (llama.cpp b3472) and
# TheBloke/Llama-2-7B-GGUF and Llama-2-70B-GGUF; Q2_K of the latter is left out (older rules).
PUBLISHED_GB = {
    ("meta-llama/Llama-3.1-8B-Instruct", "q8_0"): 8.54,
    ("meta-llama/Llama-3.1-8B-Instruct", "q6_k"): 6.60,
    ("meta-llama/Llama-3.1-8B-Instruct", "q5_k_m"): 5.73,
    ("meta-llama/Llama-3.1-8B-Instruct", "q4_k_m"): 4.92,
    ("meta-llama/Llama-3.1-8B-Instruct", "q4_k_s"): 4.69,
    ("meta-llama/Llama-3.1-8B-Instruct", "q3_k_m"): 4.02,
    ("meta-llama/Llama-3.1-8B-Instruct", "q2_k"): 3.18,
    ("meta-llama/Llama-2-7b-hf", "q8_0"): 7.16,
    ("meta-llama/Llama-2-7b-hf", "q6_k"): 5.53,
    ("meta-llama/Llama-2-7b-hf", "q5_k_m"): 4.78,
    ("meta-llama/Llama-2-7b-hf", "q4_k_m"): 4.08,
    ("meta-llama/Llama-2-7b-hf", "q4_0"): 3.83,
    ("meta-llama/Llama-2-7b-hf", "q3_k_m"): 3.30,
    ("meta-llama/Llama-2-70b-hf", "q4_k_m"): 41.42,
    ("meta-llama/Llama-2-70b-hf", "q5_k_m"): 48.75,
}


@pytest.mark.parametrize(("name", "file_type"), PUBLISHED_GB)
def test_a_file_is_as_large_as_the_published_one(name, file_type):
    model = catalog.model(name)
    formats = resolve(model, catalog.gpu("rtx-4090"), weights=file_type, activations="auto", kv_cache="auto")
    size = sum(t.params * formats.stored(t).bytes_per_element for t in model.tensors())
    assert size / 1e9 == pytest.approx(PUBLISHED_GB[name, file_type], rel=0.005)


def test_the_nominal_bits_are_those_of_llama_8b():
    model = catalog.model("meta-llama/Llama-3.1-8B-Instruct")
    for file_type in FILE_TYPES:
        formats = resolve(model, catalog.gpu("rtx-4090"), weights=file_type, activations="auto", kv_cache="auto")
        bits = sum(8 * t.params * formats.stored(t).bytes_per_element for t in model.tensors()) / model.total_params
        assert bits == pytest.approx(PRECISIONS[file_type].bits, abs=0.01)


def test_half_of_the_layers_of_a_32_layer_model_are_kept_wider():
    # 0-3, 28-31 and every third of 4-27: 4 + 4 + 8.
    assert more_bits_share(32) == 16 / 32


def test_products_take_16_bits():
    model = catalog.model("meta-llama/Llama-3.1-8B-Instruct")
    formats = resolve(model, catalog.gpu("rtx-4090"), weights="q4_k_m", activations="auto", kv_cache="auto")
    assert {formats.multiplied(t) for t in model.tensors() if t.kind == "linear"} == {"bf16"}
