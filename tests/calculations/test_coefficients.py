"""Calibrated coefficients: levels multiply, and what was never measured keeps what is expected."""

import dataclasses
from math import log

import pytest

from app import catalog
from app.calculations.coefficients import EXPECTED, NAMES, Coefficients, Efficiency, levels
from app.calculations.layout_estimate import formats_of, machine
from tests.calculations.worlds import scenario

VLLM, H100 = catalog.engine("vllm"), catalog.gpu("h100-sxm")
FORMATS, DENSE = formats_of(scenario()), catalog.model("meta-llama/Llama-3.1-8B-Instruct")


def test_without_measurements_all_is_as_expected():
    assert Efficiency().coefficients(VLLM, H100, FORMATS, DENSE) == EXPECTED == Coefficients()


def test_levels_add_as_logarithms():
    found = Efficiency(
        deviations={
            ("all", ""): {"matrix_compute": log(2)},
            ("engine", "vllm"): {"matrix_compute": log(1.5), "request_seconds": log(3)},
            ("engine on gpu", "vllm h100-sxm"): {"matrix_compute": log(0.5)},
        }
    ).coefficients(VLLM, H100, FORMATS, DENSE)
    assert found.matrix_compute == pytest.approx(2 * 1.5 * 0.5)
    assert found.request_seconds == pytest.approx(3 * EXPECTED.request_seconds)
    touched = ("matrix_compute", "request_seconds")
    assert all(getattr(found, name) == getattr(EXPECTED, name) for name in NAMES if name not in touched)


@pytest.mark.parametrize(
    ("level", "key"),
    [("engine", "sglang"), ("generation", "ampere"), ("engine on gpu", "vllm h200-sxm"), ("vendor", "amd")],
)
def test_what_was_measured_elsewhere_moves_nothing(level, key):
    assert (
        Efficiency(deviations={(level, key): dict.fromkeys(NAMES, 1.0)}).coefficients(VLLM, H100, FORMATS, DENSE)
        == EXPECTED
    )


def test_an_unseen_engine_on_an_unseen_gpu_keeps_the_general_levels():
    deviations = {
        ("all", ""): {"launch": log(2)},
        ("family", "vllm"): {"launch": log(5)},
        ("generation", "hopper"): {"launch": log(7)},
    }
    engine = dataclasses.replace(VLLM, name="unseen", family="unseen")
    gpu = dataclasses.replace(H100, slug="unseen", architecture="unseen", vendor="unseen")
    assert Efficiency(deviations=deviations).coefficients(engine, gpu, FORMATS, DENSE).launch == pytest.approx(2)


def test_levels_go_from_all_to_the_engine_on_the_gpu_each_once():
    found = levels(VLLM, H100, FORMATS, DENSE)
    assert found[0] == ("all", "") and ("engine on gpu", "vllm h100-sxm") in found
    assert ("family and format", "vllm bf16") in found and ("engine and kind", "vllm dense") in found
    assert ("engine and kind", "vllm mixture") in levels(VLLM, H100, FORMATS, catalog.model("Qwen/Qwen3-30B-A3B"))
    assert len(found) == len({level for level, _ in found})


def test_what_is_set_by_hand_replaces_the_calibration():
    deviations = {("all", ""): {"matrix_compute": 1.0, "matrix_memory": 1.0, "step_seconds": 1.0}}
    asked = scenario(compute_efficiency=0.5, bandwidth_efficiency=0.5, step_overhead_ms=4.0)
    asked = dataclasses.replace(asked, efficiency=Efficiency(deviations=deviations))
    found = machine(asked, formats_of(asked)).coefficients
    assert (found.matrix_compute, found.matrix_memory, found.step_seconds) == (1.0, 1.0, 0.004)


def test_the_shipped_calibration_names_known_coefficients_and_levels():
    known = {level for level, _ in levels(VLLM, H100, FORMATS, DENSE)}
    for (level, _), deviations in catalog.efficiency().deviations.items():
        assert level in known and set(deviations) <= set(NAMES)
