"""The work of a run, made again from its inputs: the log holds results only. As data, and its lines as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app import formatting
from app.calculations import estimate
from app.calculations.architecture import Model
from app.calculations.report import results
from app.calculations.work import work
from app.scenarios import serving_scenario

#: Results that tell whether the calculator still finds what was logged.
KEPT = ("ttft_ms", "tpot_ms", "requests_per_s")
NAME = re.compile(r"\b[A-Za-z]\w*\b(?!\()")
#: Python -> what a person writes.
SIGNS = ((" ** ", " ^ "), (" * ", " \N{MULTIPLICATION SIGN} "))


def work_of(inputs: Mapping[str, Any], found: Mapping[str, Any], *, model: Model | None = None) -> dict[str, Any]:
    """The work of logged inputs and results. `same`: whether today's numbers are those of the results.

    The layout is the one that was chosen, so that nothing is weighed again. Raises InvalidInput where the inputs
    mean nothing any more, such as a saved model that was deleted.
    """
    chosen = {name: found["layout"][name] for name in ("num_gpus", "tp", "pp", "ep", "dp")}
    scenario, _ = serving_scenario({**inputs, **chosen}, model=model)
    again = estimate(scenario)
    now = results(again)
    document = work(again.best)
    for line, text in zip(document["chain"], substituted(document["chain"]), strict=True):
        line["numbers"] = text
    return {"same": all(_close(now[key]["value"], found[key]["value"]) for key in KEPT), **document}


#: What a row is bound by -> words.
BOUND_WORDS = {
    "compute": "compute",
    "memory": "memory",
    "network": "network",
    "launch": "overhead",
    "host": "host",
}
#: Step -> its name.
STEP_NAMES = {"prefill": "Prefill of one prompt", "decode": "One decode step"}


def memory_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(meaning, equation with the numbers of the results) from what a token caches to whether everything fits; GiB."""
    memory, model = found["memory_bytes_per_gpu"], found["model"]
    gib = formatting.gib
    terms: dict[str, list[str]] = {}
    for term in found["memory_terms"]:
        terms.setdefault(term["part"], []).append(gib(term["bytes"]))
    parts = ("weights", "kv_cache", "activations", "runtime")
    tokens = memory["kv_cache"] / model["kv_bytes_per_token"] if model["kv_bytes_per_token"] else 0
    lines = [
        (f"{one.replace('_', ' ').replace('kv', 'KV').capitalize() if one != 'kv_cache' else 'KV cache'}, GiB",
         f"{one} = {' + '.join(terms.get(one, ['0']))} = {gib(memory[one])}")
        for one in parts
    ]  # fmt: skip
    lines.insert(
        2,
        (
            "The same as whole-model tokens: what a GPU holds of the cache over what one token adds to all of it",
            f"{gib(memory['kv_cache'])} GiB / {formatting.binary_bytes(model['kv_bytes_per_token'])} per token "
            f"= {formatting.integer(tokens)} tokens",
        ),
    )
    lines.append(
        ("All of it, GiB", f"total = {' + '.join(gib(memory[one]) for one in parts)} = {gib(memory['total'])}")
    )
    left = memory["capacity"] - memory["total"]
    sign = "fits" if left >= 0 else "does not fit"
    lines.append(
        (
            "Against what the engine may use, GiB",
            f"capacity - total = {gib(memory['capacity'])} - {gib(memory['total'])} = {gib(left)}: {sign}",
        )
    )
    return lines


def part_name(component: str) -> str:
    """A component as words."""
    return component.replace("_", " ").replace("lm head", "lm_head")


def _close(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and abs(a - b) <= 1e-6 * abs(b))


def substituted(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each expression with the values of its symbols in place of them; "" for what is given."""
    values: dict[str, str] = {}
    texts = []
    for line in lines:
        texts.append(NAME.sub(lambda found: values.get(found[0], found[0]), written(line["expression"])))
        values[line["symbol"]] = plain(line["value"])
    return texts


def written(expression: str) -> str:
    """An expression as a person writes it."""
    for sign, shown in SIGNS:
        expression = expression.replace(sign, shown)
    return expression


def plain(value: float | None) -> str:
    """A number to calculate with: four digits, no commas; whole numbers whole."""
    if value is not None and value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return formatting.number(value, 4).replace(",", "")


def value_text(line: Mapping[str, Any]) -> str:
    """The value of a line with its unit."""
    return f"{plain(line['value'])} {line['unit']}".rstrip()


def line_text(line: Mapping[str, Any]) -> str:
    """One line: symbol, expression, the same with numbers, value: rate = n / cycle = 16 / 2.398 = 6.672 per s."""
    numbers = "" if line["numbers"] == plain(line["value"]) else line["numbers"]
    parts = (line["symbol"], written(line["expression"]), numbers, value_text(line))
    return " = ".join(part for part in parts if part)
