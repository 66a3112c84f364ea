"""The settings: one table of name, default, rule and help, read from an environment that is passed in.

`python -m app.config` checks the environment of the process and says what is wrong with it; with a command behind it
it then becomes that command, as in `python -m app.config gunicorn wsgi:app`. So the server is started, because gunicorn
reads WEB_CONCURRENCY before it reads anything of ours, and answers an empty or bad one with a traceback.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROJECT = Path(__file__).resolve().parent.parent

LARGEST_PORT = 65_535
LARGEST_WORKERS = 256
LARGEST_BODY_BYTES = 64 * 1024 * 1024
LARGEST_LOG_MB = 1_000_000
LARGEST_RATE = 1_000_000

HOST_NAME = re.compile(r"\w([\w-]*\w)?(\.\w([\w-]*\w)?)*\.?", re.ASCII)


class InvalidSetting(ValueError):
    """A setting that the server cannot start with: names the variable, its value and what is allowed."""

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"{name}: {value!r} is not allowed. Allowed: {allowed}.")
        self.name = name


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `parse` turns its text into a value or raises ValueError; `default` is text of the same kind.

    `default` is None where the value is made at start; `made` says how and `make` does it.
    """

    name: str
    default: str | None
    allowed: str
    help: str
    parse: Callable[[str], object]
    made: str = ""
    make: Callable[[], object] | None = None

    def value(self, environ: Mapping[str, str]) -> object:
        """The value in this environment; an empty variable counts as not set."""
        text = environ.get(self.name, "").strip() or self.default
        if text is None:
            return self.make() if self.make else None
        try:
            return self.parse(text)
        except ValueError:
            shown = "..." if self.parse in (secret, key, database, password_hash) else text
            raise InvalidSetting(self.name, shown, self.allowed) from None


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """A rule: ASCII digits only, within both limits."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 12 and minimum <= int(text) <= maximum):
            raise ValueError(text)
        return int(text)

    return parse


FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def flag(text: str) -> bool:
    """1 or 0, or one of the usual words for them."""
    if text.lower() not in FLAGS:
        raise ValueError(text)
    return FLAGS[text.lower()]


def host(text: str) -> str:
    """A name or address to listen on; an IPv6 address stands in brackets for gunicorn."""
    if "%" in text:  # gunicorn cannot listen on an address with a zone.
        raise ValueError(text)
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in inside or inside != text:
        return f"[{ipaddress.IPv6Address(inside)}]"
    if re.fullmatch(r"[0-9.]+", text):
        return str(ipaddress.IPv4Address(text))
    if not HOST_NAME.fullmatch(text.encode("idna").decode("ascii")):
        raise ValueError(text)
    return text


def directory(text: str) -> Path:
    """A directory, which need not exist yet; a relative one is taken from the working directory."""
    text.encode("utf-8")  # The index knows the log by its name.
    try:
        path = Path(text).expanduser().absolute()
    except RuntimeError:  # ~nobody: there is no such user.
        raise ValueError(text) from None
    try:
        is_something_else = path.exists() and not path.is_dir()
    except OSError:  # It lies where this user may not look: what is written there will say so.
        is_something_else = False
    if is_something_else:
        raise ValueError(text)
    return path


def web_address(text: str) -> str:
    """The address of a site, without a slash at its end."""
    parts = urlsplit(text)
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or not text.isprintable():
        raise ValueError(text)
    parts.port  # noqa: B018  (raises ValueError for a port that is none)
    return text.rstrip("/")


def secret(text: str) -> str:
    """Text that can stand in a header."""
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError
    return text


def key(text: str) -> str:
    """Any text; bytes of the environment that are none cannot sign anything."""
    text.encode("utf-8")
    return text


def database(text: str) -> str:
    """The address of a PostgreSQL database, for the driver that is installed."""
    scheme, separator, rest = text.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg") or not separator or not rest:
        raise ValueError
    from sqlalchemy import exc, make_url  # Only a server that has a database waits for it.

    address = f"postgresql+psycopg://{rest}"
    try:
        url = make_url(address)
        url.get_dialect()().create_connect_args(url)
    except exc.ArgumentError:
        raise ValueError from None
    if url.port is not None and not 1 <= url.port <= LARGEST_PORT:
        raise ValueError
    address.encode("utf-8")
    return address


def password_hash(text: str) -> str:
    """What `python -m app password` prints: a method that works here, salt and a digest as long as the method's."""
    found = re.fullmatch(r"((?:scrypt|pbkdf2)(?::[A-Za-z0-9]{1,8})*)\$[A-Za-z0-9./]+\$([0-9a-f]+)", text)
    if not found:
        raise ValueError
    from werkzeug.security import generate_password_hash  # Only a server that has a password waits for it.

    method, digest = found.groups()
    if len(generate_password_hash("", method).rpartition("$")[2]) != len(digest):
        raise ValueError
    return text


def header(text: str) -> str:
    """The name of a header."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise ValueError(text)
    return text


def addresses(text: str) -> tuple[str, ...]:
    """IP addresses and networks, separated by commas."""
    return tuple(str(ipaddress.ip_network(part.strip(), strict=False)) for part in text.split(","))


def is_installed() -> bool:
    """Whether the package lies apart from its project, as pip puts it."""
    return not (PROJECT / "wsgi.py").exists()


def home() -> Path:
    """The project's directory; the working directory where the package is installed apart from its project."""
    return Path.cwd() if is_installed() else PROJECT


