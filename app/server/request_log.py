"""One line of JSON per request on stderr, and an id by which a request is found again in it.

A line holds the path but neither query string nor body, header nor cookie: those may hold notes and passwords.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, current_app, g, request

from app.server import login, metrics

HEADER = "X-Request-ID"
#: An id that a proxy gave and that can stand in a line and a header.
ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
MOST_PATH = 200


def begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get(HEADER, "")
    g.request_id = given if ID.fullmatch(given) else secrets.token_hex(8)


def end(response: Response) -> Response:
    """Count the request, name it in the answer, and write its line where REQUEST_LOG asks for one."""
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    metrics.answered(request.method, request.endpoint or "none", response.status_code, seconds)
    response.headers[HEADER] = g.get("request_id", "")
    if current_app.config["REQUEST_LOG"]:
        print(json.dumps(line(response, seconds)), file=sys.stderr, flush=True)
    return response


def line(response: Response, seconds: float) -> dict[str, Any]:
    """What is logged of a request. Times are UTC, `bytes` those of the answer's body where they are known."""
    found = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request_id": g.get("request_id", ""),
        "method": request.method[:16],
        "path": request.path[:MOST_PATH],
        "endpoint": request.endpoint or "",
        "status": response.status_code,
        "milliseconds": round(1000 * seconds, 1),
        "bytes": response.content_length,
        "client": login.client(),
        "user": login.user(),
        "run_id": g.get("run_id", ""),
    }
    return {name: value for name, value in found.items() if value not in ("", None)}


def init_app(app: Flask) -> None:
    """The first before and the last after a request, so that its time is the whole one."""
    app.before_request(begin)
    app.after_request(end)
