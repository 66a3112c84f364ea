"""docs/nomenclature.md has every input, every key of every answer, and its unit, as they are declared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from app.calculations.inputs import Input
from app.calculations.planning.inputs import GROUPS as PLANNING_GROUPS
from app.calculations.scenario import GROUPS
from app.calculations.training.inputs import GROUPS as TRAINING_GROUPS
from app.glossary import serving
from app.glossary.planning import PLANNING_KEYS
from app.glossary.sensitivity import SENSITIVITY_KEYS
from app.glossary.serving import Key
from app.glossary.training import TRAINING_KEYS
from app.planning import PLANNING_INPUTS
from app.scenarios import ALL_INPUTS
from app.training_scenarios import TRAINING_INPUTS

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "nomenclature.md").read_text(encoding="utf-8")
LINES = TEXT.splitlines()

TABLES: Mapping[str, Mapping[str, Key]] = {
    "Run": {**serving.RUN_KEYS, **serving.NOT_SAVED_KEYS},
    "Results of an estimate": serving.RESULT_KEYS,
    "Results of training": TRAINING_KEYS,
    "Results of planning": PLANNING_KEYS,
    "What moves an estimate": SENSITIVITY_KEYS,
    "Work of an estimate": serving.WORK_KEYS,
    "Row of a step": serving.WORK_ROW_KEYS,
    "Error": serving.ERROR_KEYS,
    "Facts about a model": {"id": serving.MODEL_ROW_KEYS["id"], **serving.MODEL_KEYS},
    "Facts about an accelerator": serving.GPU_KEYS,
}


def section(heading: str) -> list[str]:
    """The rows of the table under a heading."""
    start = next(number for number, line in enumerate(LINES) if line.lstrip("#") == f" {heading}")
    rows = []
    for line in LINES[start + 1 :]:
        if line.startswith("#"):
            break
        if line.startswith("| `"):
            rows.append(line)
    return rows


def input_row(one: Input) -> str:
    default = str(one.default).lower() if isinstance(one.default, bool) else one.default
    shown = "automatic" if default is None else f"`{default}`"
    return f"| `{one.name}` | {one.unit} | {shown} | {one.label}. {one.help} |"


def key_row(name: str, key: Key) -> str:
    return f"| `{name}` | {key.type.replace('|', ' or ')} | {key.unit} | {key.meaning} |"


@pytest.mark.parametrize("group", GROUPS)
def test_inputs(group: str) -> None:
    declared = [input_row(one) for one in ALL_INPUTS.values() if one.group == group]
    assert section(GROUPS[group][0]) == declared, "\n".join(["The table should be:", *declared])


@pytest.mark.parametrize("group", dict.fromkeys(one.group for one in TRAINING_INPUTS.values()))
def test_inputs_of_training(group: str) -> None:
    declared = [input_row(one) for one in TRAINING_INPUTS.values() if one.group == group]
    heading = f"Training: {TRAINING_GROUPS[group][0]}"
    assert section(heading) == declared, "\n".join(["The table should be:", *declared])


@pytest.mark.parametrize("group", PLANNING_GROUPS)
def test_inputs_of_planning(group: str) -> None:
    declared = [input_row(one) for one in PLANNING_INPUTS.values() if one.group == group]
    heading = f"Planning: {PLANNING_GROUPS[group][0]}"
    assert section(heading) == declared, "\n".join(["The table should be:", *declared])


@pytest.mark.parametrize("heading", TABLES)
def test_keys(heading: str) -> None:
    declared = [key_row(name, key) for name, key in TABLES[heading].items()]
    assert section(heading) == declared, "\n".join(["The table should be:", *declared])


def test_components() -> None:
    declared = [f"| `{name}` | {meaning} |" for name, meaning in serving.COMPONENTS.items()]
    assert section("Components of FLOPs") == declared, "\n".join(["The table should be:", *declared])
