"""One calculation, from what was typed to a run that can be logged. Every front end enters here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from app.calculations import estimate, results
from app.calculations.architecture import Model
from app.run_log import TOKEN_BYTES, Run, new_run
from app.scenarios import serving_scenario


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
