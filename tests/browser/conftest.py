"""A real server and a real Chromium: pages that must ask no other host and print no error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from app.config import PROJECT
from tests.serving import free_port, wait_until_healthy

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the application as it is served for real, with a log of its own."""
    port = free_port()
    directory = tmp_path_factory.mktemp("server")
    environ = os.environ | {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "LOG_DIR": str(directory / "logging"),
        "DATA_DIR": str(directory / "data"),
    }
    output = directory / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "wsgi:app"], cwd=PROJECT, env=environ, stdout=file, stderr=file
        )
        try:
            wait_until_healthy(port, process, output)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=45)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, server: str, tmp_path: Path) -> Iterator[Open]:
    """Open an address in a new window; in the end no error was printed and no other host asked."""
    contexts = []
    troubles: list[str] = []

    def open_one(address: str = "/", *, width: int = 1440, theme: str = "light", javascript: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,  # type: ignore[arg-type]
            java_script_enabled=javascript,
            base_url=server,
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if is_trouble(message) else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url) if foreign(request.url, server) else None)
        page.goto(address)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert troubles == []


def is_trouble(message: ConsoleMessage) -> bool:
    """Whether a line of the console is more than the browser's note that bad input was answered with 422."""
    return message.type != "log" and "responded with a status of 422" not in message.text


def foreign(url: str, server: str) -> bool:
    return not url.startswith((f"{server}/", "data:", "blob:"))
