"""Pages for what went wrong, as HTML or JSON: what happened and what to do, never a trace."""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, Response, current_app, make_response, render_template, request
from werkzeug.exceptions import HTTPException

#: Status -> (heading, what to do).
ADVICE = {
    400: ("The request is not understood", "Go back, reload the page and try again."),
    401: ("Not logged in", "Log in, then try again."),
    403: ("Not carried out", "Open the calculator itself and send the form from there."),
    404: ("There is no such page", "Check the address, or start from the calculator."),
    405: ("That address is used differently", "Start from the calculator."),
    413: ("The request is too large", "Send less: a form of this application is never that large."),
    429: ("Too many requests", "Wait a moment, then try again."),
    500: ("Something went wrong here", "It is not your input's fault. The server's log holds the cause."),
    503: ("Not available at the moment", "Try again in a moment."),
}


def wants_json() -> bool:
    """Below /api, or where the client prefers JSON to HTML."""
    if request.path.startswith("/api/"):
        return True
    accepted = request.accept_mimetypes
    return accepted["application/json"] > accepted["text/html"]


def error_page(error: HTTPException) -> Response:
    """The answer for an HTTP error, with its status and headers such as Allow."""
    if error.response is not None or (error.code or 500) < 400:
        return error.get_response()  # type: ignore[return-value]
    status = error.code or 500
    heading, advice = ADVICE.get(status, (HTTPStatus(status).phrase, "Start from the calculator."))
    what = "" if status in (404, 405, 500) and _is_stock(error) else error.description or ""
    if status == 413:
        limit = request.max_content_length or current_app.config["MAX_CONTENT_LENGTH"]
        what = f"The limit is {limit:,} bytes."
    if wants_json():
        message = what or f"{heading}."
        body: object = {"error": {"field": "", "message": message, "allowed": ""}}
        response = make_response(body, status)
    else:
        page = render_template("errors/error.html", status=status, heading=heading, what=what, advice=advice)
        response = make_response(page, status)
    response.headers.extend(headers_of(error))
    return response


def headers_of(error: HTTPException) -> list[tuple[str, str]]:
    """The headers that belong to the status, such as Allow and Retry-After; not those of the body."""
    return [pair for pair in error.get_headers() if pair[0].lower() not in ("content-type", "content-length")]


def _is_stock(error: HTTPException) -> bool:
    """Whether the description is the library's own, which tells a visitor nothing."""
    return error.description == type(error).description


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, error_page)
