"""An answer about planning as text for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from app import formatting
from app.command_line.report import pairs, quantity, table
from app.history.run_log import Run

HEADS = ("Plan", "format", "TTFT", "TPOT", "tok/s/user", "$/hour", "$/M output", "goals hold")

CLASS_HEADS = ("Requests", "prompt", "output", "TTFT", "TPOT", "")
MODEL_HEADS = ("Model", "cheapest plan", "$/hour", "$/M output")


def planning(run: Run) -> Iterator[str]:
    """The verdict, the best plan, the ranked plans; where none meets the goals what excludes them and what would do."""
    found = run.results
    yield found["verdict"]
    yield searched(found["searched"])
    if found["plans"]:
        yield ""
        yield from pairs(best(found["plans"][0]))
        yield ""
        yield from table(HEADS, ranking(found, "plans"))
        if found["plans"][0]["classes"]:
            yield ""
            yield from table(CLASS_HEADS, map(class_row, found["plans"][0]["classes"]))
    if len(found["models"]) > 1:
        yield ""
        yield from table(MODEL_HEADS, map(model_row, found["models"]))
    if found.get("break_even"):
        yield ""
        yield comparison(found["break_even"])
    yield from exclusions(found["excluded"])
    if found["closest"]:
        yield ""
        yield "Nearest to the goals:"
        yield from table(HEADS, ranking(found, "closest"))
    yield from relaxations(found["relaxations"])


def searched(found: Mapping[str, Any]) -> str:
    return f"{found['replicas']:,} kinds of replica at {found['points']:,} loads were weighed."


def exclusions(rows: Sequence[Mapping[str, Any]], goal: Callable[[str], str] = str) -> Iterator[str]:
    """What rules replicas out. `goal` is what a goal is called."""
    for one in (row for row in rows if row["replicas"]):
        yield f"{one['replicas']:,} of {one['of']:,}: {one['reason']} ({goal(one['goal'])})."


def relaxations(rows: Sequence[Mapping[str, Any]], goal: Callable[[str], str] = str) -> Iterator[str]:
    """The cheapest plan without one goal."""
    for one in rows:
        plan = one["plan"]
        yield f"Without {goal(one['goal'])}: {plan['summary']}, {money(plan)} an hour."


def class_row(one: Mapping[str, Any]) -> Sequence[str]:
    """A class of a mix in the best plan."""
    return (
        formatting.percent(one["share"]),
        f"{one['input_tokens']:,}",
        f"{one['output_tokens']:,}",
        formatting.milliseconds(one["ttft_ms"]["value"]),
        formatting.milliseconds(one["tpot_ms"]["value"]),
        "nearest to a goal" if one["binds"] else "",
    )


def model_row(one: Mapping[str, Any]) -> Sequence[str]:
    """What a model costs, or why it does not do."""
    plan = one["plan"]
    if plan is None:
        return one["model"], one["reason"], "", ""
    return one["model"], plan["summary"], money(plan), formatting.usd(plan["usd_per_million_output_tokens"]["value"])


def best(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    statistic = "" if plan["statistic"] == "mean" else f", {plan['statistic'].upper()}"
    yield "Buy", plan["summary"]
    yield "Layout", plan["strategy"]
    yield "Formats", f"weights {plan['weight_precision']}, KV cache {plan['kv_precision']}"
    yield f"Time to first token{statistic}", quantity(plan["ttft_ms"], formatting.milliseconds, "")
    yield f"Time per output token{statistic}", quantity(plan["tpot_ms"], formatting.milliseconds, "")
    yield "Output per user", quantity(plan["output_tokens_per_s_per_user"], formatting.rate, " tokens/s")
    yield "Most requests", quantity(plan["max_requests_per_s"], formatting.rate, " per s")
    yield "Headroom", formatting.percent(plan["headroom"])
    if plan["probability"] is not None:
        yield "Goals hold with", formatting.percent(plan["probability"])
    for key, label in (("usd_per_hour", "Cost per hour"), ("usd_per_month", "Cost per month"),
                       ("usd_per_million_output_tokens", "Cost per million output tokens")):  # fmt: skip
        yield label, quantity(plan[key], formatting.usd, "")
    if plan["price_source"]:
        yield "Price from", plan["price_source"] + (f" ({plan['price_region']})" if plan["price_region"] else "")
    yield "Power per GPU", quantity(plan["power_w_per_gpu"], formatting.watts, "")
    yield "CO2 per million output tokens", quantity(plan["gco2_per_million_output_tokens"], formatting.grams, "")


def comparison(found: Mapping[str, Any]) -> str:
    """Own GPUs against an API, in one sentence."""
    own, api = found["own_usd_per_month"], found["api_usd_per_month"]
    start = found["from_requests_per_s"]
    cheaper = "own GPUs cost less" if own < api else "the API costs less"
    when = (
        "own GPUs never do: a full replica costs more"
        if start is None
        else f"own GPUs pay from {formatting.rate(start)} requests per second on, "
        f"{formatting.count(found['from_output_tokens_per_month'])} output tokens a month"
    )
    return f"{formatting.usd(own)} a month against {formatting.usd(api)} by the API: {cheaper}; {when}."


def ranking(found: Mapping[str, Any], which: str) -> list[Sequence[str]]:
    """The rows of the `plans`, or of the `closest` ones."""
    return [row(one, len(found["models"]) > 1) for one in found[which]]


def row(plan: Mapping[str, Any], several_models: bool) -> Sequence[str]:
    value = {name: plan[name]["value"] for name in ("ttft_ms", "tpot_ms", "output_tokens_per_s_per_user")}
    chance = plan["probability"]
    return (
        f"{plan['summary']}: {plan['model']}" if several_models else plan["summary"],
        plan["weight_precision"],
        formatting.milliseconds(value["ttft_ms"]),
        formatting.milliseconds(value["tpot_ms"]),
        formatting.rate(value["output_tokens_per_s_per_user"]),
        money(plan),
        formatting.usd(plan["usd_per_million_output_tokens"]["value"]),
        formatting.UNKNOWN if chance is None else formatting.percent(chance),
    )


def money(plan: Mapping[str, Any]) -> str:
    return formatting.usd(plan["usd_per_hour"]["value"])
