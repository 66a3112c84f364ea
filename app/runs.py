"""One calculation, from what was typed to a run that can be logged. Every front end enters here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from app.calculations import estimate, results
from app.calculations.architecture import Model
from app.calculations.training import report
from app.calculations.watch import Watch, nobody
from app.history.run_log import TOKEN_BYTES, Run, new_run
from app.planning import plan
from app.scenarios import serving_scenario
from app.training_scenarios import question


def estimate_run(raw: Mapping[str, object], *, source: str, model: Model | None = None) -> Run:
    """The estimate of what was asked, as a run that is not logged yet. Raises InvalidInput."""
    scenario, inputs = serving_scenario(raw, model=model)
    return new_run(
        kind="estimate",
        source=source,
        inputs=inputs,
        results=results(estimate(scenario)),
        now=datetime.now(UTC),
        token=secrets.token_bytes(TOKEN_BYTES),
    )


def train_run(raw: Mapping[str, object], *, source: str, model: Model | None = None) -> Run:
    """The answer to a question about training, as a run that is not logged yet. Raises InvalidInput."""
    asked, inputs = question(raw, model=model)
    return new_run(
        kind="train",
        source=source,
        inputs=inputs,
        results=report.results(asked.candidates(), asked.make, asked.space),
        now=datetime.now(UTC),
        token=secrets.token_bytes(TOKEN_BYTES),
    )


def plan_run(raw: Mapping[str, object], *, source: str, watch: Watch = nobody) -> Run:
    """The answer to what to buy for a load, as a run that is not logged yet; `watch` is told how far it is. Raises
    InvalidInput."""
    results, inputs = plan(raw, watch)
    return new_run(
        kind="plan",
        source=source,
        inputs=inputs,
        results=results,
        now=datetime.now(UTC),
        token=secrets.token_bytes(TOKEN_BYTES),
    )
