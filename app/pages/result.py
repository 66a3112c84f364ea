"""What a result page says of a run, in order: numbers as text, rows of tables, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app import formatting, show_work
from app.calculations.errors import InvalidInput
from app.calculations.explanation import TIGHT
from app.calculations.inputs import Input
from app.charts.estimate import BOUNDS, COMPONENTS, MEMORY_PARTS, bound_figure, flops_figure, memory_figure
from app.charts.work import roofline_figure
from app.glossary.serving import RESULT_KEYS, Key
from app.scenarios import ALL_INPUTS

TYPES: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
    "quantity": (dict,),
    "texts": (list,),
}

QUANTITY = {"value", "low", "high"}


#: Part of the memory -> its name on the page.
MEMORY_NAMES = {key: name for key, name, _ in MEMORY_PARTS}


@dataclass(frozen=True)
class Metric:
    """A number with its unit, its range where one is known, and what it means."""

    label: str
    value: str
    unit: str
    range: str
    meaning: str
    missing: bool = False


def per_second(what: str) -> Callable[[float | None], str]:
    return lambda value: f"{formatting.rate(value)} {what}" if formatting.known(value) else formatting.UNKNOWN


#: Heading -> (label, key, how to write it). A label that differs from the key's meaning in the glossary is shorter.
METRICS: Mapping[str, tuple[tuple[str, str, Callable[[float | None], str]], ...]] = {
    "Latency": (
        ("Time to first token", "ttft_ms", formatting.milliseconds),
        ("Time per output token", "tpot_ms", formatting.milliseconds),
        ("End to end", "e2e_latency_ms", formatting.milliseconds),
    ),
    "Throughput": (
        ("Output per user", "output_tokens_per_s_per_user", per_second("tok/s")),
        ("Output in total", "output_tokens_per_s", per_second("tok/s")),
        ("Prompt and output", "total_tokens_per_s", per_second("tok/s")),
        ("Requests", "requests_per_s", per_second("req/s")),
        ("Most requests", "max_requests_per_s", per_second("req/s")),
        ("Requests within the goals", "goodput_requests_per_s", per_second("req/s")),
    ),
    "Capacity": (
        ("Largest concurrency", "max_concurrency", lambda value: f"{formatting.integer(value)} requests"),
        ("Largest context", "max_context_tokens", lambda value: f"{formatting.integer(value)} tokens"),
        ("KV cache holds", "kv_cache_tokens", lambda value: f"{formatting.integer(value)} tokens"),
    ),
    "Percentiles": (
        ("First token, median", "ttft_ms_p50", formatting.milliseconds),
        ("First token, P90", "ttft_ms_p90", formatting.milliseconds),
        ("First token, P99", "ttft_ms_p99", formatting.milliseconds),
        ("Output token, median", "tpot_ms_p50", formatting.milliseconds),
        ("Output token, P90", "tpot_ms_p90", formatting.milliseconds),
        ("Output token, P99", "tpot_ms_p99", formatting.milliseconds),
    ),
    "Cost": (
        ("Per hour", "usd_per_hour", formatting.usd),
        ("Per 1M output tokens", "usd_per_million_output_tokens", formatting.usd),
        ("Per 1M prompt tokens", "usd_per_million_input_tokens", formatting.usd),
        ("Per 1M tokens, all", "usd_per_million_tokens", formatting.usd),
    ),
    "Energy": (
        ("Power per GPU", "power_w_per_gpu", formatting.watts),
        ("Per output token", "energy_j_per_token", formatting.joules),
        ("Power of the site", "power_w_total", formatting.watts),
        ("Per request", "energy_wh_per_request", formatting.watt_hours),
        ("Per 1M output tokens", "kwh_per_million_output_tokens", formatting.kilowatt_hours),
        ("CO2 of 1M output", "gco2_per_million_output_tokens", formatting.grams),
        ("Electricity per hour", "electricity_usd_per_hour", formatting.usd),
        ("Electricity per 1M output", "electricity_usd_per_million_output_tokens", formatting.usd),
    ),
}

#: Left out where they are not known: only those who pay for electricity, say how requests arrive, or set goals, ask.
WHERE_KNOWN = {
    "goodput_requests_per_s",
    *("electricity_usd_per_hour", "electricity_usd_per_million_output_tokens"),
    *(key for _, key, _ in METRICS["Percentiles"]),
}


#: Parts that may be missing as a whole, such as the bounds of what does not run.
MAY_BE_MISSING = ("bound", "prefill", "decode", "offload", "grid", "disaggregation", "budget", "break_even")


def is_complete(results: Mapping[str, Any], keys: Mapping[str, Key] = RESULT_KEYS) -> bool:
    """Whether the results are those of today's estimates; a log may hold those of other versions too."""
    return all(_present(results, name.split("."), key.type) for name, key in keys.items() if "*" not in name)


