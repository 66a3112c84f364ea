"""Serving, as the window asks and answers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app import formatting
from app.calculations.scenario import GROUPS
from app.command_line import report
from app.desktop.task import Answer, Launch, Ranking, Task
from app.glossary.serving import RESULT_KEYS
from app.history.run_log import Run
from app.pages import result as page
from app.pages import result_tabs
from app.runs import estimate_run
from app.scenarios import ALL_INPUTS

#: The numbers that are large: heading, key of the results, how it is written.
TILES = (
    ("Time to first token", "ttft_ms", formatting.milliseconds),
    ("Time per output token", "tpot_ms", formatting.milliseconds),
    ("Output, all users", "output_tokens_per_s", page.per_second("tok/s")),
    ("Cost per 1M output", "usd_per_million_output_tokens", formatting.usd),
)
LAYOUT_HEADS = ("Layout", "GiB", "tokens/s", "TPOT", "")


def answer(run: Run) -> Answer:
    found = run.results
    layout, engine = found["layout"], found["engine"]["label"]
    return Answer(
        run=run,
        verdict=found["verdict"],
        state=page.state(found),
        subject=f"{found['model']['name']}, {engine}. {layout['strategy']}. {layout['reason']} "
        f"Nearest measurements: {found['nearness']}.",
        tiles=[page.metric(label, found[key], write, RESULT_KEYS[key].meaning) for label, key, write in TILES],
        memory=page.memory_rows(found),
        advice=found["remedies"] + found["warnings"],
        numbers=page.metrics(found),
        notes=page.notes(run.inputs, found),
        ranking=Ranking(LAYOUT_HEADS, list(layouts(found))),
        launches=launches(run),
        report=list(report.estimate(run)),
    )


def layouts(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """The layout that was chosen, then those that were not."""
    chosen = {
        "strategy": found["layout"]["strategy"],
        "fits": found["fits"],
        "total_bytes_per_gpu": found["memory_bytes_per_gpu"]["total"],
        "output_tokens_per_s": found["output_tokens_per_s"]["value"],
        "tpot_ms": found["tpot_ms"]["value"],
    }
    for one in (chosen, *found["layout"]["alternatives"]):
        speed, remark = (formatting.NOTHING, formatting.NOTHING), "does not fit"
        if one["fits"]:
            speed = formatting.rate(one["output_tokens_per_s"]), formatting.milliseconds(one["tpot_ms"])
            remark = "chosen" if one is chosen else ""
        yield one["strategy"], formatting.gib(one["total_bytes_per_gpu"]), *speed, remark


def launches(run: Run) -> list[Launch]:
    found = result_tabs.parts("launch", run)
    if not found.get("launches"):
        return [Launch("No command", problem=found["problem"] or found["why"])]
    return [Launch(label, text) for _, label, text, _ in found["launches"]]


TASK = Task(
    kind="estimate",
    label="Serve",
    inputs=ALL_INPUTS,
    groups=GROUPS,
    blocks={
        "Model": ("model", "custom_model", "precision"),
        "Workload": ("workload",),
        "Hardware": ("hardware", "custom_gpu", "layout"),
    },
    door=estimate_run,
    is_complete=page.is_complete,
    describe=answer,
)
