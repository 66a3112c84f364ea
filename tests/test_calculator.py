"""The calculator's page: the form, what it answers, and whom it refuses."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.calculations.scenario import GROUPS
from app.factory import create_app
from app.history.run_log import RunLog
from app.scenarios import ALL_INPUTS
from app.server.assets import files_to_serve
from app.version import APP_VERSION
from tests.pages import control, messages, soup, value, words


def test_the_first_click_works(client: FlaskClient, run_log: RunLog) -> None:
    response = client.post("/", data={})
    assert response.status_code == 303
    run_id = response.location.rsplit("/", 1)[1]
    assert response.location == f"/results/{run_id}"
    logged = run_log.get(run_id)
    assert logged is not None
    assert (logged.source, logged.kind) == ("web", "estimate")
    assert client.get(response.location).status_code == 200


def test_every_input_has_a_label_a_help_text_and_its_unit(client: FlaskClient) -> None:
    page = soup(client.get("/").text)
    for name, one in ALL_INPUTS.items():
        field = control(page, name).find_parent(class_="field")
        assert words(page.find("label", attrs={"for": name})) == one.label
        assert f"help-{name}" in control(page, name)["aria-describedby"]
        assert words(page.find(id=f"help-{name}")) == one.help
        assert one.unit in words(field)


def test_the_groups_that_everybody_needs_are_open_and_the_rest_is_folded(client: FlaskClient) -> None:
    page = soup(client.get("/").text)
    folded = {name for name in ALL_INPUTS if control(page, name).find_parent("details")}
    assert folded == {name for name, one in ALL_INPUTS.items() if GROUPS[one.group][1]}
    assert not folded & {"model", "gpu", "num_gpus", "input_tokens", "output_tokens", "concurrency"}
    assert not page.find_all("details", open=True)


def test_the_query_string_fills_the_form(client: FlaskClient) -> None:
    page = soup(client.get("/?model=qwen/qwen3-32b&gpu=b200&concurrency=saturated&kv_precision=fp8&utm_source=x").text)
    found = [value(page, name) for name in ("model", "gpu", "concurrency", "kv_precision")]
    assert found == ["Qwen/Qwen3-32B", "b200", "saturated", "fp8"]
    assert [words(part.find(class_="heading")) for part in page.find_all("details", open=True)] == ["Precision"]


def test_a_link_with_a_mistake_shows_it_beside_its_field(client: FlaskClient) -> None:
    response = client.get("/?input_tokens=12x")
    page = soup(response.text)
    assert response.status_code == 200
    assert value(page, "input_tokens") == "12x"
    assert "'12x' is not a number" in messages(page, "input_tokens")[0]


def test_bad_input_gives_the_form_back_as_it_was_sent(client: FlaskClient, run_log: RunLog) -> None:
    typed = {"input_tokens": "many", "output_tokens": "77", "tp": "0", "gpu": "abacus", "model": "Qwen/Qwen3-32B"}
    response = client.post("/", data=typed)
    page = soup(response.text)
    assert response.status_code == 422
    assert {name: value(page, name) for name in typed} == typed
    for name in ("input_tokens", "tp", "gpu"):
        (message,) = messages(page, name)
        assert typed[name] in message
        assert control(page, name)["aria-invalid"] == "true"
        assert f"error-{name}" in control(page, name)["aria-describedby"]
    assert control(page, "tp").find_parent("details").has_attr("open")
    assert not run_log.read().runs


def test_the_summary_of_mistakes_leads_to_the_fields(client: FlaskClient) -> None:
    page = soup(client.post("/", data={"input_tokens": "many", "tp": "0"}).text)
    summary = page.find(role="alert")
    assert words(summary.find("h2")) == "2 inputs need a change"
    assert [link["href"] for link in summary.find_all("a")] == ["#tp", "#input_tokens"]
    assert page.title.text.startswith("Error: ")


def test_inputs_that_do_not_go_together_are_told_beside_one_of_them(client: FlaskClient) -> None:
    response = client.post("/", data={"model": "custom", "num_heads": "32", "num_kv_heads": "5"})
    assert response.status_code == 422
    (message,) = messages(soup(response.text), "num_kv_heads")
    assert "5 does not divide the 32 attention heads" in message


def test_what_was_typed_is_shown_as_text(client: FlaskClient) -> None:
    attack = '"><script>alert(1)</script>'
    response = client.post("/", data={"input_tokens": attack, "model": attack, "kv_precision": attack})
    assert "<script>alert" not in response.text
    assert value(soup(response.text), "input_tokens") == attack


def test_what_does_not_fit_is_an_answer(client: FlaskClient) -> None:
    response = client.post("/", data={"model": "meta-llama/Llama-3.1-70B-Instruct", "num_gpus": "1"})
    assert response.status_code == 303


def test_a_log_that_cannot_be_written_costs_the_log_and_not_the_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = create_app({"LOG_DIR": tmp_path / "file" / "runs", "TESTING": True}).test_client()
    response = client.post("/", data={})
    page = soup(response.text)
    assert response.status_code == 200
    assert "This run could not be saved: Not a directory." in words(page.find(role="alert"))
    assert "Fits" in words(page.find(class_="verdict"))
    assert not page.find("a", string="This run as JSON")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://localhost"}, 303),
        ({"Origin": "https://localhost"}, 303),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_a_form_that_another_site_sends_is_refused(
    client: FlaskClient, run_log: RunLog, headers: dict[str, str], status: int
) -> None:
    response = client.post("/", data={}, headers=headers)
    assert response.status_code == status
    assert len(run_log.read().runs) == (status == 303)
    if status == 403:
        assert "sent by a page of another site" in words(soup(response.text).find("main"))


def test_no_page_sets_a_cookie_or_holds_a_script_or_style_of_its_own(client: FlaskClient) -> None:
    result = client.post("/", data={}).location
    for address in ("/", result, "/visualize", "/no-such-page"):
        response = client.get(address)
        page = soup(response.text)
        assert "Set-Cookie" not in response.headers
        assert all(script.get("src") or script["type"] == "application/json" for script in page.find_all("script"))
        assert not page.find_all(style=True)
        assert not page.find_all("style")
        assert "script-src 'self';" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"]


def test_every_address_on_a_page_is_of_this_site_and_there(client: FlaskClient) -> None:
    result = client.post("/", data={"kv_precision": "fp8"}).location
    for address in ("/", result, "/no-such-page"):
        page = soup(client.get(address).text)
        found = {tag.get("href") or tag.get("src") for tag in page.find_all(["a", "link", "script"])} - {None}
        for one in found:
            assert one.startswith(("/", "#")), one
            if not one.startswith("#"):
                with client.get(one) as response:
                    assert response.status_code == 200, one


def test_static_files_have_names_that_change_with_their_content_and_are_kept_for_good(client: FlaskClient) -> None:
    page = soup(client.get("/").text)
    for link in page.find_all("link", rel="stylesheet"):
        with client.get(link["href"]) as response:
            assert "immutable" in response.headers["Cache-Control"]
    with client.get("/static/app.css") as plain:
        assert "immutable" not in plain.headers["Cache-Control"]


def test_pages_are_compressed_for_those_who_take_it(client: FlaskClient) -> None:
    plain, packed = client.get("/"), client.get("/", headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 4
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == "Accept-Encoding"


def test_compressed_neighbours_are_sent_unless_they_are_older(tmp_path: Path) -> None:
    file, neighbour = tmp_path / "a.js", tmp_path / "a.js.gz"
    file.write_text("new")
    neighbour.write_bytes(b"packed")
    assert set(files_to_serve(file)) == {str(file), str(neighbour)}
    os.utime(neighbour, (0, 0))
    assert set(files_to_serve(file)) == {str(file)}


def test_health(client: FlaskClient) -> None:
    assert client.get("/healthz").get_json() == {"status": "ok", "version": APP_VERSION}


@pytest.mark.parametrize(
    ("method", "address", "status", "heading"),
    [
        ("GET", "/no-such-page", 404, "There is no such page"),
        ("DELETE", "/", 405, "That address is used differently"),
    ],
)
def test_error_pages_say_what_to_do(client: FlaskClient, method: str, address: str, status: int, heading: str) -> None:
    response = client.open(address, method=method)
    page = soup(response.text)
    assert response.status_code == status
    assert words(page.find("h1")) == heading
    assert page.find("a", string="Open the calculator")
    json = client.open(address, method=method, headers={"Accept": "application/json"})
    assert json.status_code == status
    assert set(json.get_json()["error"]) == {"field", "message", "allowed"}


def test_a_method_that_is_not_taken_says_which_are(client: FlaskClient) -> None:
    assert "POST" in client.delete("/").headers["Allow"]


def test_a_form_that_is_too_large(client: FlaskClient) -> None:
    response = client.post("/", data={"model": "x" * 300_000})
    assert response.status_code == 413
    assert "262,144 bytes" in words(soup(response.text).find("main"))


def test_a_fault_of_ours_shows_no_trace(tmp_path: Path) -> None:
    app = create_app({"LOG_DIR": tmp_path})

    @app.get("/fault")
    def fault() -> str:
        raise RuntimeError("secret detail")

    response = app.test_client().get("/fault")
    assert response.status_code == 500
    assert words(soup(response.text).find("h1")) == "Something went wrong here"
    assert "secret detail" not in response.text
    assert "Traceback" not in response.text
