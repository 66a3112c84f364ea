"""What all pages of saved models and accelerators share: whose entries are listed, and what a full disk means."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from flask import Flask, Response, abort, current_app, g

from app.calculations.errors import InvalidInput
from app.calculations.scenario import CUSTOM
from app.history.run_log import Run
from app.own import user_data
from app.own.user_data import UserData

Answer = TypeVar("Answer")


def init_app(app: Flask) -> None:
    """Let the catalogue list the entries of DATA_DIR while a request is answered."""
    data = UserData(Path(app.config["DATA_DIR"]))

    @app.before_request
    def begin() -> None:
        g.user_data = user_data.using(data)
        g.user_data.__enter__()

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        entered = g.pop("user_data", None)
        if entered is not None:
            entered.__exit__(None, None, None)


def on_disk(work: Callable[[], Answer]) -> Answer:
    """What `work` returns; InvalidInput where the directory of saved entries cannot be written to."""
    try:
        return work()
    except OSError as error:
        current_app.logger.error("DATA_DIR cannot be written to: %s", error)
        message = f"Nothing can be saved on this server: {error.strerror or 'its disk refuses'}."
        raise InvalidInput("name", message, "") from None


def logged_run(run_id: str, field: str) -> Run:
    """The run whose model or accelerator was described by hand; 404 where the log has none."""
    try:
        run = current_app.extensions["history"].run(run_id)
    except OSError as error:
        abort(HTTPStatus.SERVICE_UNAVAILABLE, f"The log of runs cannot be read: {error.strerror}.")
    if run is None or run.inputs.get(field) != CUSTOM:
        abort(HTTPStatus.NOT_FOUND, "The run that describes it is not in the log.")
    return run


def download(name: str, document: Mapping[str, Any]) -> Response:
    """A JSON file to keep."""
    response = Response(json.dumps(document, indent=2) + "\n", mimetype="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{user_data.slug(name)}.json"'
    return response


def or_404(work: Callable[[], Answer]) -> Answer:
    """What `work` returns; 404 where it finds nothing of the name, 503 where the disk refuses."""
    try:
        return work()
    except InvalidInput as error:
        abort(HTTPStatus.NOT_FOUND, error.message)
    except OSError as error:
        current_app.logger.error("DATA_DIR cannot be written to: %s", error)
        abort(HTTPStatus.SERVICE_UNAVAILABLE, f"Nothing can be deleted on this server: {error.strerror}.")
