"""Settings: defaults, what each accepts, and the one line that a bad one is answered with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.config import PROJECT, SETTINGS, InvalidSetting, settings

DEFAULTS = {
    "HOST": "127.0.0.1",
    "PORT": 5000,
    "WEB_CONCURRENCY": 2,
    "LOG_DIR": PROJECT / "logging",
    "LOG_FSYNC": False,
    "LOG_MAX_MB": 256,
    "DATABASE_URL": None,
    "DATA_DIR": PROJECT / "data",
    "HF_ENDPOINT": "https://huggingface.co",
    "HF_TOKEN": None,
    "SECRET_KEY": None,
    "AUTH_PASSWORD_HASH": None,
    "AUTH_PROXY_HEADER": None,
    "AUTH_PROXY_IPS": ("127.0.0.1/32", "::1/128"),
    "RATE_LIMIT": 0,
    "REQUEST_LOG": False,
    "MAX_CONTENT_LENGTH": 262_144,
}

WITH_SCRYPT = f"scrypt:32768:8:1$salt${'0' * 128}"
WITH_PBKDF2 = f"pbkdf2:sha256:1000$salt${'0' * 64}"

ACCEPTED = [
    ("HOST", "0.0.0.0", "0.0.0.0"),
    ("HOST", "localhost", "localhost"),
    ("HOST", "::1", "[::1]"),
    ("HOST", "[::]", "[::]"),
    ("HOST", "web_1.internal.example.", "web_1.internal.example."),
    ("HOST", "rechner.köln.example", "rechner.köln.example"),
    ("PORT", "1", 1),
    ("PORT", " 8080 ", 8080),
    ("PORT", "65535", 65535),
    ("WEB_CONCURRENCY", "8", 8),
    ("LOG_DIR", "/var/log/calculator", Path("/var/log/calculator")),
    ("LOG_DIR", "runs", Path.cwd() / "runs"),
    ("LOG_DIR", "~/runs", Path.home() / "runs"),
    ("LOG_FSYNC", "1", True),
    ("LOG_FSYNC", "False", False),
    ("LOG_FSYNC", "on", True),
    ("LOG_MAX_MB", "0", 0),
    ("DATABASE_URL", "postgresql://u:p@db/calculator", "postgresql+psycopg://u:p@db/calculator"),
    ("DATABASE_URL", "postgres://[::1]:5432/db", "postgresql+psycopg://[::1]:5432/db"),
    ("DATABASE_URL", "postgresql:///db?host=/run/postgresql", "postgresql+psycopg:///db?host=/run/postgresql"),
    ("AUTH_PASSWORD_HASH", WITH_SCRYPT, WITH_SCRYPT),
    ("AUTH_PASSWORD_HASH", WITH_PBKDF2, WITH_PBKDF2),
    ("AUTH_PROXY_HEADER", "X-Remote-User", "X-Remote-User"),
    ("AUTH_PROXY_IPS", "10.0.0.0/8, 127.0.0.1", ("10.0.0.0/8", "127.0.0.1/32")),
    ("RATE_LIMIT", "60", 60),
    ("REQUEST_LOG", "yes", True),
    ("DATA_DIR", "/var/lib/calculator", Path("/var/lib/calculator")),
    ("HF_ENDPOINT", "http://127.0.0.1:8080/hub/", "http://127.0.0.1:8080/hub"),
    ("HF_ENDPOINT", "https://hub.example", "https://hub.example"),
    ("HF_TOKEN", "hf_abc", "hf_abc"),
    ("SECRET_KEY", "a b", "a b"),
    ("SECRET_KEY", "schlüssel", "schlüssel"),
    ("MAX_CONTENT_LENGTH", "1048576", 1_048_576),
]

REFUSED = [
    ("HOST", "http://localhost"),
    ("HOST", "a b"),
    ("HOST", "[::1"),
    ("HOST", "::1]"),
    ("HOST", "[127.0.0.1]"),
    ("HOST", "[]"),
    ("HOST", "999.1.1.1"),
    ("HOST", "127.1"),
    ("HOST", "foo:bar"),
    ("HOST", "fe80::1%eth0"),
    ("HOST", "localhost:5000"),
    ("HOST", "a..b"),
    ("HOST", "-a"),
    ("HOST", "*"),
    ("HOST", "a" * 64),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "-1"),
    ("PORT", "5000.0"),
    ("PORT", "http"),
    ("PORT", "٥٠٠٠"),
    ("PORT", "9" * 5000),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_CONCURRENCY", "two"),
    ("LOG_DIR", __file__),
    ("LOG_DIR", "~no-such-user/runs"),
    ("LOG_DIR", "/var/\udcff"),
    ("LOG_FSYNC", "maybe"),
    ("LOG_MAX_MB", "1GB"),
    ("AUTH_PROXY_HEADER", "X Remote"),
    ("AUTH_PROXY_IPS", "proxy.example"),
    ("RATE_LIMIT", "-1"),
    ("DATA_DIR", __file__),
    ("DATA_DIR", "~no-such-user/data"),
    ("DATA_DIR", "/var/\udcff"),
    ("HF_ENDPOINT", "huggingface.co"),
    ("HF_ENDPOINT", "ftp://huggingface.co"),
    ("HF_ENDPOINT", "https://user:password@huggingface.co"),
    ("HF_ENDPOINT", "https://"),
    ("HF_ENDPOINT", "https://hub:http"),
    ("MAX_CONTENT_LENGTH", "256K"),
    ("MAX_CONTENT_LENGTH", "10"),
]


def test_an_empty_environment_gives_the_defaults() -> None:
    values = settings({})
    assert values == DEFAULTS


@pytest.mark.parametrize(("name", "text", "value"), ACCEPTED)
def test_what_is_accepted(name: str, text: str, value: object) -> None:
    assert settings({name: text})[name] == value


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_an_empty_variable_counts_as_not_set(setting) -> None:
    value = settings({setting.name: ""})[setting.name]
    assert value == DEFAULTS[setting.name]


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_what_is_refused_is_named_with_what_is_allowed(name: str, text: str) -> None:
    allowed = next(setting.allowed for setting in SETTINGS if setting.name == name)
    with pytest.raises(InvalidSetting) as caught:
        settings({name: text})
    assert str(caught.value) == f"{name}: {text!r} is not allowed. Allowed: {allowed}."


def test_a_directory_that_may_not_be_looked_into_is_no_reason_not_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    environ = {"LOG_DIR": "/elsewhere", "DATA_DIR": "/elsewhere/data"}
    monkeypatch.setattr(Path, "exists", refuse)
    assert SETTINGS[[one.name for one in SETTINGS].index("DATA_DIR")].value(environ) == Path("/elsewhere/data")


SECRETS_REFUSED = [
    ("HF_TOKEN", "secret\nret"),
    ("DATABASE_URL", "mysql://user:secret@db/x"),
    ("DATABASE_URL", "postgresql://user:secret@db:abc/x"),
    ("DATABASE_URL", "postgresql://user:secret@db:/x"),
    ("DATABASE_URL", "postgresql://user:secret@db:65536/x"),
    ("DATABASE_URL", "postgresql://user:secret@db/x?port=abc"),
    ("DATABASE_URL", "postgresql://user:secret@[::1/x"),
    ("DATABASE_URL", "postgresql://user:secret\udcff@db/x"),
    ("SECRET_KEY", "secret\udcff\udcfe"),
    ("AUTH_PASSWORD_HASH", "secret"),
    ("AUTH_PASSWORD_HASH", f"scrypt:32768:8$secret${'0' * 128}"),
    ("AUTH_PASSWORD_HASH", f"scrypt:3:8:1$secret${'0' * 128}"),
    ("AUTH_PASSWORD_HASH", "scrypt:32768:8:1$secret$abcd"),
    ("AUTH_PASSWORD_HASH", f"pbkdf2:nosuch:1000$secret${'0' * 64}"),
    ("AUTH_PASSWORD_HASH", f"pbkdf2:sha256:0$secret${'0' * 64}"),
    ("AUTH_PASSWORD_HASH", f"pbkdf2:sha256:many$secret${'0' * 64}"),
    ("AUTH_PASSWORD_HASH", f"pbkdf2:sha256:{'9' * 30}$secret${'0' * 64}"),
]


@pytest.mark.parametrize(("name", "text"), SECRETS_REFUSED)
def test_a_secret_is_refused_without_being_shown(name: str, text: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        settings({name: text})
    assert "secret" not in str(caught.value)


def test_the_check_before_the_start_prints_one_line_and_ends_with_2() -> None:
    bad = subprocess.run(
        [sys.executable, "-m", "app.config"], env={"PORT": "x"}, capture_output=True, text=True, cwd=PROJECT
    )
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "PORT: 'x' is not allowed. Allowed: a whole number from 1 to 65535.\n"
    good = subprocess.run([sys.executable, "-m", "app.config"], env={}, capture_output=True, text=True, cwd=PROJECT)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")


def test_operations_describes_every_setting() -> None:
    page = (PROJECT / "docs" / "operations.md").read_text()
    rows = {
        cells[0].strip("`"): cells
        for line in page.splitlines()
        if line.startswith("| `") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
    }
    assert rows == {
        s.name: [f"`{s.name}`", f"`{s.default}`" if s.default is not None else s.made, s.allowed, s.help]
        for s in SETTINGS
    }
