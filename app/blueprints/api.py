"""The JSON API: the same names, numbers and messages as the command line."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RoutingException

from app import catalog, facts, json_text, openapi, show_work
from app import sensitivity as moved
from app.blueprints.errors import headers_of
from app.blueprints.results import STUMBLES, logged
from app.calculations.errors import InvalidInput
from app.history.run_log import Run
from app.pages import result
from app.runs import estimate_run, plan_run, train_run
from app.saving import not_saved

PREFIX = "/api/v1"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

bp = Blueprint("api", __name__, url_prefix=PREFIX)


@bp.post("/estimate")
def estimate() -> Response:
    """Estimate a serving scenario and log the run."""
    run = estimate_run(json_text.read_object(request.get_data(cache=False)), source="api")
    return answer({"run_id": run.run_id, "inputs": run.inputs, "results": run.results} | saved(run))


@bp.post("/train")
def train() -> Response:
    """Estimate a training run and log it."""
    run = train_run(json_text.read_object(request.get_data(cache=False)), source="api")
    return answer({"run_id": run.run_id, "inputs": run.inputs, "results": run.results} | saved(run))


@bp.post("/plan")
def plan() -> Response:
    """Find what to buy for a load, and log the run."""
    run = plan_run(json_text.read_object(request.get_data(cache=False)), source="api")
    return answer({"run_id": run.run_id, "inputs": run.inputs, "results": run.results} | saved(run))


@bp.post("/sensitivity")
def sensitivity() -> Response:
    """What moves the answer to a serving question most. Nothing is logged."""
    return answer(moved.sensitivity(json_text.read_object(request.get_data(cache=False))).document())


@bp.get("/runs/<run_id>")
def run(run_id: str) -> Response:
    """A logged run; with work=1 also what its steps are made of, made again from its inputs."""
    wanted = request.args.get("work", "").lower()
    if wanted not in ("", "0", "false", "1", "true"):
        return refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"{wanted[:64]!r} is neither.", field="work", allowed="1 or 0")
    found = logged(run_id)
    if found is None:
        return refusal(HTTPStatus.NOT_FOUND, f"No run has the id {run_id[:64]!r}.", field="run_id")
    document = found.as_dict()
    return answer(document | {"work": logged_work(found)} if wanted in ("1", "true") else document)


def logged_work(found: Run) -> dict[str, Any] | None:
    """The work of a logged run; null where it cannot be made again."""
    if found.kind != "estimate" or not result.is_complete(found.results):
        return None
    try:
        return show_work.work_of(found.inputs, found.results)
    except STUMBLES:
        return None


@bp.get("/models")
def models() -> Response:
    """The models of the catalogue."""
    return answer({"models": [facts.model_row(entry) for entry in catalog.models().values()]})


@bp.get("/models/<path:name>")
def model(name: str) -> Response:
    """Everything known about a model."""
    return answer(facts.model_facts(catalog.model(name)))


@bp.get("/gpus")
def gpus() -> Response:
    """The accelerators of the catalogue."""
    return answer({"gpus": [facts.gpu_facts(gpu) for gpu in catalog.gpus().values()]})


@bp.get("/gpus/<name>")
def gpu(name: str) -> Response:
    """Everything known about an accelerator."""
    return answer(facts.gpu_facts(catalog.gpu(name)))


@bp.get("/openapi.json")
def description() -> Response:
    """This API in OpenAPI 3.1."""
    return answer(openapi.document())


@bp.route("/", defaults={"path": ""}, methods=METHODS)
@bp.route("/<path:path>", methods=METHODS)
def unknown(path: str) -> Response:
    """JSON also for addresses that do not exist and for methods that an address does not take."""
    allowed = ", ".join(method for method in METHODS if takes(method))
    if not allowed:
        return refusal(HTTPStatus.NOT_FOUND, f"Nothing has the address {request.path[:200]}.")
    message = f"{request.method} is not for this address."
    response = refusal(HTTPStatus.METHOD_NOT_ALLOWED, message, field="method", allowed=allowed)
    response.headers["Allow"] = allowed
    return response


def takes(method: str) -> bool:
    """Whether the address of the request has a page for another method."""
    try:
        endpoint, _ = current_app.url_map.bind("").match(request.path, method)
    except (HTTPException, RoutingException):
        return False
    return bool(endpoint != request.endpoint)


def saved(run: Run) -> dict[str, Any]:
    """Log the run; what the answer says of it where that failed."""
    if not_saved(run):
        return {"saved": False, "warning": "The run could not be logged, so its id will not be found."}
    return {}


def answer(document: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    return Response(json_text.write(document) + "\n", status, mimetype="application/json")


def refusal(status: int, message: str, *, field: str = "", allowed: str = "") -> Response:
    """An error in the shape that all errors have."""
    return answer({"error": {"field": field, "message": message, "allowed": allowed}}, status)


@bp.errorhandler(InvalidInput)
def invalid_input(error: InvalidInput) -> Response:
    names_the_address = request.method == "GET"
    status = HTTPStatus.NOT_FOUND if names_the_address else HTTPStatus.UNPROCESSABLE_ENTITY
    return answer({"error": error.as_dict()}, status)


@bp.errorhandler(json_text.NotJson)
def not_json(error: json_text.NotJson) -> Response:
    return refusal(HTTPStatus.BAD_REQUEST, str(error), field="body", allowed="one JSON object in UTF-8")


@bp.errorhandler(HTTPException)
def http_error(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return refusal(status, "The body is too large.", field="body", allowed=f"up to {limit:,} bytes")
    response = refusal(status, error.description or HTTPStatus(status).phrase)
    response.headers.extend(headers_of(error))
    return response
