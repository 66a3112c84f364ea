"""What every answer forbids the browser, and requests that are refused: of other sites' pages, and too many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, request
from werkzeug.exceptions import TooManyRequests

from app.server.clients import client_address, household
from app.server.rate_limit import Counter

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
#: Pages that calculate, as a form that is sent does: they count for RATE_LIMIT. With the name of a value of the query
#: string that asks for it, where the page calculates only then.
CALCULATING = {"sensitivity.of_form": "", "sensitivity.of_run": "", "plan.heat": "", "visualize.visualize": "drift"}
#: Pages that calculate a little while somebody types or looks around: counted by themselves, so many times RATE_LIMIT.
LOOKING = {"calculator.preview": "", "train.preview": "", "plan.preview": "", "results.result": "", "api.run": "work"}
LOOKING_FACTOR = 10

HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' data: blob:",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",  # the charts set styles on what they draw
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # what frame-ancestors says, for older browsers
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def refuse_other_sites() -> None:
    """403 for a request that changes something and was sent by another site's page.

    Browsers say where a request comes from: in Sec-Fetch-Site or, on plain http to another machine, in Origin.
    No token and no cookie is needed, so a form that was open during a restart still works. A client that sends
    neither header is no browser and cannot be misled.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        allowed = site in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        allowed = origin is None or is_own(origin)
    if not allowed:
        abort(403, "This request was sent by a page of another site and was not carried out.")


def is_own(origin: str) -> bool:
    """Whether an Origin names this server; what is no address names another."""
    try:
        return urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def refuse_too_many() -> None:
    """429 for a client that sends more than RATE_LIMIT requests a minute that make the server work."""
    limit = current_app.config["RATE_LIMIT"]
    looks = request.method in SAFE_METHODS and is_asked_for(LOOKING)
    if not limit or (request.method in SAFE_METHODS and not looks and not is_asked_for(CALCULATING)):
        return
    counter: Counter = current_app.extensions["looking_limit" if looks else "rate_limit"]
    limit *= LOOKING_FACTOR if looks else 1
    if counter.count(household(client_address(request, current_app.config["AUTH_PROXY_IPS"]))) > limit:
        seconds = counter.seconds_left()
        raise TooManyRequests(f"{limit} a minute are allowed. Try again in {seconds} s.", retry_after=seconds)


def is_asked_for(pages: Mapping[str, str]) -> bool:
    """Whether the request is for one of the pages and, where the page names one, has the value that asks for it."""
    name = pages.get(request.endpoint or "")
    return name is not None and (not name or bool(request.args.get(name)))


def add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def init_app(app: Flask) -> None:
    app.extensions["rate_limit"] = Counter(Path(app.config["DATA_DIR"]), "requests")
    app.extensions["looking_limit"] = Counter(Path(app.config["DATA_DIR"]), "looking")
    app.before_request(refuse_other_sites)
    app.before_request(refuse_too_many)
    app.after_request(add_headers)
