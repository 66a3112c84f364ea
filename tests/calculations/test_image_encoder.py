"""Room that an engine keeps for the images of Llama 3.2 Vision."""

from __future__ import annotations

import pytest

from app import catalog
from app.calculations.image_encoder import ImageEncoder
from app.calculations.layout_estimate import GIB, estimate
from app.scenarios import serving_scenario

VISION = "meta-llama/Llama-3.2-11B-Vision-Instruct"


def best(**inputs):
    return estimate(serving_scenario({"model": VISION, "gpu": "h100-sxm", "num_gpus": 1, **inputs})[0]).best


def test_its_sizes_are_read_from_the_configuration():
    """4 tiles of (560 / 14)^2 + 1 patches, padded to 1608; 5 layers kept."""
    encoder = ImageEncoder(patches=4 * 1608, width=1280, inner=5120, kept_layers=5)
    assert catalog.model(VISION).image_encoder == encoder
    assert catalog.model("meta-llama/Llama-3.1-8B-Instruct").image_encoder is None


def test_the_mask_the_kept_layers_and_the_mlp_are_live_at_once():
    """Of one image on one GPU: 2 bytes x 6432 x (6432 + 5 x 1280 + 1280 + 2 x 5120); half of the MLP on each of two."""
    encoder = ImageEncoder(patches=6432, width=1280, inner=5120, kept_layers=5)
    assert encoder.working_bytes(1, 1) == 2 * 6432 * 24352
    assert encoder.working_bytes(3, 2) == 3 * 2 * 6432 * (24352 - 5120)
    assert encoder.working_bytes(0, 1) == 0


def test_128_sequences_take_what_vllm_logged():
    """36.63 GiB beside 19.86 of weights (vLLM pull request 12126)."""
    old = best(engine="vllm-v0", max_sequences=128)
    assert old.plan.activations / GIB == pytest.approx(36.63, rel=0.03)
    assert old.plan.widest == "image encoder"


def test_what_keeps_no_room_for_images_is_as_before():
    assert best(engine="vllm", max_sequences=128).plan.widest != "image encoder"
    few, many = best(engine="vllm-v0", max_sequences=16), best(engine="vllm-v0", max_sequences=128)
    assert few.plan.activations < many.plan.activations / 3
