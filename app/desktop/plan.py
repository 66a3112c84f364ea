"""Planning, as the window asks and answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app import formatting
from app.calculations.planning.inputs import GROUPS
from app.command_line import report_planning
from app.desktop.task import Answer, Launch, Ranking, Task
from app.glossary.planning import PLAN_KEYS, PLANNING_KEYS
from app.history.run_log import Run
from app.pages import plan as page
from app.pages import result
from app.planning import PLANNING_INPUTS
from app.runs import plan_run

#: The numbers of the best plan that are large: heading, key, how it is written.
TILES = (
    ("Time to first token", "ttft_ms", formatting.milliseconds),
    ("Time per output token", "tpot_ms", formatting.milliseconds),
    ("Cost per hour", "usd_per_hour", formatting.usd),
    ("Cost per 1M output", "usd_per_million_output_tokens", formatting.usd),
)


def answer(run: Run) -> Answer:
    found, best = run.results, next(iter(run.results["plans"]), None)
    return Answer(
        run=run,
        verdict=found["verdict"],
        state="fits" if found["meets_goals"] else "no",
        subject=f"{run.inputs['model']} for {page.load(run.inputs)}. {best['strategy'] + '. ' if best else ''}"
        f"{report_planning.searched(found['searched'])}",
        tiles=[result.metric(name, best[k], write, PLAN_KEYS[k].meaning) for name, k, write in TILES] if best else [],
        advice=[
            *report_planning.relaxations(found["relaxations"], goal),
            *([report_planning.comparison(found["break_even"])] if found.get("break_even") else []),
            *report_planning.exclusions(found["excluded"], goal),
        ],
        numbers=page.metrics(best) if best else {},
        ranking=Ranking(
            report_planning.HEADS, report_planning.ranking(found, "plans" if found["plans"] else "closest")
        ),
        launches=launches(run.inputs, best) if best else [Launch("No command", problem="No plan meets the goals.")],
        report=list(report_planning.planning(run)),
    )


def goal(name: str) -> str:
    """A goal as its field is called."""
    return PLANNING_INPUTS[name].label


def launches(inputs: Mapping[str, Any], best: Mapping[str, Any]) -> list[Launch]:
    """What starts a replica of the best plan, then what deploys all of it."""
    deployed = page.deployments(inputs, best)
    return [
        *(Launch(label, text) for label, text, _ in page.launches(inputs, best)),
        *(Launch(label, text) for label, text, _ in deployed["deployments"]),
        *([Launch("Deployment", problem=deployed["not_deployed"])] if deployed["not_deployed"] else []),
    ]


def is_complete(results: Mapping[str, Any]) -> bool:
    """Whether the results are those of today's plans."""
    return result.is_complete(results, PLANNING_KEYS)


TASK = Task(
    kind="plan",
    label="Plan",
    inputs=PLANNING_INPUTS,
    groups=GROUPS,
    blocks={"Model": ("model",), "Load and goals": ("workload", "goals"), "Purchase": ("choice", "price")},
    door=plan_run,
    is_complete=is_complete,
    describe=answer,
)
