"""The preview of the form: an answer as a fragment, or what is wrong, without a run in the log."""

from __future__ import annotations

import gzip

import pytest
from flask.testing import FlaskClient

from app import formatting
from app.catalog import DataError
from app.history.run_log import RunLog
from app.pages import workloads
from app.pages.preview import of_serving, of_training
from app.pages.workloads import _read
from app.runs import estimate_run, train_run
from tests.pages import soup, value, words

LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"


def test_a_preview_holds_verdict_memory_and_key_numbers(client: FlaskClient) -> None:
    response = client.get("/preview?input_tokens=2048&complete=1&gated_mlp=true")
    page = soup(response.text)
    run = estimate_run({"input_tokens": 2048}, source="web")
    assert response.status_code == 200
    assert page.find("html") is None
    assert run.results["verdict"] in words(page.find(class_="verdict"))
    shown = {words(one.find("dt")) for one in page.find_all(class_="metric")}
    assert {"Time to first token", "Time per output token", "Cost per hour", "Energy per output token"} <= shown
    assert page.find(attrs={"data-share": True})["data-share"] == "/?input_tokens=2048"
    assert run.results["layout"]["strategy"] in words(page.find(class_="preview-layout"))


def test_a_preview_of_training_holds_verdict_memory_and_key_numbers(client: FlaskClient) -> None:
    asked = {"model": "meta-llama/Meta-Llama-3.1-8B", "gpu": "h100-sxm", "num_gpus": "16"}
    page = soup(client.get("/train/preview", query_string=asked).text)
    run = train_run(asked, source="web")
    assert run.results["verdict"] in words(page.find(class_="verdict"))
    shown = {words(one.find("dt")): words(one.find("dd")) for one in page.find_all(class_="metric")}
    assert list(shown) == ["Step", "Tokens in total", "MFU", "Peak, as nvidia-smi", "Time", "Cost", "Energy", "Carbon"]
    assert shown["MFU"].startswith(formatting.percent(run.results["mfu"]["value"]))
    assert page.find(attrs={"data-share": True})["data-share"] == "/train?num_gpus=16"
    held = [one for one in of_training(run.results).bar.segments if one.name != "Free"]
    total = run.results["memory_bytes_per_gpu"]["total"]
    assert sum(one.size_bytes for one in held) == pytest.approx(total)


def test_a_preview_of_training_that_does_not_fit_names_what_would(client: FlaskClient) -> None:
    asked = {"model": LLAMA_70B, "gpu": "l40s", "num_gpus": "8", "method": "full"}
    page = soup(client.get("/train/preview", query_string=asked).text)
    assert "no" in page.find(class_="verdict")["class"]
    (wrong,) = soup(client.get("/train/preview?lora_rank=0&method=lora").text).find_all(attrs={"data-field": True})
    assert wrong["data-field"] == "lora_rank"


def test_a_preview_of_a_plan_holds_the_load_in_tokens_and_what_holds_the_model(client: FlaskClient) -> None:
    asked = {"model": LLAMA_70B, "request_rate": "20", "peak_factor": "2", "gpu": "l4, l40s, h100-sxm, b200"}
    page = soup(client.get("/plan/preview", query_string=asked).text)
    assert words(page.find(class_="verdict")) == "Possible All 4 accelerators hold the model, 1 of them on one GPU."
    shown = {words(one.find("dt")): words(one.find("dd")) for one in page.find_all(class_="metric")}
    assert shown["Requests at the peak"] == "40.0 req/s"
    assert shown["Prompts at the peak"] == "40,960 tok/s"
    assert shown["Output at the peak"] == "10,240 tok/s"
    assert shown["Output a month"] == "13.5 billion tokens"
    assert shown["To be weighed"] == "8 combinations answered in a moment"
    rows = [words(row) for row in page.select("tbody tr")]
    assert [row.split()[0] for row in rows] == ["1", "2", "4"]
    assert "2 L40S 48GB, H100 SXM5 80GB" in rows[1]
    assert page.find(attrs={"data-share": True})["data-share"].startswith("/plan?model=meta-llama")


@pytest.mark.parametrize(
    ("asked", "state", "verdict"),
    [
        ({"gpu": "h100-sxm"}, "tight", "Give a request rate or a concurrency"),
        ({"gpu": "h100-sxm", "concurrency": "8"}, "fits", "1 x H100 SXM5 80GB holds the model."),
        ({"gpu": "h100-sxm", "statistic": "p90"}, "tight", "Give a request rate"),
        ({"gpu": "l4, l40s", "model": LLAMA_70B, "max_gpus_per_replica": "1"}, "no", "None of the 2 accelerators"),
        ({"request_rate": "1", "input_tokens": "200000"}, "no", "200,256 tokens, more than its context of 131,072"),
        ({"request_rate": "1", "gpu": "h100-sxm", "budget_usd_per_hour": "1"}, "no", "more than the budget of $1.00"),
        ({"request_rate": "1", "gpu": "h100-sxm", "budget_usd_per_hour": "4", "spare_replicas": "1"}, "no", "1 spare"),
        ({"request_rate": "1", "other_models": LLAMA_70B, "gpu": "l4"}, "fits", "2 of 2 models are held"),
    ],
    ids=["no load", "one card", "percentile without load", "too small", "too long", "too dear", "spare", "models"],
)
def test_a_preview_of_a_plan_says_what_stands_in_its_way(
    client: FlaskClient, asked: dict[str, str], state: str, verdict: str
) -> None:
    page = soup(client.get("/plan/preview", query_string=asked).text)
    assert state in page.find(class_="verdict")["class"]
    assert verdict in words(page.find(class_="verdict"))


