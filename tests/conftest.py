"""The application on a log and saved entries of its own, and its client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings

from app.factory import create_app
from app.history.run_log import RunLog
from tests.fake_hub import NOBODY, FakeHub
from tests.screen import Screen, is_there, virtual_screen
from tests.window import Driver, open_window

#: A busy machine is no fault of a test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(autouse=True, scope="session")
def _nothing_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees what somebody has saved here, nor asks a hub that is not its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("HF_ENDPOINT", NOBODY)
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def run_log(app: Flask) -> RunLog:
    return app.extensions["run_log"]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub on this machine."""
    with FakeHub() as one:
        yield one


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """A virtual screen that windows open on."""
    if not is_there():
        pytest.skip("Xvfb is not installed")
    with virtual_screen(tmp_path_factory.mktemp("screen")) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", one.display)
        yield one


@pytest.fixture
def window(screen: Screen, tmp_path: Path) -> Iterator[Driver]:
    """The program's window on that screen, with a log of its own."""
    pytest.importorskip("tkinter")
    with open_window(tmp_path / "logging") as driver:
        yield driver
