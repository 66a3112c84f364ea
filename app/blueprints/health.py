"""Whether the server answers: for load balancers and the container's health check."""

from __future__ import annotations

from flask import Blueprint

from app.version import APP_VERSION

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def health() -> dict[str, str]:
    return {"status": "ok", "version": APP_VERSION}