def test_a_preview_of_a_plan_tells_of_a_long_search_and_of_mistakes(client: FlaskClient) -> None:
    page = soup(client.get("/plan/preview?concurrency=100&kv_precision=auto,fp8").text)
    assert "the answer's page shows how far it is" in words(page)
    assert "In flight at the peak 100 requests" in words(page)
    for query, field in (
        ("request_rate=1&concurrency=1", "request_rate"),
        ("gpu=nothing", "gpu"),
        ("request_rate=x&gpu=h100-sxm", "request_rate"),
        ("concurrency=4&statistic=p99", "statistic"),
        ("request_rate=1&weight_precision=auto,fp8,int8,int4&kv_precision=auto,fp8,int8", "weight_precision"),
    ):
        page = soup(client.get(f"/plan/preview?{query}").text)
        assert [one["data-field"] for one in page.find_all(attrs={"data-field": True})] == [field]


def test_a_preview_logs_no_run(client: FlaskClient, run_log: RunLog) -> None:
    client.get("/preview")
    client.get("/plan/preview?request_rate=1&gpu=l4")
    client.get("/preview?model=nothing")
    client.get("/train/preview")
    assert not run_log.read().runs


def test_a_preview_of_mistakes_names_their_fields(client: FlaskClient) -> None:
    page = soup(client.get("/preview?input_tokens=x&tp=3").text)
    assert [one["data-field"] for one in page.find_all(attrs={"data-field": True})] == ["input_tokens"]
    page = soup(client.get("/preview?tp=3").text)
    (one,) = page.find_all(attrs={"data-field": "tp"})
    assert "does not divide" in words(one)


def test_what_does_not_fit_says_so_with_what_would_make_it_fit(client: FlaskClient) -> None:
    page = soup(client.get("/preview", query_string={"model": LLAMA_70B, "num_gpus": "1"}).text)
    assert "no" in page.find(class_="verdict")["class"]
    assert "Use 4 GPUs (TP 4)." in words(page.find(class_="preview-notes"))


def test_a_missed_goal_is_told(client: FlaskClient) -> None:
    page = soup(client.get("/preview?max_tpot_ms=1&max_ttft_ms=100000").text)
    told = words(page.find(class_="preview-notes"))
    assert "The goal is missed: TPOT is" in told and "TTFT" not in told


@pytest.mark.parametrize(
    ("raw", "limit"), [({}, 889.7), ({"model": LLAMA_70B, "num_gpus": 1}, None)], ids=["fits", "does not fit"]
)
def test_the_parts_fill_the_bar_up_to_the_total(raw: dict[str, object], limit: float | None) -> None:
    results = estimate_run(raw, source="web").results
    bar, memory = of_serving(results).bar, results["memory_bytes_per_gpu"]
    ends = [one.start + one.width for one in bar.segments]
    assert [one.start for one in bar.segments[1:]] == pytest.approx(ends[:-1], abs=0.2)
    whole = max(memory["total"], memory["device"])
    assert ends[-1] == pytest.approx(1000 * max(memory["total"], memory["capacity"]) / whole, abs=0.2)
    assert bar.limit == pytest.approx(1000 * memory["capacity"] / whole, abs=2)


def test_the_form_weighs_little(client: FlaskClient) -> None:
    for address in ("/", "/train", "/plan", "/preview", "/plan/preview"):
        assert len(gzip.compress(client.get(address).data)) < 60_000


def test_a_typical_workload_is_a_link_that_keeps_the_rest(client: FlaskClient) -> None:
    page = soup(client.get("/?num_gpus=2&input_tokens=7").text)
    link = next(one for one in page.select(".presets a") if words(one) == "RAG")
    filled = soup(client.get(link["href"]).text)
    assert [value(filled, name) for name in ("num_gpus", "input_tokens", "max_ttft_ms")] == ["2", "8192", "2000"]
    assert words(filled.find(class_="preset-reason")) == workloads.workloads()["rag"].reason


def test_the_typical_workloads_are_declared_with_their_reasons() -> None:
    known = workloads.workloads()
    assert list(known) == ["chat", "rag", "summarise", "code", "agent", "batch"]
    assert all(one.reason for one in known.values())
    assert known["batch"].concurrency == "saturated"
    assert known["agent"].serving["prefix_hit_rate"] == 0.95
    assert estimate_run(known["chat"].serving, source="web").results["fits"]


@pytest.mark.parametrize(("wrong", "named"), [({"colour": "red"}, "colour"), ({}, "reason")])
def test_a_workload_that_is_badly_declared_is_an_error_that_names_the_key(wrong: dict, named: str) -> None:
    good = {"label": "A", "input_tokens": 1, "output_tokens": 1, "concurrency": 1, "request_rate": 1}
    with pytest.raises(DataError, match=rf"workloads.toml: \[a\].*{named}"):
        _read("a", good | wrong)
