"""The documents as pages: every link and anchor leads somewhere, formulas are typeset, nothing passes as HTML."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import pytest
from flask.testing import FlaskClient

from app.pages import documents
from tests.pages import soup

NAMES = sorted([*(path.stem for path in documents.folder().glob("*.md")), "measurements"])


def test_every_document_of_the_folder_has_a_page(client: FlaskClient) -> None:
    page = soup(client.get("/docs").text)
    linked = {a["href"] for a in page.select(".doc-list h2 a")}
    assert linked == {f"/docs/{name}" for name in NAMES} | {"/api"}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_pages_and_anchors_that_are_there(client: FlaskClient, name: str) -> None:
    page = soup(client.get(f"/docs/{name}").text)
    assert page.select_one("h1").text == documents.documents()[name].title
    for link in page.select("article a[href], nav.doc-contents a[href]"):
        address, anchor = urldefrag(urljoin(f"/docs/{name}", link["href"]))
        if address.startswith(("http:", "https:")):
            continue
        answer = client.get(address)
        assert answer.status_code == 200, f"{name} links to {address}"
        if anchor:
            assert soup(answer.text).find(id=anchor) is not None, f"{name} links to {address}#{anchor}"
    for picture in page.select("article img"):
        assert client.get(urljoin(f"/docs/{name}", picture["src"])).mimetype == "image/png"
        assert picture["alt"]


def test_formulas_are_typeset(client: FlaskClient) -> None:
    page = soup(client.get("/docs/metrics_calculation").text)
    formulas = page.select("div.formula math")
    assert len(formulas) >= 20
    assert not any(mark in one.text for one in formulas for mark in ("\\", "&", "$"))


@pytest.mark.parametrize("name", sorted(documents.documents()))
def test_every_table_of_a_document_has_a_name_of_its_own(client: FlaskClient, name: str) -> None:
    labels = [str(one["aria-label"]) for one in soup(client.get(f"/docs/{name}").text).select("[role=region]")]
    assert len(labels) == len(set(labels)) and all(label.startswith("Table: ") for label in labels)


def test_markup_in_a_document_is_shown_and_not_passed_on() -> None:
    found = documents.rendered(
        "x", "# Title\n\n## A <b>\n\n<script>alert(1)</script> `a < b`\n\n<!-- a mark -->\nend\n"
    )
    assert found.title == "Title" and "<script>" not in found.html and "&lt;script&gt;" in found.html
    assert "a mark" not in found.html and found.headings[0].anchor


@pytest.mark.parametrize("path", ["/docs/none", "/docs/images/none.png", "/docs/images/../api.md", "/docs/..%2fREADME"])
def test_what_is_not_there_is_404(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_line_of_curl_asks_what_the_form_says(client: FlaskClient) -> None:
    page = soup(client.get("/api?model=llama-3.1-8b&gpu=h100-sxm&concurrency=32&unknown=1").text)
    words = shlex.split(page.select_one("pre code").text)
    assert words[0] == "curl" and words[2] == "http://localhost/api/v1/estimate"
    asked = json.loads(words[-1])
    assert asked == {"model": "llama-3.1-8b", "gpu": "h100-sxm", "concurrency": "32"}
    assert client.post("/api/v1/estimate", json=asked).status_code == 200


def test_every_operation_is_listed(client: FlaskClient) -> None:
    listed = {(row.td.text, row.th.text) for row in soup(client.get("/api").text).select("tbody tr")}
    paths = client.get("/api/v1/openapi.json").json["paths"]
    assert listed == {(method.upper(), f"/api/v1{path}") for path, methods in paths.items() for method in methods}


def test_pip_installs_the_documents() -> None:
    assert '"docs"' in (Path(__file__).parent.parent / "setup.py").read_text()


def test_numbers_lead_to_headings_that_are_there() -> None:
    html = str(documents.documents()[documents.FORMULAS].html)
    headings = documents.documents()[documents.FORMULAS].headings
    for one in headings:
        assert documents.explanation(one.text).endswith(f"#{one.anchor}") and f'id="{one.anchor}"' in html
    assert documents.explanation("Memory per GPU").startswith("/docs/metrics_calculation#memory-per-gpu")
    with pytest.raises(KeyError):
        documents.explanation("Nothing of the kind")


@pytest.mark.parametrize("task", ["estimate", "train", "plan"])
def test_the_command_of_a_form_is_that_of_its_task(client: FlaskClient, task: str) -> None:
    page = client.get(f"/api?task={task}&region=world&engine=sglang&colour=red").text
    assert f"/api/v1/{task} " in page and "colour" not in page
    assert ("sglang" in page) == (task != "train")


def test_a_preview_leads_to_its_form_as_a_command(client: FlaskClient) -> None:
    for address, task in (("/preview", "estimate"), ("/train/preview", "train"), ("/plan/preview", "plan")):
        assert f'href="/api?task={task}#curl"' in client.get(address).text
