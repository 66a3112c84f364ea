"""The accelerators: their list, a page for each, and the keeping of one's own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for

from app import catalog, formatting
from app.blueprints.own import download, logged_run, on_disk, or_404
from app.calculations.accelerator import Gpu
from app.calculations.errors import InvalidInput
from app.own import by_hand, manage, user_data
from app.pages import gpu as gpu_page
from app.pages.forms import spelled
from app.pages.listing import Column, Listing
from app.pages.model_import import sentence

bp = Blueprint("gpus", __name__)


def tera(rate: float) -> str:
    return formatting.number(rate / gpu_page.TERA)


COLUMNS = (
    Column("name", "Accelerator"),
    Column("vendor", "Maker"),
    Column("year", "Year", lambda year: str(year)),
    Column("memory", "Memory", formatting.gib, "GiB"),
    Column("bandwidth", "Bandwidth", lambda rate: formatting.integer(rate / gpu_page.GIGA), "GB/s"),
    Column("sixteen", "16-bit", tera, "TFLOP/s"),
    Column("fp8", "FP8", tera, "TFLOP/s"),
    Column("int8", "INT8", tera, "TOP/s"),
    Column("fp4", "FP4", tera, "TFLOP/s"),
    Column("link", "Link", lambda rate: formatting.number(rate / gpu_page.GIGA), "GB/s one way"),
    Column("power", "Power", formatting.integer, "W"),
    Column("price", "Price", formatting.usd, "an hour"),
)


def row_of(gpu: Gpu) -> dict[str, Any]:
    """A line of the list; what is not known, or has no units, is None."""
    peaks = gpu.peak_flops_per_second
    saved = gpu.slug in catalog.own_gpus()
    vendor = "" if saved else spelled(gpu.vendor)
    return {
        "slug": gpu.slug,
        "own": saved,
        "name": gpu.name,
        "vendor": vendor,
        "year": gpu.year or None,
        "memory": gpu.memory_bytes,
        "bandwidth": gpu.memory_bandwidth_bytes_per_second,
        "sixteen": peaks.get(gpu.sixteen_bit),
        "fp8": peaks.get("fp8"),
        "int8": peaks.get("int8"),
        "fp4": peaks.get("fp4"),
        "link": gpu.link_bytes_per_second,
        "power": gpu.tdp_watts,
        "price": gpu.price_usd_per_hour,
        "price_source": gpu.price_source,
        "words": f"{gpu.slug} {gpu.name} {vendor} {gpu.architecture}".lower() + (" own" if saved else ""),
    }


@bp.get("/gpus")
def listed() -> str:
    """Every accelerator, those that users have saved first."""
    rows = [row_of(gpu) for gpu in catalog.gpus().values()]
    listing = Listing.read(COLUMNS, request.args)
    shown = listing.shown(rows)
    sources = list(dict.fromkeys(row["price_source"] for row in shown if row["price"] is not None))
    return render_template(
        "gpus/list.html", listing=listing, rows=shown, count=len(rows), problems=problems(), sources=sources
    )


def problems() -> list[str]:
    """Saved accelerators that cannot be used, with the reason."""
    data = user_data.current()
    shadowed = [name for name in data.gpus.entries() if catalog.means_a_preset_gpu(name)]
    return data.gpus.problems() + [f"gpus: {name!r} is the name of a preset, which is used" for name in shadowed]


@bp.get("/gpus/<name>")
def gpu(name: str) -> Any:
    """Everything known about one accelerator."""
    found = or_404(lambda: catalog.gpu(name))
    if found.slug != name:
        return redirect(url_for("gpus.gpu", name=found.slug))
    saved = catalog.own_gpus().get(found.slug)
    return render_template("gpus/gpu.html", saved=saved, **gpu_page.page(found))


@bp.post("/gpus/save-custom")
def save_custom() -> Any:
    """Save the accelerator that a run described by hand."""
    run_id, name = request.form.get("run_id", ""), request.form.get("name", "")
    run = logged_run(run_id, "gpu")
    try:
        inputs = {key: run.inputs.get(key) for key in by_hand.GPU_INPUTS}
        saved = on_disk(
            lambda: manage.save_gpu(
                name, f"{by_hand.SOURCE} in run {run_id}", inputs, replace="replace" in request.form
            )
        )
    except InvalidInput as error:
        page = render_template(
            "models/save_custom.html", what="accelerator", run_id=run_id, name=name, error=sentence(error)
        )
        return page, HTTPStatus.UNPROCESSABLE_ENTITY
    return redirect(url_for("gpus.gpu", name=saved.gpu.slug), HTTPStatus.SEE_OTHER)


@bp.post("/gpus/price")
def price() -> Any:
    """Keep what an accelerator costs here, or return to the list price."""
    found = or_404(lambda: catalog.gpu(request.form.get("gpu", "")))
    usd, source = request.form.get("usd", "").strip(), request.form.get("source", "")
    region = request.form.get("region", "")
    try:
        if "delete" in request.form:
            manage.delete_price(found.slug, region)
        else:
            on_disk(lambda: manage.save_price(found.slug, usd, source, region))
    except InvalidInput as error:
        page = render_template(
            "gpus/gpu.html",
            saved=catalog.own_gpus().get(found.slug),
            price_error=sentence(error),
            typed={"usd": usd, "source": source, "region": region},
            **gpu_page.page(found),
        )
        return page, HTTPStatus.UNPROCESSABLE_ENTITY
    return redirect(url_for("gpus.gpu", name=found.slug) + "#price", HTTPStatus.SEE_OTHER)


@bp.post("/gpus/delete")
def delete() -> Any:
    """Delete a saved accelerator."""
    or_404(lambda: manage.delete_gpu(request.form.get("name", "")))
    return redirect(url_for("gpus.listed"), HTTPStatus.SEE_OTHER)


@bp.get("/gpus/export")
def export() -> Response:
    """The inputs of a saved accelerator."""
    name = request.args.get("name", "").strip()
    return download(name, or_404(lambda: manage.export_gpu(name)))
