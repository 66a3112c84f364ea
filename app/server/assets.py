"""What is sent, sent small: pages compressed, and static files kept by the browser.

WhiteNoise serves static files under names that carry a hash of their content, so that browsers keep them for good:
`url_for("static", filename="app.css")` gives /static/app.<hash>.css. Compressed neighbours (app.css.gz, made by
`python -m whitenoise.compress static`) are sent where the browser takes them and they are not older than the file.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from whitenoise import WhiteNoise

PREFIX = "/static/"
HASHED = r"\.[0-9a-f]{12}\.\w+$"
COMPRESSED = (".gz", ".br")

#: Below this many bytes compressing gains nothing.
SMALL = 1024


def hashed_names(directory: Path) -> dict[str, str]:
    """Relative name -> the same with a hash of the content before the suffix."""
    names = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix not in COMPRESSED:
            name = path.relative_to(directory)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            names[name.as_posix()] = name.with_name(f"{name.stem}.{digest}{name.suffix}").as_posix()
    return names


def files_to_serve(path: Path) -> Mapping[str, Any]:
    """The file and its compressed neighbours of the same age, as WhiteNoise wants them."""
    stat = path.stat()
    found = {str(path): stat}
    for suffix in COMPRESSED:
        neighbour = path.with_name(path.name + suffix)
        if neighbour.exists() and int(neighbour.stat().st_mtime) >= int(stat.st_mtime):
            found[str(neighbour)] = neighbour.stat()
    return found


def compress(response: Response) -> Response:
    """The page in gzip where the client takes it. No page holds a secret that its length could give away."""
    response.vary.add("Accept-Encoding")
    text = response.mimetype in ("text/html", "application/json")
    if (
        text
        and not response.is_streamed
        and request.accept_encodings["gzip"] > 0
        and "Content-Encoding" not in response.headers
    ):
        body = response.get_data()
        if len(body) > SMALL:
            response.set_data(gzip.compress(body, compresslevel=4, mtime=0))
            response.headers["Content-Encoding"] = "gzip"
    return response


def init_app(app: Flask) -> None:
    """Serve the static folder; in debug mode Flask serves it plainly, so that an edit is seen at once."""
    app.after_request(compress)
    if app.debug:
        return
    directory = Path(app.static_folder or "")
    names = hashed_names(directory)
    server = WhiteNoise(
        app.wsgi_app, immutable_file_test=HASHED, allow_all_origins=False, add_headers_function=_no_sniffing
    )
    for name, hashed in names.items():
        found = files_to_serve(directory / name)
        for served in (name, hashed):
            server.add_file_to_dictionary(PREFIX + served, str(directory / name), stat_cache=found)
    app.wsgi_app = server  # type: ignore[method-assign]

    @app.url_defaults
    def name_with_hash(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values["filename"] = names.get(values["filename"], values["filename"])


def _no_sniffing(headers: Any, path: str, url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
