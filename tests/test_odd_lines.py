"""Lines of the log that are runs by their shape and hold what no version has logged: every page of them answers."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.factory import create_app
from app.history.run_log import WEB_FILE, Run, run_of
from app.pages.result_tabs import TABS
from app.runs import estimate_run, plan_run, train_run
from tests.pages import soup, words

PAGES = (
    "/results/{}", *(f"/results/{{}}?tab={tab}" for tab in TABS), "/results/{}.csv", "/results/{}/plans",
    "/results/{}/heat", "/results/{}/sensitivity", "/api/v1/runs/{}", "/api/v1/runs/{}?work=1", "/visualize?run={}",
    "/visualize.csv", "/compare?ids={}", "/compare?ids={}&inputs=all",
)  # fmt: skip

Path = tuple[str | int, ...]

ids = (f"odd{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    place = tmp_path_factory.mktemp("odd")
    return create_app({"LOG_DIR": place / "logging", "DATA_DIR": place / "data", "TESTING": False}).test_client()


@pytest.fixture(scope="module")
def whole() -> dict[str, dict[str, Any]]:
    """A run of each kind as it is logged."""
    serving = {"model": "llama-3.1-8b", "gpu": "l4"}
    goals = {"max_ttft_ms": 500, "max_tpot_ms": 20}
    runs = {
        "estimate": estimate_run(serving | goals, source="web"),
        "train": train_run({"model": "gpt2", "gpu": "l4", "num_gpus": 8}, source="web"),
        "plan": plan_run(serving | goals | {"request_rate": 1}, source="web"),
    }
    return {kind: json.loads(json.dumps(run.as_dict())) for kind, run in runs.items()}


def answers(client: FlaskClient, record: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Every page of a line, and the status that it answers with."""
    record = record | {"run_id": next(ids)}
    line = json.dumps(record).encode()
    log = client.application.extensions["run_log"]
    log.directory.mkdir(parents=True, exist_ok=True)
    with (log.directory / WEB_FILE).open("ab") as file:
        file.write(line + b"\n")
    if run_of(line) is None:
        return  # No run at all: the history skips it, and other tests are about that.
    for page in PAGES:
        address = page.format(record["run_id"])
        yield address, client.get(address).status_code


def assert_answered(client: FlaskClient, record: dict[str, Any]) -> None:
    failed = [(address, status) for address, status in answers(client, record) if status >= 500]
    assert not failed, json.dumps(record)[:2000]


def places(within: Any, path: Path = ()) -> Iterator[Path]:
    """Where a value stands: in it, and in all that it holds; of a list only the first."""
    yield path
    if isinstance(within, dict):
        for name, value in within.items():
            yield from places(value, (*path, name))
    elif isinstance(within, list) and within:
        yield from places(within[0], (*path, 0))


def changed(record: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """The record with another value at a place; without one where it is MISSING."""
    record = copy.deepcopy(record)
    *way, last = path
    within: Any = record
    for name in way:
        within = within[name]
    if value is MISSING:
        del within[last]
    else:
        within[last] = value
    return record


MISSING = object()


def nested(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        *(("plan", ("results", "plans"), value) for value in ("abc", [1, 2, 3], [{}, {}, {}], {"a": 1}, True)),
        *(("plan", ("results",), {"plans": value}) for value in ("abc", [1, 2, 3], [{}, {}, {}])),
        ("plan", ("results", "plans", 0, "layout"), {"tp": "two"}),
        ("plan", ("inputs",), {}),
        ("plan", ("inputs", "input_tokens"), "many"),
        ("estimate", ("inputs", "input_tokens"), MISSING),
        ("estimate", ("inputs", "output_tokens"), [1]),
        ("estimate", ("inputs", "max_ttft_ms"), "soon"),
        ("estimate", ("inputs",), {}),
        *((kind, ("results",), {"deep": nested(levels)}) for kind in ("estimate", "plan") for levels in (60, 850, 940)),
        *(("estimate", ("inputs", "deep"), nested(levels)) for levels in (60, 850, 940)),
        ("estimate", ("inputs", "huge"), 10**4000),
        ("estimate", ("results", "max_concurrency"), 10**400),
        ("train", ("results", "layouts"), [{"layout": 3}]),
        ("train", ("inputs",), {"model": 5}),
        ("estimate", ("kind",), "</script>"),
    ],
)  # fmt: skip
def test_every_page_of_an_odd_line_answers(
    client: FlaskClient, whole: dict[str, dict[str, Any]], kind: str, path: Path, value: Any
) -> None:
    assert_answered(client, changed(whole[kind], path, value))


ODD = st.sampled_from(
    [MISSING, None, True, 0, -1, 1e300, 10**300, "", "abc", "1", [], [1, 2, 3], [{}], {}, {"a": 1}, {"value": "x"}]
)


@pytest.mark.parametrize("kind", ["estimate", "train", "plan"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_page_answers_whatever_stands_in_a_line(
    client: FlaskClient, whole: dict[str, dict[str, Any]], kind: str, data: st.DataObject
) -> None:
    record = whole[kind]
    for part in data.draw(st.lists(st.sampled_from(["inputs", "results"]), min_size=1, max_size=3)):
        path = data.draw(st.sampled_from(list(places(record[part], (part,)))[1:] or [(part,)]))
        record = changed(record, path, data.draw(ODD))
    assert_answered(client, record)


def test_a_page_that_cannot_be_made_shows_the_run_as_it_was_logged(
    client: FlaskClient, whole: dict[str, dict[str, Any]]
) -> None:
    record = changed(whole["plan"], ("inputs", "request_rate"), "often") | {"run_id": "aside"}
    client.application.extensions["run_log"].append(Run.from_dict(record))
    page = soup(client.get("/results/aside").text)
    assert words(page.h1) == "A run of another version"
    assert json.loads(page.find("pre").text) == record


def test_commands_of_a_run_without_lengths_are_those_of_the_usual_ones(
    client: FlaskClient, whole: dict[str, dict[str, Any]]
) -> None:
    record = changed(whole["estimate"], ("inputs", "input_tokens"), MISSING) | {"run_id": "short"}
    client.application.extensions["run_log"].append(Run.from_dict(record))
    assert "--max-model-len 2560" in client.get("/results/short?tab=launch").text, "twice 1024 and 256"


def test_what_is_nested_too_deep_is_said_in_its_place(client: FlaskClient, whole: dict[str, dict[str, Any]]) -> None:
    record = whole["estimate"] | {"run_id": "deep", "results": {"a": nested(850), "b": nested(3)}}
    client.application.extensions["run_log"].append(Run.from_dict(record))
    found = client.get("/api/v1/runs/deep").json["results"]
    assert found["b"] == nested(3) and "nested more than 50 levels deep" in json.dumps(found["a"])
