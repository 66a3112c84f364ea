"""Logging a run for who asked for it: a full disk does not take the answer away, it is told instead."""

from __future__ import annotations

from flask import current_app, g

from app.history.run_log import Run
from app.server import metrics


def not_saved(run: Run) -> str:
    """Append the run to the log. Returns why that failed; nothing where it did not."""
    g.run_id = run.run_id
    try:
        current_app.extensions["run_log"].append(run)
    except (OSError, ValueError) as error:
        metrics.FAILED_WRITES.inc()
        current_app.logger.error("The run %s could not be logged: %s", run.run_id, error)
        return getattr(error, "strerror", None) or str(error)
    metrics.RUNS_APPENDED.labels(run.kind).inc()
    current_app.extensions["history"].share()
    return ""
