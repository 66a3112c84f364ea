"""Who may use the server: the password, the proxy's header, guesses, sessions, and the key that signs them."""

from __future__ import annotations

import base64
import io
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash

from app.config import PROJECT, settings
from app.factory import create_app
from app.server.clients import client_address, household, is_trusted
from app.server.login import MOST_GUESSES, OPEN, safe_target
from app.server.secret_key import FILE, secret_key

PASSWORD = "correct horse"
HASH = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1000")
PAGE = {"Accept": "text/html"}

Make = Callable[..., Flask]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """The application with these settings."""

    def application(**config: object) -> Flask:
        return create_app({"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True} | config)

    return application


@pytest.fixture
def guarded(make: Make) -> FlaskClient:
    return make(AUTH_PASSWORD_HASH=HASH).test_client()


def basic(password: str, user: str = "anybody") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def fill(database: Path) -> None:
    """Let the file take no change any more, as on a full disk."""
    with sqlite3.connect(database) as db:
        for change in ("INSERT", "UPDATE"):
            db.execute(f"CREATE TRIGGER full_{change} BEFORE {change} ON counts BEGIN SELECT raise(ABORT, 'full'); END")


def enter(client: FlaskClient, password: str = PASSWORD, target: str = "/models?q=x") -> object:
    return client.post("/login", data={"password": password, "next": target})


# ---- one password


def test_without_a_setting_everybody_is_in_and_there_is_no_login(client: FlaskClient) -> None:
    assert client.get("/").status_code == 200
    assert client.get("/login").status_code == 404
    assert client.post("/login", data={"password": ""}).status_code == 404


def test_a_browser_is_led_to_the_login_and_from_there_to_where_it_wanted(guarded: FlaskClient) -> None:
    refused = guarded.get("/models?q=x", headers=PAGE)
    assert (refused.status_code, refused.headers["Location"]) == (303, "/login?next=/models?q%3Dx")
    assert 'value="/models?q=x"' in guarded.get(refused.headers["Location"]).text
    answer = enter(guarded)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/models?q=x")
    assert guarded.get("/models?q=x", headers=PAGE).status_code == 200


@pytest.mark.parametrize(("path", "typed"), [
    ("/", {"model": "Qwen/Qwen3-8B", "gpu": "l40s", "concurrency": "77", "note": "50 % größer & more"}),
    ("/train", {"model": "Qwen/Qwen3-8B", "gpu": "h100-sxm", "num_gpus": "24"}),
    ("/plan", {"model": "Qwen/Qwen3-8B", "gpu": "l40s", "request_rate": "7", "input_tokens": ""}),
])  # fmt: skip
def test_a_login_that_ran_out_costs_nothing_that_was_typed(
    guarded: FlaskClient, path: str, typed: dict[str, str]
) -> None:
    refused = guarded.post(path, data=typed, headers=PAGE)
    assert refused.status_code == 303
    page = BeautifulSoup(guarded.get(refused.headers["Location"]).text, "html.parser")
    answer = enter(guarded, target=page.find("input", {"name": "next"})["value"])
    address = urlsplit(answer.headers["Location"])
    assert (address.netloc, address.path) == ("", path)
    assert dict(parse_qsl(address.query, keep_blank_values=True)) == typed
    form = BeautifulSoup(guarded.get(answer.headers["Location"], headers=PAGE).text, "html.parser")
    (number,) = [name for name in typed if name in ("concurrency", "num_gpus", "request_rate")]
    assert form.find("input", {"name": number})["value"] == typed[number]


@pytest.mark.parametrize(("path", "body", "referrer", "target"), [
    ("/plan", {"note": "x" * 5000}, "", "/plan"),
    ("/plan", {"note": "&" * 2000}, "", "/plan"),
    ("/models/import", {"file": (io.BytesIO(b"{}"), "config.json")}, "", "/models/import"),
    ("/results/abc/note", {"tags": "x"}, "http://localhost/results/abc?tab=memory", "/results/abc?tab=memory"),
    ("/results/abc/note", {"tags": "x"}, "", "/"),
    ("/results/abc/note", {"tags": "x"}, "http://evil.example/results/abc", "/"),
    ("/results/abc/note", {"tags": "x"}, "http://[", "/"),
], ids=["long", "long once quoted", "file", "from a page", "from nowhere", "from elsewhere", "no address"])  # fmt: skip
def test_what_does_not_fit_an_address_leads_back_to_its_page(
    guarded: FlaskClient, path: str, body: dict[str, Any], referrer: str, target: str
) -> None:
    refused = guarded.post(path, data=body, headers=PAGE | ({"Referer": referrer} if referrer else {}))
    assert dict(parse_qsl(urlsplit(refused.headers["Location"]).query)) == {"next": target}


def test_a_page_with_a_long_query_is_led_to_the_login_too(guarded: FlaskClient) -> None:
    refused = guarded.get(f"/models?q={'%26' * 1000}", headers=PAGE)
    assert refused.headers["Location"] == "/login?next=/models"


def test_every_page_but_those_for_everybody_asks_for_the_password(make: Make) -> None:
    application = make(AUTH_PASSWORD_HASH=HASH)
    client = application.test_client()
    asked = 0
    for rule in application.url_map.iter_rules():
        path = rule.rule.replace("<path:", "<").replace("<", "").replace(">", "")
        for method in rule.methods - {"OPTIONS", "HEAD"}:
            if rule.endpoint not in OPEN:
                answer = client.open(path, method=method)
                assert answer.status_code == 401, (method, path)
                asked += 1
    assert asked > 40
    assert client.get("/nothing-here").status_code == 401
    for path in ("/healthz", "/readyz", "/static/app.css"):
        with client.get(path) as answer:
            assert answer.status_code == 200


def test_the_api_answers_401_in_its_own_shape_and_takes_the_password_each_time(guarded: FlaskClient) -> None:
    refused = guarded.get("/api/v1/gpus", headers=PAGE)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert refused.json["error"]["message"].startswith("The password is needed")
    assert guarded.get("/api/v1/gpus", headers=basic("wrong")).status_code == 401
    assert guarded.get("/api/v1/gpus", headers=basic(PASSWORD)).status_code == 200
    assert guarded.get("/metrics", headers=basic(PASSWORD)).status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(guarded: FlaskClient) -> None:
    cookie = enter(guarded).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    secure = guarded.post("/login", data={"password": PASSWORD}, base_url="https://localhost")
    assert "Secure" in secure.headers["Set-Cookie"].split("; ")


def test_logging_out_ends_it(guarded: FlaskClient) -> None:
    enter(guarded)
    assert "Log out" in guarded.get("/", headers=PAGE).text
    assert guarded.post("/logout").headers["Location"] == "/login"
    assert guarded.get("/", headers=PAGE).status_code == 303


def test_another_password_ends_the_logins_with_the_old_one(make: Make) -> None:
    client = make(AUTH_PASSWORD_HASH=HASH).test_client()
    enter(client)
    cookie = client.get_cookie("session")
    changed = make(AUTH_PASSWORD_HASH=generate_password_hash("another", method="pbkdf2:sha256:1000")).test_client()
    changed.set_cookie("session", cookie.value)
    assert changed.get("/", headers=PAGE).status_code == 303
    again = make(AUTH_PASSWORD_HASH=HASH).test_client()
    again.set_cookie("session", cookie.value)
    assert again.get("/", headers=PAGE).status_code == 200


def test_a_forged_cookie_is_worth_nothing(guarded: FlaskClient) -> None:
    guarded.set_cookie("session", "eyJwcm9vZiI6IngifQ.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb")
    assert guarded.get("/", headers=PAGE).status_code == 303


def test_a_wrong_password_is_told_beside_its_field(guarded: FlaskClient) -> None:
    answer = enter(guarded, "wrong")
    assert answer.status_code == 422
    assert "This is not the password." in answer.text
    assert "Set-Cookie" not in answer.headers


def test_guesses_are_slowed_down_also_for_the_right_password(make: Make) -> None:
    guarded = make(AUTH_PASSWORD_HASH=HASH).test_client()
    assert [enter(guarded, f"guess {n}").status_code for n in range(MOST_GUESSES)] == [422] * MOST_GUESSES
    refused = enter(guarded)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert guarded.get("/api/v1/gpus", headers=basic("guess")).status_code == 429
    # Another process counts on, another address begins anew.
    assert enter(make(AUTH_PASSWORD_HASH=HASH).test_client()).status_code == 429
    elsewhere = guarded.post("/login", data={"password": PASSWORD}, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 303


def test_beyond_the_limit_the_answers_do_not_tell_which_password_is_right(guarded: FlaskClient) -> None:
    """Also once somebody has logged in, after which the process knows the right one."""
    assert guarded.get("/api/v1/gpus", headers=basic(PASSWORD)).status_code == 200
    guesses = [guarded.get("/api/v1/gpus", headers=basic(f"guess {n}")).status_code for n in range(MOST_GUESSES + 3)]
    assert guesses == [401] * MOST_GUESSES + [429] * 3
    assert guarded.get("/api/v1/gpus", headers=basic(PASSWORD)).status_code == 429
    assert enter(guarded).status_code == 429
    elsewhere = guarded.get("/api/v1/gpus", headers=basic(PASSWORD), environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 200


def test_whoever_is_logged_in_stays_so_beyond_the_limit(guarded: FlaskClient) -> None:
    enter(guarded)
    for n in range(MOST_GUESSES + 1):
        guarded.post("/login", data={"password": f"guess {n}"})
    assert guarded.get("/", headers=PAGE).status_code == 200


def test_a_script_may_send_the_right_password_as_often_and_as_many_at_once_as_it_wants(make: Make) -> None:
    application = make(AUTH_PASSWORD_HASH=HASH)

    def status(password: str) -> int:
        return application.test_client().get("/api/v1/gpus", headers=basic(password)).status_code

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(status, [PASSWORD] * 36)) == {200}
    assert [status("wrong") for _ in range(MOST_GUESSES - 1)] == [401] * (MOST_GUESSES - 1)
    assert {status(PASSWORD) for _ in range(20)} == {200}


def test_guesses_are_counted_on_a_full_disk_too(make: Make, tmp_path: Path) -> None:
    client = make(AUTH_PASSWORD_HASH=HASH).test_client()
    assert enter(client, "guess").status_code == 422
    fill(tmp_path / "data" / "rate_limit.sqlite")
    assert [enter(client, "guess").status_code for _ in range(MOST_GUESSES)] == [422] * (MOST_GUESSES - 1) + [429]


def test_the_right_password_begins_the_count_anew(guarded: FlaskClient) -> None:
    for _ in range(3):
        assert [enter(guarded, "wrong").status_code for _ in range(MOST_GUESSES - 1)] == [422] * (MOST_GUESSES - 1)
        assert enter(guarded).status_code == 303
        guarded.post("/logout")
        guarded.application.extensions["password"]._known = b""


def test_a_login_sent_by_another_site_is_refused(guarded: FlaskClient) -> None:
    answer = guarded.post("/login", data={"password": PASSWORD}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "text", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\nb", "/a\\b"]
)
def test_the_login_leads_nowhere_else(guarded: FlaskClient, text: str) -> None:
    assert safe_target(text) == "/"
    assert enter(guarded, target=text).headers["Location"] == "/"


@pytest.mark.parametrize("password", ["", "x" * 5000, "päss\0wort", "\ud800"])
def test_any_text_may_be_guessed(guarded: FlaskClient, password: str) -> None:
    data = {"password": password.encode("utf-8", "surrogatepass")}
    assert guarded.post("/login", data=data).status_code == 422


def test_the_hash_that_the_command_prints_is_a_setting() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "app", "password"],
        input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, text=True, cwd=PROJECT, check=True,
    )  # fmt: skip
    printed = made.stdout.strip().splitlines()[-1]
    assert settings({"AUTH_PASSWORD_HASH": printed})["AUTH_PASSWORD_HASH"] == printed
    assert PASSWORD not in made.stdout


def test_pages_behind_a_login_are_in_no_shared_cache(guarded: FlaskClient) -> None:
    enter(guarded)
    answer = guarded.get("/", headers=PAGE)
    assert answer.headers["Cache-Control"] == "private"
    assert "Cookie" in answer.headers["Vary"]


# ---- a reverse proxy


def test_the_header_counts_from_the_proxy_only(make: Make) -> None:
    client = make(AUTH_PROXY_HEADER="X-Remote-User", AUTH_PROXY_IPS=("10.0.0.0/8",)).test_client()

    def status(address: str, **headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get("/", headers=sent | PAGE, environ_base={"REMOTE_ADDR": address}).status_code

    assert status("10.1.2.3", X_Remote_User="ada") == 200
    assert status("10.1.2.3") == 401
    assert status("10.1.2.3", X_Remote_User="  ") == 401
    assert status("192.0.2.7", X_Remote_User="ada") == 401
    assert status("192.0.2.7", X_Remote_User="ada", X_Forwarded_For="10.1.2.3") == 401


def test_with_both_either_is_enough(make: Make) -> None:
    client = make(AUTH_PROXY_HEADER="X-Remote-User", AUTH_PASSWORD_HASH=HASH).test_client()
    assert client.get("/api/v1/gpus").status_code == 401
    assert client.get("/api/v1/gpus", headers={"X-Remote-User": "ada"}).status_code == 200
    assert client.get("/api/v1/gpus", headers=basic(PASSWORD)).status_code == 200


# ---- addresses


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "203.0.113.1", "192.0.2.7"),
        ("10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "198.51.100.9, 203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "203.0.113.1, 10.0.0.2", "203.0.113.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
    ids=["direct", "made up", "by the proxy", "made up before the proxy", "two proxies", "no address", "no header"],
)
def test_the_address_of_the_client(app: Flask, remote: str, forwarded: str, expected: str) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    with app.test_request_context(headers=headers, environ_base={"REMOTE_ADDR": remote}) as context:
        assert client_address(context.request, ("10.0.0.0/8",)) == expected


def test_on_a_socket_for_both_kinds_ipv4_clients_are_counted_each(make: Make) -> None:
    client = make(RATE_LIMIT=1).test_client()

    def status(address: str) -> int:
        return client.post("/api/v1/gpus", environ_base={"REMOTE_ADDR": address}).status_code

    assert [status("::ffff:192.0.2.7"), status("::ffff:192.0.2.8"), status("192.0.2.7")] == [405, 405, 429]


def test_ipv6_is_counted_by_network_and_ipv4_inside_it_is_known() -> None:
    assert household("2001:db8:1:2:3::4") == household("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert household("192.0.2.7") == "192.0.2.7"
    assert household("::ffff:192.0.2.7") == "192.0.2.7" != household("::ffff:192.0.2.8")
    assert household("") == ""
    assert is_trusted("::ffff:10.0.0.1", ("10.0.0.0/8",))
    assert not is_trusted(None, ("10.0.0.0/8",))


# ---- the key


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = secret_key(tmp_path / "data")
    assert len(bytes.fromhex(key)) == 32
    assert secret_key(tmp_path / "data") == key != secret_key(tmp_path / "other")
    path = tmp_path / "data" / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [FILE]


def test_processes_that_start_at_once_have_the_same_key(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from app.server.secret_key import secret_key; "
        f"print(secret_key(Path({str(tmp_path)!r})))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    assert len({process.communicate(timeout=30)[0] for process in started}) == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"short"])
def test_a_file_that_holds_no_key_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert secret_key(tmp_path) == secret_key(tmp_path)


def test_without_a_place_for_it_the_server_starts_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert secret_key(tmp_path / "file" / "data") != secret_key(tmp_path / "file" / "data")
    assert "cannot be kept" in caplog.text


def test_a_key_of_the_environment_is_used_as_it_is(make: Make, tmp_path: Path) -> None:
    assert make(SECRET_KEY="given").config["SECRET_KEY"] == "given"
    assert not (tmp_path / "data" / FILE).exists()
    assert make().config["SECRET_KEY"] == (tmp_path / "data" / FILE).read_text().strip()
