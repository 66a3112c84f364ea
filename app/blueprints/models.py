"""The models: their list, a page for each, and the import and keeping of one's own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for

from app import catalog, facts, formatting
from app.blueprints.own import download, logged_run, on_disk, or_404
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.own import by_hand, manage, user_data
from app.own.hub import Hub
from app.pages import model as model_page
from app.pages import model_import
from app.pages.forms import spelled
from app.pages.listing import Column, Listing
from app.pages.model_import import Imported, ImportForm, sentence
from app.scenarios import ALL_INPUTS

bp = Blueprint("models", __name__)

COLUMNS = (
    Column("id", "Model"),
    Column("family", "Family"),
    Column("total_params", "Parameters", formatting.count),
    Column("active_params", "Active", formatting.count),
    Column("attention", "Attention"),
    Column("kv_bytes_per_token_bf16", "KV cache", formatting.binary_bytes, "a token, 16-bit"),
    Column("checkpoint_precision", "Checkpoint"),
)


@bp.get("/models")
def listed() -> str:
    """Every model, those that users have saved first."""
    rows: list[dict[str, Any]] = []
    for entry in catalog.models().values():
        row = facts.model_row(entry) | {"family": spelled(entry.family)}
        words = f"{entry.id} {row['family']} {row['attention']} {row['checkpoint_precision']}"
        rows.append(row | {"words": words.lower() + (" own" if entry.own else "")})
    listing = Listing.read(COLUMNS, request.args)
    rows.sort(key=lambda row: (not row["own"], row["family"].lower(), row["id"].lower()))
    return render_template(
        "models/list.html",
        listing=listing,
        rows=listing.shown(rows),
        count=len(rows),
        problems=problems(),
    )


def problems() -> list[str]:
    """Saved models that cannot be used, with the reason."""
    data = user_data.current()
    shadowed = [name for name in data.models.entries() if catalog.means_a_preset(name)]
    return data.models.problems() + [f"models: {name!r} is the name of a preset, which is used" for name in shadowed]


@bp.get("/models/<path:name>")
def model(name: str) -> Any:
    """Everything known about one model."""
    found = or_404(lambda: catalog.model(name))
    if found.name != name:
        return redirect(url_for("models.model", name=found.name))
    entry = catalog.models()[found.name]
    saved = catalog.own_models().get(found.name)
    return render_template("models/model.html", entry=entry, saved=saved, **model_page.page(found))


@bp.get("/models/import")
def import_form() -> str:
    """The form that imports a model."""
    return form_page(ImportForm(name=request.args.get("name", "")[:200], model_id=request.args.get("id", "")[:200]))


def form_page(form: ImportForm) -> str:
    endpoint = current_app.config["HF_ENDPOINT"]
    return render_template("models/import.html", form=form, limit=model_import.LIMIT, endpoint=endpoint)


@bp.post("/models/import")
def read() -> Any:
    """Read what was sent and show it, to be saved or not."""
    allow_large_body()
    file = request.files.get("file")
    form = ImportForm(
        config=request.form.get("config", ""),
        file_name=file.filename or "" if file else "",
        file=file.read() if file else b"",
        model_id=request.form.get("model_id", ""),
        name=request.form.get("name", ""),
    )
    hub = Hub(current_app.config["HF_ENDPOINT"], current_app.config["HF_TOKEN"])
    imported = model_import.read(form, hub)
    if imported is None:
        return form_page(form), HTTPStatus.UNPROCESSABLE_ENTITY
    return preview(imported)


def allow_large_body() -> None:
    """A configuration may be larger than any other form."""
    request.max_content_length = model_import.MOST_BODY_BYTES
    request.max_form_memory_size = model_import.MOST_BODY_BYTES


def preview(imported: Imported, error: str = "", replace: bool = False) -> str:
    return render_template(
        "models/preview.html", imported=imported, error=error, replace=replace, **model_page.page(imported.model)
    )


@bp.post("/models/save")
def save() -> Any:
    """Save an imported model; then its page, or the form with it."""
    allow_large_body()
    name, replace = request.form.get("name", ""), "replace" in request.form
    source, notes = request.form.get("source", ""), tuple(request.form.getlist("notes"))
    try:
        config = model_import.parsed(request.form.get("config", "").encode("utf-8", "replace"), "config")
        found = read_config(config, name=name.strip()[:200] or "Imported model", source=source[: user_data.MOST_SOURCE])
    except InvalidInput as error:
        form = ImportForm(config=request.form.get("config", ""), name=name, errors={"config": sentence(error)})
        return form_page(form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        saved = on_disk(lambda: manage.save_model(name, source, config, notes=notes, replace=replace))
    except InvalidInput as error:
        page = preview(Imported(found, config, notes, name), sentence(error), replace)
        return page, HTTPStatus.UNPROCESSABLE_ENTITY
    if "calculate" in request.form:
        return redirect(url_for("calculator.form", model=saved.name), HTTPStatus.SEE_OTHER)
    return redirect(url_for("models.model", name=saved.name), HTTPStatus.SEE_OTHER)


@bp.post("/models/save-custom")
def save_custom() -> Any:
    """Save the architecture that a run described by hand."""
    run_id, name = request.form.get("run_id", ""), request.form.get("name", "")
    run = logged_run(run_id, "model")
    try:
        values = {key: ALL_INPUTS[key].parse(run.inputs.get(key)) for key in by_hand.MODEL_INPUTS}
        config = by_hand.custom_config(values)
        saved = on_disk(
            lambda: manage.save_model(
                name, f"{by_hand.SOURCE} in run {run_id}", config, replace="replace" in request.form
            )
        )
    except InvalidInput as error:
        page = render_template(
            "models/save_custom.html", what="architecture", run_id=run_id, name=name, error=sentence(error)
        )
        return page, HTTPStatus.UNPROCESSABLE_ENTITY
    return redirect(url_for("models.model", name=saved.name), HTTPStatus.SEE_OTHER)


@bp.post("/models/delete")
def delete() -> Any:
    """Delete a saved model."""
    or_404(lambda: manage.delete_model(request.form.get("name", "")))
    return redirect(url_for("models.listed"), HTTPStatus.SEE_OTHER)


@bp.get("/models/export")
def export() -> Response:
    """The config.json of a saved model."""
    name = request.args.get("name", "").strip()
    return download(name, or_404(lambda: manage.export_model(name)))
