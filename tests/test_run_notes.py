"""Tags and notes of runs: an appended line each, the newest counts, and no run is ever touched."""

from __future__ import annotations

import json
import threading

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient

from app.calculations.errors import InvalidInput
from app.command_line.history import history
from app.history.note import Note, note_of
from app.history.run_log import WEB_FILE, RunLog
from app.history.run_notes import FILE, RunNotes
from tests.pages import soup, words
from tests.test_results import logged

TIME = "2026-11-27T20:00:00.000Z"


def lines(run_log: RunLog) -> list[dict]:
    return [json.loads(line) for line in (run_log.directory / FILE).read_text().splitlines()]


def test_a_note_is_kept_and_shown(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    before = (run_log.directory / WEB_FILE).read_bytes()
    response = client.post(f"/results/{run.run_id}/note", data={"tags": "prod,  q3 budget ", "note": "for <b>Ann</b>"})
    assert response.status_code == 303
    assert response.location == f"/results/{run.run_id}#note"
    page = soup(client.get(f"/results/{run.run_id}").text)
    assert [words(tag) for tag in page.select(".note-box .tag")] == ["prod", "q3 budget"]
    assert page.find(id="note-text").text == "for <b>Ann</b>"
    assert (run_log.directory / WEB_FILE).read_bytes() == before
    assert run_log.read().skipped == 0


def test_tags_are_shown_in_the_history(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    client.post(f"/results/{run.run_id}/note", data={"tags": "prod"})
    assert [words(tag) for tag in soup(client.get("/visualize").text).select("td.model .tag")] == ["prod"]


def shown(client: FlaskClient, **query: str) -> list[str]:
    """The runs of the table, newest first."""
    rows = soup(client.get("/visualize", query_string=query).text).select("tbody th[scope=row] a")
    return [row["href"].rsplit("/", 1)[1] for row in rows]


def test_the_history_is_filtered_by_tag_and_searched_by_note(client: FlaskClient, run_log: RunLog) -> None:
    first, second, third = (logged(run_log, {"model": name}).run_id for name in ("Qwen/Qwen3-8B", "gpt2", "gpt2"))
    client.post(f"/results/{first}/note", data={"tags": "prod, q3", "note": "for Ann"})
    client.post(f"/results/{second}/note", data={"tags": "Prod", "note": "qwen is next"})
    assert shown(client) == [third, second, first]
    assert shown(client, tag="prod") == [second, first]
    assert shown(client, tag="q3") == [first] and shown(client, tag="q") == []
    assert shown(client, tag="prod", model="Qwen/Qwen3-8B") == [first]
    assert shown(client, q="ann") == [first] and shown(client, q="ann next") == []
    assert shown(client, q="qwen") == [second, first]  # One by its note, the other by its model.
    assert shown(client, q="prod", sort="model") == [second, first]
    client.post(f"/results/{first}/note", data={"tags": "", "note": ""})
    assert shown(client, tag="prod") == [second] and shown(client, q="ann") == []


def test_each_word_may_be_in_the_model_the_gpu_the_tags_or_the_note(
    client: FlaskClient, run_log: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama, other = (logged(run_log, {"gpu": "l40s", "model": name}).run_id for name in ("llama-3.1-8b", "gpt2"))
    for run_id in (llama, other):
        client.post(f"/results/{run_id}/note", data={"tags": "budget", "note": "for the board"})
    for text in ("llama", "llama budget", "budget llama board", "l40s board llama", "LLAMA Budget", "for llama the"):
        assert shown(client, q=text) == [llama], text
    for text in ("budget", "l40s", "l40s board", "budget l40s the board"):
        assert shown(client, q=text) == [other, llama], text
    for text in ("llama budget h100", "gpt2 llama board", "llama bored", "llama \0 budget"):
        assert shown(client, q=text) == [], text
    monkeypatch.setenv("LOG_DIR", str(run_log.directory))
    done = CliRunner().invoke(history, ["--text", "llama budget", "--json"])
    assert [one["run_id"] for one in json.loads(done.stdout)["runs"]] == [llama]


def test_a_tag_is_a_link_to_its_runs_and_the_list_offers_it(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    assert soup(client.get("/visualize").text).find("select", {"name": "tag"}) is None
    client.post(f"/results/{run.run_id}/note", data={"tags": "prod"})
    page = soup(client.get("/visualize").text)
    assert page.select_one("td.model a.tag")["href"] == "/visualize?tag=prod"
    assert [one["value"] for one in page.find("select", {"name": "tag"}).find_all("option")] == ["", "prod"]


def test_the_command_line_filters_by_tag(client: FlaskClient, run_log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    tagged, _ = logged(run_log), logged(run_log)
    RunNotes(run_log).add(Note(run_id=tagged.run_id, time=TIME, tags=("prod",)))
    monkeypatch.setenv("LOG_DIR", str(run_log.directory))
    done = CliRunner().invoke(history, ["--tag", "prod", "--json"])
    assert [one["run_id"] for one in json.loads(done.output)["runs"]] == [tagged.run_id]


def test_a_new_note_is_a_new_line_and_an_empty_one_takes_it_back(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    for tags in ("first", "second", ""):
        client.post(f"/results/{run.run_id}/note", data={"tags": tags, "note": ""})
    assert [one["tags"] for one in lines(run_log)] == [["first"], ["second"], []]
    page = soup(client.get(f"/results/{run.run_id}").text)
    assert words(page.find(class_="note-box").find("summary")) == "Add tags or a note"


def test_a_bad_tag_is_told_beside_its_field_and_not_kept(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    response = client.post(f"/results/{run.run_id}/note", data={"tags": "ok, <script>", "note": "kept as typed"})
    page = soup(response.text)
    assert response.status_code == 422
    assert "'<script>' cannot be a tag" in words(page.find(id="error-tags"))
    assert page.find(id="tags")["value"] == "ok, <script>"
    assert page.find(id="note-text").text == "kept as typed"
    assert not (run_log.directory / FILE).exists()


def test_a_run_that_is_not_there_has_no_note(client: FlaskClient) -> None:
    assert client.post("/results/nope/note", data={"tags": "a"}).status_code == 404


def test_another_site_cannot_write_a_note(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.post(f"/results/{run.run_id}/note", data={"tags": "a"}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("tags", "text", "field"),
    [
        (",".join("abcdefghi"), "", "tags"),
        ("x" * 33, "", "tags"),
        ("a;b", "", "tags"),
        ("", "x" * 501, "note"),
    ],
    ids=["too many", "too long", "sign", "long note"],
)
def test_limits(tags: str, text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        note_of("a", TIME, tags=tags, text=text)
    assert refused.value.field == field


def test_a_torn_or_foreign_line_is_skipped(run_log: RunLog) -> None:
    notes = RunNotes(run_log)
    notes.add(Note(run_id="a", time=TIME, tags=("x",)))
    with (run_log.directory / FILE).open("ab") as file:
        file.write(b'{"schema":1,"run_id":3}\nnot json\n\xff\n{"run_id":"a","ti')
    assert notes.of(["a", "b"]) == {"a": Note(run_id="a", time=TIME, tags=("x",))}
    notes.add(Note(run_id="a", time=TIME, tags=("y",)))
    assert notes.of(["a"])["a"].tags == ("y",)


def test_two_servers_read_each_others_notes_and_lose_none(app: Flask, run_log: RunLog) -> None:
    one, other = RunNotes(run_log), RunNotes(run_log)
    ids = [f"run{number}" for number in range(40)]

    def add(notes: RunNotes, some: list[str]) -> None:
        for run_id in some:
            notes.add(Note(run_id=run_id, time=TIME, text=run_id))

    threads = [threading.Thread(target=add, args=(notes, ids[k::2])) for k, notes in enumerate((one, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(one.of(ids)) == set(other.of(ids)) == set(ids)


def test_without_a_file_there_is_no_note(run_log: RunLog) -> None:
    assert RunNotes(run_log).of(["a"]) == {}


def test_notes_that_cannot_be_read_cost_no_page_and_are_said(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    (run_log.directory / FILE).mkdir()
    for address in (f"/results/{run.run_id}", "/visualize", "/visualize?tag=prod&q=ann", f"/compare?ids={run.run_id}"):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert "Tags and notes cannot be read just now" in words(soup(answer.text).find(class_="notice warning"))
    assert shown(client) == [run.run_id]
    (run_log.directory / FILE).rmdir()
    assert "cannot be read" not in client.get("/visualize").text


def test_notes_that_were_read_are_kept_while_their_file_cannot_be(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    client.post(f"/results/{run.run_id}/note", data={"tags": "prod"})
    assert shown(client, tag="prod") == [run.run_id]
    (run_log.directory / FILE).rename(run_log.directory / "away")
    (run_log.directory / FILE).mkdir()
    assert shown(client, tag="prod") == [run.run_id]


def test_a_note_that_cannot_be_saved_is_said_and_kept_as_typed(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    (run_log.directory / FILE).mkdir()
    answer = client.post(f"/results/{run.run_id}/note", data={"tags": "prod", "note": "kept as typed"})
    page = soup(answer.text)
    assert answer.status_code == 503
    assert "The note could not be saved: Is a directory." in words(page.select_one(".note-box [role=alert]"))
    assert page.find(id="tags")["value"] == "prod" and page.find(id="note-text").text == "kept as typed"


def test_the_command_line_says_that_it_searched_without_notes(run_log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    run = logged(run_log)
    (run_log.directory / FILE).mkdir()
    monkeypatch.setenv("LOG_DIR", str(run_log.directory))
    done = CliRunner().invoke(history, ["--text", run.inputs["gpu"], "--json"])
    assert [one["run_id"] for one in json.loads(done.stdout)["runs"]] == [run.run_id]
    assert "Tags and notes cannot be read" in done.stderr
