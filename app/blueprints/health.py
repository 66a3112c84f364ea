"""What machines ask of the server: whether it lives, whether it can do all of its work, and its numbers."""

from __future__ import annotations

from http import HTTPStatus

import sqlalchemy as sa
from flask import Blueprint, Response, current_app
from werkzeug.exceptions import ServiceUnavailable

from app.blueprints.errors import error_page
from app.history.database import IndexUnavailable, reason
from app.history.index import Index
from app.history.table import History
from app.server import metrics
from app.version import APP_VERSION

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def live() -> dict[str, str]:
    """For what restarts a server that hangs."""
    return {"status": "ok", "version": APP_VERSION}


@bp.get("/readyz")
def ready() -> tuple[dict[str, object], int]:
    """For what sends it requests: 503, with the reason, where runs cannot be logged or not be searched.

    It reads the log on as a page does, so that an index is mended without a visitor, whom a 503 keeps away.
    """
    checks = {"log": log_problem(), "index": index_problem()}
    good = not any(checks.values())
    told = {name: problem or "ok" for name, problem in checks.items()}
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": "ok" if good else "not ready", "checks": told}, status


@bp.get("/metrics")
def numbers() -> Response:
    """The server's numbers for Prometheus."""
    index: Index = current_app.extensions["index"]
    try:
        metrics.INDEX_LAG_BYTES.set(index.lag_bytes())
    except (IndexUnavailable, OSError, sa.exc.SQLAlchemyError) as error:
        current_app.logger.warning("How far the index lags is not known: %s", reason(error))
    return Response(metrics.text(), content_type=metrics.CONTENT_TYPE)


@bp.app_errorhandler(IndexUnavailable)
def unavailable(error: IndexUnavailable) -> Response:
    """503, with the reason, wherever a run is looked up and the index would have to tell."""
    return error_page(ServiceUnavailable(f"The index of the history cannot be used: {error}."))


def log_problem() -> str:
    """Why the log cannot be written to; nothing where it can."""
    try:
        current_app.extensions["run_log"].check()
    except OSError as error:
        return f"cannot be written to: {error.strerror}"
    return ""


def index_problem() -> str:
    """Why the index cannot be used or not be brought up to date; nothing where it can."""
    history: History = current_app.extensions["history"]
    try:
        problem = history.state().problem
    except (IndexUnavailable, OSError, sa.exc.SQLAlchemyError) as error:
        return f"cannot be used: {reason(error)}"
    return f"is not up to date: {problem}" if problem else ""
