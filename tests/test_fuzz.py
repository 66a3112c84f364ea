"""Whatever is typed or sent, every front end answers or refuses: no 5xx, no traceback. Bounded in time.

First every input by itself with values that break programs, then hypothesis over combinations, through the form, the
API and the command line. tests/test_openapi_fuzz.py asks the API what its own description promises.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.calculations.inputs import Input
from app.command_line.main import main
from app.planning import PLANNING_INPUTS
from app.scenarios import ALL_INPUTS
from app.training_scenarios import ALL_TRAINING_INPUTS

INPUTS: dict[str, Mapping[str, Input]] = {
    "estimate": ALL_INPUTS,
    "train": ALL_TRAINING_INPUTS,
    "plan": PLANNING_INPUTS,
}
FORMS = {"estimate": "/", "train": "/train", "plan": "/plan"}
#: A question that is answered soon; a search of one accelerator is.
QUESTION: dict[str, dict[str, Any]] = {
    "estimate": {"model": "llama-3.1-8b", "gpu": "h100-sxm"},
    "train": {"model": "llama-3.1-8b", "gpu": "h100-sxm", "num_gpus": 8},
    "plan": {"model": "llama-3.1-8b", "gpu": "h100-sxm", "input_tokens": 500, "output_tokens": 100, "request_rate": 1},
}
#: Of training the layout too, where many are asked: a search of all takes ten times as long.
NO_SEARCH: dict[str, dict[str, Any]] = {"train": {"tp": 1, "pp": 1, "cp": 1}}
HOSTILE = (
    "", " ", "0", "-1", "1e9", "1e999", "-1e999", "nan", "inf", "0x10", "1_000", "1,5", "٣", "9" * 300, "1/0", "true",
    "\0", "\ud83d", "<script>alert(1)</script>", "'; DROP TABLE runs; --", "../../etc/passwd", "%s%n{}", "=1+1",
    "x" * 5000,
    "custom", "auto", "saturated", "null", "{}", "a\r\nSet-Cookie: a=b", "\u202eabc", "${7*7}{{7*7}}",
)  # fmt: skip

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def values_of(one: Input) -> st.SearchStrategy[Any]:
    """What the input may be, its limits and what lies beyond, and anything."""
    found = [st.sampled_from(HOSTILE), st.text(max_size=12)]
    if one.choices:
        found.append(st.sampled_from([value for value, _ in one.choices]))
    if one.kind in ("integer", "number"):
        low, high = one.minimum, min(one.maximum, 1e18)
        found += [
            st.sampled_from([low, high, low - 1, high * 2]),
            st.integers(int(low), int(high)),
            st.floats(low, high),
        ]
    return st.one_of(found)


def questions(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """The question of a kind with up to six of its inputs changed."""
    names = st.lists(st.sampled_from(sorted(INPUTS[kind])), max_size=6, unique=True)
    changes = names.flatmap(lambda chosen: st.fixed_dictionaries({n: values_of(INPUTS[kind][n]) for n in chosen}))
    return changes.map(lambda changed: QUESTION[kind] | changed)


def sent(client: FlaskClient, kind: str, question: Mapping[str, Any]) -> None:
    """Through the API and the form: answered, or refused with a message."""
    answer = client.post(f"/api/v1/{kind}", data=json.dumps(question))
    assert answer.status_code in (200, 400, 422), (kind, question, answer.text[:300])
    if answer.status_code != 200:
        assert answer.json["error"]["message"], question
    fields = {name: str(value).encode("utf-8", "replace") for name, value in question.items() if value is not None}
    answer = client.post(FORMS[kind], data=fields)
    assert answer.status_code in (303, 422), (kind, question, answer.text[:300])
    if answer.status_code == 303:
        page = client.get(answer.headers["Location"])
        assert page.status_code == 200, (kind, question)
    else:
        assert "Traceback" not in answer.text
        assert 'role="alert"' in answer.text, (kind, question)


@pytest.mark.parametrize("kind", INPUTS)
def test_every_input_takes_or_refuses_hostile_values(client: FlaskClient, kind: str) -> None:
    """Five through the API and one through the form, which are others for each input."""
    question = QUESTION[kind] | NO_SEARCH.get(kind, {})
    for start, name in enumerate(sorted(INPUTS[kind])):
        values = [HOSTILE[(start + 5 * number) % len(HOSTILE)] for number in range(5)]
        for value in values:
            answer = client.post(f"/api/v1/{kind}", data=json.dumps(question | {name: value}))
            assert answer.status_code in (200, 422), (name, value, answer.text[:300])
        typed = values[0].encode("utf-8", "replace")
        answer = client.post(FORMS[kind], data=question | {name: typed})
        assert answer.status_code in (303, 422), (name, typed, answer.text[:300])
        assert client.get(FORMS[kind], query_string={name: typed}).status_code == 200


@pytest.mark.parametrize("kind", INPUTS)
@few
@given(data=st.data())
def test_any_combination_is_answered_or_refused_by_form_and_api(client: FlaskClient, kind: str, data: Any) -> None:
    sent(client, kind, data.draw(questions(kind)))


@pytest.mark.parametrize("kind", INPUTS)
@settings(few, max_examples=25)
@given(data=st.data())
def test_any_combination_is_answered_or_refused_by_the_command_line(tmp_path: Path, kind: str, data: Any) -> None:
    question = data.draw(questions(kind))
    words = [f"--{name.replace('_', '-')}={value}" for name, value in question.items() if value not in (True, False)]
    environ = {"LOG_DIR": str(tmp_path / "logging"), "DATA_DIR": str(tmp_path / "data")}
    done = CliRunner().invoke(main, [kind, *words], env=environ, prog_name="python -m app")
    assert done.exit_code in (0, 2), (question, done.output[-500:], done.exc_info)
    assert "Traceback" not in done.output
    if done.exit_code == 2:
        assert done.stderr.strip()


QUERY = st.dictionaries(
    st.sampled_from(("q", "model", "gpu", "engine", "source", "kind", "fits", "from", "to", "sort", "page", "per_page",
                     "chart", "run", "view", "x", "y", "metric", "family", "status")),
    st.sampled_from(HOSTILE) | st.text(max_size=20),
    max_size=5,
)  # fmt: skip


@settings(few, max_examples=80)
@given(path=st.sampled_from(("/visualize", "/visualize.csv", "/accuracy", "/accuracy.csv", "/models", "/gpus",
                             "/sensitivity", "/compare", "/login", "/models/export", "/models/import", "/docs")),
       query=QUERY)  # fmt: skip
def test_any_query_string_is_answered_or_refused(client: FlaskClient, path: str, query: dict[str, str]) -> None:
    fields = {name: value.encode("utf-8", "replace") for name, value in query.items()}
    answer = client.get(path, query_string=fields)
    assert answer.status_code < 500, (path, query)
    answer.close()


@settings(few, max_examples=100)
@given(
    method=st.sampled_from(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW")),
    parts=st.lists(st.sampled_from(("api", "v1", "results", "models", "gpus", "docs", "runs", "static", "..", "%2e%2e",
                                    "%00", "%ff", "~", "save", "delete", "export", "import", "a" * 300))
                   | st.text(max_size=8), max_size=5),
    body=st.binary(max_size=80),
    kind=st.sampled_from(("", "application/json", "application/x-www-form-urlencoded", "multipart/form-data",
                          "multipart/form-data; boundary=x", "text/html", "a/b; charset=nonsense", "\u00e4")),
)  # fmt: skip
def test_any_request_is_answered(client: FlaskClient, method: str, parts: list[str], body: bytes, kind: str) -> None:
    path = "/" + "/".join(parts).encode("utf-8", "replace").decode("latin-1")  # As WSGI hands on any bytes.
    overrides = {"PATH_INFO": path}
    with client.open("/", method=method, data=body, content_type=kind, environ_overrides=overrides) as answer:
        assert answer.status_code < 500, (method, path, body, kind)