def _present(within: object, path: list[str], type_: str) -> bool:
    if isinstance(within, list):
        return all(_present(one, path, type_) for one in within)
    if not isinstance(within, dict):
        return False
    first, *rest = path
    if rest:
        whole = within.get(first)
        return (whole in (None, {}) and first in MAY_BE_MISSING) or _present(whole, rest, type_)
    value = within.get(first)
    if value is None and (type_.endswith("?") or first in ("prefill", "decode")):
        return True
    if type_ == "quantity":
        return isinstance(value, dict) and value.keys() >= QUANTITY and all(map(_is_number_or_none, value.values()))
    allowed = tuple(t for name in type_.rstrip("?").split("|") for t in TYPES[name])
    return isinstance(value, allowed)


def _is_number_or_none(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def metrics(results: Mapping[str, Any]) -> dict[str, list[Metric]]:
    """The key numbers by heading. Where nothing runs, speed and energy say so in place of a number."""
    found: dict[str, list[Metric]] = {}
    for (heading, _), one in metrics_by_key(results).items():
        found.setdefault(heading, []).append(one)
    return found


def metrics_by_key(results: Mapping[str, Any]) -> dict[tuple[str, str], Metric]:
    """The key numbers by heading and key, in order."""
    runs = results["output_tokens_per_s"]["value"] is not None
    return {
        (heading, key): _metric(label, key, results[key], write, runs)
        for heading, rows in METRICS.items()
        for label, key, write in rows
        if key not in WHERE_KNOWN or results[key]["value"] is not None
    }


def notes(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, str]:
    """What stands below the numbers of a heading."""
    return {"Energy": formatting.electricity(results["grid"], inputs.get("pue"))} if results["grid"] else {}


def _metric(label: str, key: str, found: Any, write: Callable[[float | None], str], runs: bool) -> Metric:
    quantity = found if isinstance(found, dict) else {"value": found, "low": None, "high": None}
    meaning = RESULT_KEYS[key].meaning
    if quantity["value"] is None and not runs:
        return Metric(label, "does not run", "", "", meaning, missing=True)
    return metric(label, quantity, write, meaning)


def metric(label: str, quantity: Mapping[str, Any], write: Callable[[float | None], str], meaning: str) -> Metric:
    """A quantity with its range, as `write` writes it."""
    text, unit = write(quantity["value"]), ""
    if text.count(" ") == 1:
        text, unit = text.split(" ")
    between = ""
    if quantity["low"] is not None and quantity["high"] is not None:
        between = formatting.range_text(write(quantity["low"]), write(quantity["high"]))
    return Metric(label, text, unit, between, meaning, missing=quantity["value"] is None)


def state(results: Mapping[str, Any]) -> str:
    """fits, tight or no: the colour of the verdict. One that was asked to fill the memory is not tight."""
    memory = results["memory_bytes_per_gpu"]
    if not results["fits"]:
        return "no"
    if results["batch"]["requested"] != "saturated" and memory["total"] > TIGHT * memory["capacity"]:
        return "tight"
    return "fits"


@dataclass(frozen=True)
class MemoryRow:
    """A line of the memory table; `shade` is its colour in the chart, `kind` its place: part, total, rest, limit."""

    name: str
    size_bytes: float
    share: float
    kind: str
    shade: str = ""


def memory_rows(results: Mapping[str, Any]) -> list[MemoryRow]:
    """The memory of the fullest GPU that serves."""
    memory = results["memory_bytes_per_gpu"]
    return memory_table(memory, MEMORY_PARTS, "Capacity: what the engine may use", memory["device"])


def memory_table(
    memory: Mapping[str, float], parts: Iterable[tuple[str, str, str]], limit: str, device_bytes: float
) -> list[MemoryRow]:
    """The parts (key, name, shade), their sum, what is left or too much, and the limits; shares are of the capacity,
    which `limit` names."""
    capacity = memory["capacity"]
    left = capacity - memory["total"]

    def row(name: str, size: float, kind: str, shade: str = "") -> MemoryRow:
        return MemoryRow(name, size, size / capacity if capacity else 0.0, kind, shade)

    return [
        *(row(name, memory[key], "part", shade) for key, name, shade in parts),
        row("Total", memory["total"], "total"),
        row("Free", left, "rest", "free") if left >= 0 else row("Too much", -left, "rest"),
        row(limit, capacity, "limit"),
        row("Memory of the GPU", device_bytes, "limit"),
    ]


@dataclass(frozen=True)
class FlopsRow:
    """Operations of a component for one prompt and for one decoded token, with their shares."""

    name: str
    prefill: float
    prefill_share: float
    decode: float
    decode_share: float
    shade: str = ""


def flops_rows(results: Mapping[str, Any]) -> list[FlopsRow]:
    """The components that there are, the total last."""
    prefill, decode = results["flops"]["prefill"], results["flops"]["decode_per_token"]
    all_prefill, all_decode = sum(prefill.values()), sum(decode.values())

    def row(name: str, first: float, second: float, shade: str = "") -> FlopsRow:
        return FlopsRow(name, first, first / (all_prefill or 1), second, second / (all_decode or 1), shade)

    found = [
        row(name, prefill.get(key, 0), decode.get(key, 0), shade)
        for key, name, shade in COMPONENTS
        if key in prefill or key in decode
    ]
    return [*found, row("Total", all_prefill, all_decode)]


def bound_rows(results: Mapping[str, Any]) -> list[tuple[str, dict[str, float], dict[str, float]]]:
    """(resource, {phase: seconds}, {phase: share}) of the phases that there are."""
    phases = bound_phases(results)
    seconds = {phase: results["bound"][phase]["seconds"] for phase in phases}
    totals = {phase: sum(seconds[phase].values()) or 1 for phase in phases}
    return [
        (
            name,
            {phase: seconds[phase].get(key, 0) for phase in phases},
            {phase: seconds[phase].get(key, 0) / totals[phase] for phase in phases},
        )
        for key, name in BOUNDS
    ]


def bound_phases(results: Mapping[str, Any]) -> list[str]:
    return [phase for phase in ("prefill", "decode") if results["bound"].get(phase)]


def figures(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The charts of the page by name."""
    bounds = {f"bound-{phase}": bound_figure(results, phase) for phase in bound_phases(results)}
    return {"memory": memory_figure(results), "flops": flops_figure(results), **bounds}


def work(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """The work of a run with its figure; where it cannot be made again, `problem` says why."""
    try:
        found = show_work.work_of(inputs, results)
    except InvalidInput as error:
        return {"steps": {}, "problem": error.message}
    figure = roofline_figure(found) if found["steps"] else None
    return {**found, "problem": "", "memory": show_work.memory_lines(results), "roofline": figure}


def input_rows(
    inputs: Mapping[str, Any], declared: Mapping[str, Input] = ALL_INPUTS
) -> list[tuple[str, str, str, bool]]:
    """(label, value, unit, set by hand) of the inputs that were used; names that are not known stay as they are."""
    rows = []
    for name, value in inputs.items():
        one = declared.get(name)
        if one is None:
            rows.append((name, str(value)[:200], "", True))
            continue
        rows.append((one.label, _input_text(value), one.unit, value != one.default))
    return rows


def _input_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == "auto":
        return "automatic"
    return f"{value:,}" if isinstance(value, int) else str(value)
