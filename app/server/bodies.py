"""The body of a request as the network delivers it: one that breaks off or is garbled is the client's mistake."""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from werkzeug.exceptions import BadRequest


class Body:
    """A server's stream whose own errors become 400. Each server has exceptions of its own for a bad chunk."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        return self._told(self._stream.read, size)

    def readline(self, size: int = -1) -> bytes:
        return self._told(self._stream.readline, size)

    def _told(self, read: Any, size: int) -> bytes:
        try:
            return read(size)
        except Exception as error:
            raise BadRequest("The body of the request broke off or is garbled.") from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def watch() -> None:
    request.environ["wsgi.input"] = Body(request.environ["wsgi.input"])


def init_app(app: Flask) -> None:
    app.before_request(watch)
