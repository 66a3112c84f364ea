"""The application, put together: settings, log, static files, security, pages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from app import formatting
from app.blueprints import (
    accuracy,
    api,
    calculator,
    compare,
    docs,
    errors,
    gpus,
    health,
    models,
    own,
    plan,
    results,
    sensitivity,
    train,
    visualize,
)
from app.blueprints import login as login_pages
from app.config import beside, settings
from app.history.index import Index
from app.history.run_log import RunLog
from app.history.table import History
from app.pages import documents, drawing
from app.server import assets, bodies, login, request_log, security
from app.server.jobs import Jobs
from app.server.secret_key import secret_key
from app.version import APP_VERSION


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The web application; `config` overrides the settings of the environment."""
    app = Flask("app", root_path=str(beside()), static_folder="static", template_folder="templates")
    app.config.from_mapping(settings(os.environ))
    app.config.from_mapping(config)
    app.config["SECRET_KEY"] = app.config["SECRET_KEY"] or secret_key(Path(app.config["DATA_DIR"]))
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.jinja_env.globals |= {"app_version": APP_VERSION, "explanation": documents.explanation}
    app.extensions["run_log"] = RunLog(
        Path(app.config["LOG_DIR"]),
        fsync=bool(app.config["LOG_FSYNC"]),
        max_bytes=app.config["LOG_MAX_MB"] * 1_000_000,
    )
    app.extensions["index"] = Index(app.extensions["run_log"], Path(app.config["DATA_DIR"]), app.config["DATABASE_URL"])
    app.extensions["history"] = History(app.extensions["run_log"], app.extensions["index"])
    app.extensions["run_notes"] = app.extensions["history"].notes
    app.extensions["jobs"] = Jobs(Path(app.config["DATA_DIR"]))
    for part in (request_log, bodies, assets, security, login, formatting, drawing, errors, own):
        part.init_app(app)
    pages = (
        calculator, train, plan, models, gpus, results, sensitivity, visualize, accuracy, docs, api,
        compare, health, login_pages,
    )  # fmt: skip
    for page in pages:
        app.register_blueprint(page.bp)
    return app
