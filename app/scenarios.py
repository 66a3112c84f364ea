"""The door: names and text as people give them -> a scenario of the core. Used by every front end."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app import catalog
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.inputs import Input, inputs_of
from app.calculations.scenario import CUSTOM, ServingInputs, ServingScenario
from app.own.by_hand import GPU_INPUTS, MODEL_INPUTS, custom_gpu, custom_model

SERVING_INPUTS = inputs_of(ServingInputs)

#: Every input of a serving estimate by name.
ALL_INPUTS: Mapping[str, Input] = MappingProxyType({**SERVING_INPUTS, **MODEL_INPUTS, **GPU_INPUTS})


def check_names(raw: Mapping[str, object]) -> None:
    """InvalidInput for a key that is no input, with the nearest that is."""
    for key in raw:
        if key not in ALL_INPUTS:
            near = difflib.get_close_matches(str(key)[:100], ALL_INPUTS, n=3, cutoff=0.5)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise InvalidInput(str(key)[:100], f"{str(key)[:100]!r} is not an input.{hint}", ", ".join(ALL_INPUTS))


def refuse_unused(values: Mapping[str, Any], inputs: Mapping[str, Input], owner: str) -> None:
    """InvalidInput for something described by hand that would be ignored, because a preset was chosen."""
    for name, one in inputs.items():
        if values[name] != one.default:
            raise InvalidInput(
                name,
                f"{one.label}: {values[name]} counts only where {owner} is custom, and {owner} is {values[owner]}.",
                f"{owner} custom, or leave it out",
            )


def serving_scenario(
    raw: Mapping[str, object], *, model: Model | None = None
) -> tuple[ServingScenario, dict[str, Any]]:
    """The scenario that raw names and values mean, and the inputs to log. Raises InvalidInput.

    `model` replaces the lookup where a front end has read a configuration itself.
    """
    check_names(raw)
    values = {name: one.parse(raw.get(name)) for name, one in ALL_INPUTS.items()}
    is_custom_gpu = values["gpu"].lower() == CUSTOM
    is_custom_model = model is None and values["model"].lower() == CUSTOM
    if not is_custom_model:
        refuse_unused(values, MODEL_INPUTS, "model")
    if not is_custom_gpu:
        refuse_unused(values, GPU_INPUTS, "gpu")
    region = catalog.grid(values["region"])
    gpu = custom_gpu(values) if is_custom_gpu else catalog.gpu(values["gpu"], region=region.slug)
    if model is None:
        model = custom_model(values) if is_custom_model else catalog.model(values["model"])
    engine = catalog.engine(values["engine"])
    calibration = catalog.calibration(values["calibration"])
    named = ("model", "gpu", "engine", "region", "calibration", "concurrency")
    own = {name: values[name] for name in SERVING_INPUTS if name not in named}
    scenario = ServingScenario(
        model=model,
        gpu=gpu,
        engine=engine,
        hardware=catalog.hardware(),
        spreads=catalog.spreads(),
        measured=calibration.measured,
        curves=catalog.kernel_curves(),
        efficiency=calibration.efficiency,
        concurrency=None if values["concurrency"] == "saturated" else values["concurrency"],
        region=region,
        **own,
    )
    logged = {name: values[name] for name in SERVING_INPUTS}
    logged |= {"model": model.name, "gpu": gpu.slug, "engine": engine.name, "region": region.slug}
    logged |= {"calibration": calibration.efficiency.name}
    if is_custom_model:
        logged |= {name: values[name] for name in MODEL_INPUTS}
    if is_custom_gpu:
        logged |= {name: values[name] for name in GPU_INPUTS}
    return scenario, {name: value for name, value in logged.items() if value is not None}
