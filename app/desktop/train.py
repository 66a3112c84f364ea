"""Training, as the window asks and answers it."""

from __future__ import annotations

from collections.abc import Mapping

from app import formatting
from app.calculations.errors import InvalidInput
from app.calculations.training.inputs import GROUPS
from app.charts.training import step_rows
from app.command_line import report_training
from app.desktop.task import Answer, Launch, Ranking, Task
from app.glossary.training import TRAINING_KEYS
from app.history.run_log import Run
from app.pages import train as page
from app.pages.result import Metric, metric
from app.runs import train_run
from app.training_scenarios import ALL_TRAINING_INPUTS, chosen_inputs
from app.training_work import work_of

#: The numbers that are large: heading, key of the results with dots, how it is written.
TILES = (
    ("Step", "step_time_s", formatting.duration),
    ("MFU", "mfu", formatting.percent),
    ("Time of the run", "run.days", page.run_time),
    ("Cost of the run", "run.usd", formatting.usd),
)


def answer(run: Run) -> Answer:
    found, subject = run.results, dict(report_training.subject(run.results))
    trains_weights = run.inputs.get("method", "full") == "full"
    return Answer(
        run=run,
        verdict=found["verdict"],
        state=page.state(found),
        subject=f"{subject['Model']}. {subject['Layout']}: {found['layouts'][0]['reason']}. {subject['Batch']}.",
        tiles=[metric(name, page.quantity(found, k), write, TRAINING_KEYS[k].meaning) for name, k, write in TILES],
        memory=page.memory_rows(found),
        advice=[
            *report_training.remedies(found["remedies"]),
            *found["warnings"],
            *page.hints(found, trains_weights=trains_weights),
        ],
        numbers=page.metrics(found) | {"Where a step goes": step(found["step_terms_s"])},
        notes=page.notes(found),
        ranking=Ranking(report_training.LAYOUT_HEADS, list(report_training.layouts(found["layouts"]))),
        launches=launches(run),
        report=list(report_training.training(run)),
    )


def step(terms: Mapping[str, float]) -> list[Metric]:
    """The terms of a step with their shares of it."""
    total = sum(terms.values())
    return [
        Metric(name, formatting.duration(seconds), "", f"{formatting.percent(seconds / total)} of the step", "")
        for name, _, seconds in step_rows(terms)
    ]


def launches(run: Run) -> list[Launch]:
    """A command for each launcher, that of the estimated software first."""
    try:
        found = page.launches(run.inputs, run.results, work_of(run.inputs, run.results))
    except InvalidInput as error:  # Such as a saved model that was deleted.
        return [Launch("No command", problem=error.message)]
    return [Launch(one.title, one.text, one.problem) for one in found]


TASK = Task(
    kind="train",
    label="Train",
    inputs=ALL_TRAINING_INPUTS,
    groups=GROUPS,
    blocks={
        "Model": ("model", "custom_model", "method"),
        "Batch and run": ("batch", "run"),
        "Hardware": ("hardware", "custom_gpu", "layout"),
    },
    door=train_run,
    is_complete=page.is_complete,
    describe=answer,
    typed=chosen_inputs,
)