def beside() -> Path:
    """Where templates/, static/ and gunicorn.conf.py are: in the project, or in the package where it is installed."""
    return PROJECT / "app" if is_installed() else PROJECT


SETTINGS = (
    Setting(
        name="HOST",
        default="127.0.0.1",
        allowed="a host name or an IP address",
        help="Address to listen on: 127.0.0.1 is reached from this machine only, 0.0.0.0 from everywhere.",
        parse=host,
    ),
    Setting(
        name="PORT",
        default="5000",
        allowed=f"a whole number from 1 to {LARGEST_PORT}",
        help="TCP port to listen on.",
        parse=whole_number(1, LARGEST_PORT),
    ),
    Setting(
        name="WEB_CONCURRENCY",
        default="2",
        allowed=f"a whole number from 1 to {LARGEST_WORKERS}",
        help="Server processes, of four threads each. One or two per core.",
        parse=whole_number(1, LARGEST_WORKERS),
    ),
    Setting(
        name="LOG_DIR",
        default=None,
        allowed="a directory, existing or to be made",
        help="Directory of the log of runs. One that cannot be written to costs the log, not the answers.",
        parse=directory,
        made="`logging/` in the project",
        make=lambda: home() / "logging",
    ),
    Setting(
        name="LOG_FSYNC",
        default="0",
        allowed="0 or 1",
        help="1: a run is on the disk before its page is shown, so that it also outlives a loss of power.",
        parse=flag,
    ),
    Setting(
        name="LOG_MAX_MB",
        default="256",
        allowed=f"a whole number from 0 to {LARGEST_LOG_MB}",
        help="A log file that would grow beyond is renamed to its next generation, which stays readable. 0: never.",
        parse=whole_number(0, LARGEST_LOG_MB),
    ),
    Setting(
        name="DATABASE_URL",
        default=None,
        allowed="postgresql://user:password@host/database",
        help="Keeps the index of the history in PostgreSQL, shared by several servers.",
        parse=database,
        made="SQLite in `DATA_DIR`",
    ),
    Setting(
        name="DATA_DIR",
        default=None,
        allowed="a directory, existing or to be made",
        help="Directory of the entries that users save, the index of the history and the key that signs cookies.",
        parse=directory,
        made="`data/` in the project",
        make=lambda: home() / "data",
    ),
    Setting(
        name="HF_ENDPOINT",
        default="https://huggingface.co",
        allowed="an http or https address",
        help="Hub that a model is imported from by its id. No other host is ever asked.",
        parse=web_address,
    ),
    Setting(
        name="HF_TOKEN",
        default=None,
        allowed="an access token",
        help="Token for gated and private models of that hub.",
        parse=secret,
        made="none",
    ),
    Setting(
        name="SECRET_KEY",
        default=None,
        allowed="any text in UTF-8",
        help="Signs the cookie of a login. Servers that share the load need the same.",
        parse=key,
        made="made once, kept in `DATA_DIR/secret_key`",
    ),
    Setting(
        name="AUTH_PASSWORD_HASH",
        default=None,
        allowed="what `python -m app password` prints",
        help="Asks everybody for one password before anything else is shown.",
        parse=password_hash,
        made="no login",
    ),
    Setting(
        name="AUTH_PROXY_HEADER",
        default=None,
        allowed="the name of a header",
        help="Header in which a reverse proxy names who has logged in there; requests without it are refused.",
        parse=header,
        made="no login",
    ),
    Setting(
        name="AUTH_PROXY_IPS",
        default="127.0.0.1,::1",
        allowed="IP addresses or networks, separated by commas",
        help="Where that proxy's requests come from; the header counts from nowhere else.",
        parse=addresses,
    ),
    Setting(
        name="RATE_LIMIT",
        default="0",
        allowed=f"a whole number from 0 to {LARGEST_RATE}",
        help="Requests that one client may send in a minute to calculate, import or save; more get 429. 0: any number.",
        parse=whole_number(0, LARGEST_RATE),
    ),
    Setting(
        name="REQUEST_LOG",
        default="0",
        allowed="0 or 1",
        help="1: one line of JSON per request on stderr; files under /static have none.",
        parse=flag,
    ),
    Setting(
        name="MAX_CONTENT_LENGTH",
        default="262144",
        allowed=f"a whole number from 1024 to {LARGEST_BODY_BYTES}",
        help="Largest body of a request, in bytes; a larger one is answered with 413. An import may have 10 MB.",
        parse=whole_number(1024, LARGEST_BODY_BYTES),
    ),
)


def settings(environ: Mapping[str, str]) -> dict[str, object]:
    """Every setting's value in this environment; InvalidSetting for the first that cannot be used."""
    return {setting.name: setting.value(environ) for setting in SETTINGS}


def settings_or_exit(environ: Mapping[str, str]) -> dict[str, object]:
    """The same for a process about to serve: a bad setting is one line on stderr and exit status 2."""
    try:
        return settings(environ)
    except InvalidSetting as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def setting(name: str) -> Any:
    """One setting of the environment. The others do not matter to who asks, so they may be wrong."""
    return settings({name: os.environ[name]} if name in os.environ else {})[name]


def for_gunicorn(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without an empty WEB_CONCURRENCY, which gunicorn takes for a number."""
    return {name: text for name, text in environ.items() if name != "WEB_CONCURRENCY" or text.strip()}


def main(command: list[str]) -> None:
    """Check the environment, then become the command if there is one."""
    settings_or_exit(os.environ)
    if command:
        os.execvpe(command[0], command, for_gunicorn(os.environ))  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
