"""The body of a request as the network delivers it: one that breaks off, is garbled or too long is refused."""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge


class Body:
    """A server's stream whose own errors become 400. Each server has exceptions of its own for a bad chunk.

    A body in chunks does not say how long it is. Werkzeug reads it up to the limit and takes what it has for the whole;
    here one byte beyond the limit is 413, as it is where the length is told.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._delivered = 0

    def read(self, size: int = -1) -> bytes:
        return self._told(self._stream.read, size)

    def readline(self, size: int = -1) -> bytes:
        return self._told(self._stream.readline, size)

    def _told(self, read: Any, size: int) -> bytes:
        try:
            data = read(size)
            self._delivered += len(data)
            beyond = self._is_full() and self._stream.read(1)
        except Exception as error:
            raise BadRequest("The body of the request broke off or is garbled.") from error
        if beyond:
            raise RequestEntityTooLarge
        return data

    def _is_full(self) -> bool:
        """Whether the next byte would be one too many. A body of known length is not asked: it was checked before."""
        limit = request.max_content_length
        return limit is not None and request.content_length is None and self._delivered >= limit


def watch() -> None:
    request.environ["wsgi.input"] = Body(request.environ["wsgi.input"])


def init_app(app: Flask) -> None:
    app.before_request(watch)
