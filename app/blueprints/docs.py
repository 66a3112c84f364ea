"""The documents of docs/ as pages, and the API described with a command line for any form."""

from __future__ import annotations

import shlex
from typing import Any

from flask import Blueprint, Response, abort, render_template, request, send_from_directory

from app import json_text, openapi
from app.pages import documents
from app.planning import PLANNING_INPUTS
from app.scenarios import ALL_INPUTS
from app.training_scenarios import ALL_TRAINING_INPUTS

bp = Blueprint("docs", __name__)

#: Operation -> its inputs.
TASKS = {"estimate": ALL_INPUTS, "train": ALL_TRAINING_INPUTS, "plan": PLANNING_INPUTS}


@bp.get("/docs")
def listed() -> str:
    """Every document with its sections."""
    return render_template("docs/list.html", documents=documents.documents())


@bp.get("/docs/<name>")
def document(name: str) -> str:
    found = documents.documents().get(name.removesuffix(".md"))
    if found is None:
        abort(404, f"There is no document {name!r}.")
    return render_template("docs/document.html", document=found, documents=documents.documents())


@bp.get("/docs/images/<name>")
def picture(name: str) -> Response:
    return send_from_directory(documents.folder() / "images", name)


@bp.get("/api")
def api() -> str:
    """The HTTP API: each operation, and a line of curl that asks what the query string of a form says; `task` is the
    operation that answers the form."""
    task = request.args.get("task", "")
    task = task if task in TASKS else "estimate"
    asked = {name: value for name in TASKS[task] if (value := request.args.get(name))}
    line = curl(f"{request.host_url}api/v1/{task}", asked)
    return render_template("docs/api.html", operations=operations(), curl=line, asked=asked)


def curl(address: str, body: dict[str, str]) -> str:
    """A line that posts the inputs; in POSIX quoting."""
    words = ["curl", "-s", address, "-H", "Content-Type: application/json", "-d", json_text.write(body)]
    return shlex.join(words)


def operations() -> list[dict[str, Any]]:
    """Method, path, summary, inputs and answers of each operation of the OpenAPI document."""
    document = openapi.document()
    schemas = document["components"]["schemas"]
    found = []
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            body = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            name = body.get("$ref", "").rpartition("/")[2]
            found.append({
                "method": method.upper(),
                "path": path,
                "summary": one.get("summary") or one.get("description", ""),
                "body": name,
                "inputs": len(schemas.get(name, {}).get("properties", {})),
                "answers": {status: answer["description"] for status, answer in one["responses"].items()},
            })  # fmt: skip
    return found
