"""Who may use the server: everybody, whom a reverse proxy has let in, or who knows the one password."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from flask import Flask, Response, current_app, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from werkzeug.datastructures import MultiDict, WWWAuthenticate
from werkzeug.exceptions import HTTPException, TooManyRequests, Unauthorized
from werkzeug.routing import RoutingException
from werkzeug.security import check_password_hash

from app.server.clients import client_address, household, is_trusted
from app.server.rate_limit import Counter
from app.server.security import SAFE_METHODS, is_own

#: Shown to everybody: the login itself, and what load balancers ask.
OPEN = {"login.form", "login.login", "health.live", "health.ready", "static"}
#: Wrong passwords that one client may send in a minute.
MOST_GUESSES = 5
#: How long a login lasts.
LIFETIME_SECONDS = 12 * 60 * 60
#: Longest password that is looked at.
MOST_CHARACTERS = 1000
#: Longest address that a browser is sent to; gunicorn takes lines of 4094 bytes.
LONGEST_ADDRESS = 4000
#: The key of the session.
PROOF = "proof"


class Sessions(SecureCookieSessionInterface):
    """Cookies that are sent over TLS only where the login came over TLS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


class Password:
    """The one password. Wrong guesses are counted per client; beyond too many the right one is refused with them."""

    def __init__(self, password_hash: str, guesses: Counter) -> None:
        self._hash = password_hash
        self._guesses = guesses
        # Checking the hash takes a twentieth of a second on purpose; a client of the API sends the password each time.
        self._key = secrets.token_bytes(32)
        self._known = b""
        self._checking = threading.Lock()

    def proof(self, secret_key: str) -> str:
        """What a session holds: another password or another key ends it."""
        return hmac.new(secret_key.encode(), self._hash.encode(), hashlib.sha256).hexdigest()

    def is_right(self, typed: str, client: str) -> bool:
        """Whether the password is right, in a time that does not depend on how wrong it is. Raises TooManyRequests."""
        typed = typed[: MOST_CHARACTERS + 1]
        digest = hmac.digest(self._key, typed.encode("utf-8", "replace"), "sha256")
        # One at a time: of the first that come together with the right password only one is checked, and so counted.
        with self._checking:
            if not self._is_known(digest):
                return self._is_right_guess(typed, digest, client)
        # What is known to be right is told only while guesses are: else the answers beyond the limit would tell it.
        self._refuse_beyond(self._guesses.counted(client) + 1)
        return True

    def _is_known(self, digest: bytes) -> bool:
        return bool(self._known) and hmac.compare_digest(self._known, digest)

    def _is_right_guess(self, typed: str, digest: bytes, client: str) -> bool:
        # Counted before it is checked, so that guesses sent at once to several processes do not slip through together.
        self._refuse_beyond(self._guesses.count(client))
        if len(typed) > MOST_CHARACTERS or not check_password_hash(self._hash, typed):
            return False
        self._guesses.forget(client)
        self._known = digest
        return True

    def _refuse_beyond(self, guesses: int) -> None:
        if guesses > MOST_GUESSES:
            raise TooManyRequests(
                f"Too many wrong passwords: {MOST_GUESSES} a minute are allowed.",
                retry_after=self._guesses.seconds_left(),
            )


def client() -> str:
    """The address of who sends this request."""
    return client_address(request, current_app.config["AUTH_PROXY_IPS"])


def user() -> str:
    """Who the trusted proxy says that it is; empty where there is none."""
    name = current_app.config["AUTH_PROXY_HEADER"]
    if not name or not is_trusted(request.remote_addr, current_app.config["AUTH_PROXY_IPS"]):
        return ""
    return request.headers.get(name, "").strip()[:200]


def password() -> Password | None:
    return current_app.extensions["password"]


def is_in() -> bool:
    """Whether this request may see more than the login. Raises TooManyRequests."""
    one = password()
    if one is None:
        return bool(user()) or not current_app.config["AUTH_PROXY_HEADER"]
    if user():
        return True
    proof = session.get(PROOF)
    expected = one.proof(current_app.config["SECRET_KEY"])
    if isinstance(proof, str) and hmac.compare_digest(proof.encode(), expected.encode()):
        return True
    sent = request.authorization
    return sent is not None and sent.type == "basic" and one.is_right(sent.password or "", household(client()))


def guard() -> Any:
    """None for who is in; the login for a browser, 401 for anybody else."""
    if request.endpoint in OPEN or is_in():
        return None
    if password() is None:
        raise Unauthorized("Log in at the proxy in front of this server; it names nobody.")
    accepts_pages = request.accept_mimetypes["text/html"] > request.accept_mimetypes["application/json"]
    if accepts_pages and not request.path.startswith("/api/") and request.authorization is None:
        return redirect(form_before(*wanted()), 303)
    raise Unauthorized(
        "The password is needed: log in, or send it by HTTP basic authentication.",
        www_authenticate=WWWAuthenticate("basic", {"realm": "LLM Scaling Calculator"}),
    )


def wanted() -> tuple[str, str]:
    """The page to go on to after the login, and its query string; of a form that was sent, its page and what was typed.

    What is no small form, as an imported file, cannot be kept in an address.
    """
    if request.method in SAFE_METHODS:
        return request.path, request.query_string.decode("utf-8", "replace")
    if not is_read(request.path):
        sent_from = request.referrer or ""
        parts = urlsplit(sent_from) if is_own(sent_from) else SplitResult("", "", "/", "", "")
        return parts.path, parts.query
    is_small = request.content_length is not None and request.content_length <= LONGEST_ADDRESS
    typed = request.form if is_small and request.mimetype == "application/x-www-form-urlencoded" else MultiDict()
    return request.path, urlencode(list(typed.items(multi=True)))


def is_read(path: str) -> bool:
    """Whether there is a page at the address of a form."""
    try:
        current_app.url_map.bind("").match(path, "GET")
    except (HTTPException, RoutingException):
        return False
    return True


def form_before(path: str, query: str) -> str:
    """The address of the login before a page; without the page's query string where servers would find it too long."""
    address = url_for("login.form", next=f"{path}?{query}" if query else path)
    return address if len(address) <= LONGEST_ADDRESS else url_for("login.form", next=path)


def begin() -> None:
    """Remember in the cookie that the password was right."""
    one = password()
    session.clear()
    if one is not None:
        session[PROOF] = one.proof(current_app.config["SECRET_KEY"])
        session.permanent = True


def safe_target(text: str) -> str:
    """An address of this server to go on to; the calculator for any other."""
    inside = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if inside and "\\" not in text else "/"


def keep_private(response: Response) -> Response:
    """No cache between keeps what only some may see."""
    if current_app.config["AUTH_PASSWORD_HASH"] or current_app.config["AUTH_PROXY_HEADER"]:
        response.headers.setdefault("Cache-Control", "private")
    return response


def init_app(app: Flask) -> None:
    """Guard every page. The first of the functions before a request, so that nothing else is reached."""
    hashed = app.config["AUTH_PASSWORD_HASH"]
    guesses = Counter(Path(app.config["DATA_DIR"]), "password")
    app.extensions["password"] = Password(hashed, guesses) if hashed else None
    app.session_interface = Sessions()
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=LIFETIME_SECONDS,
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    app.before_request(guard)
    app.after_request(keep_private)

    @app.context_processor
    def logged_in() -> dict[str, Callable[[], bool]]:
        """For the button that ends the login."""
        return {"has_login": lambda: password() is not None and PROOF in session}
