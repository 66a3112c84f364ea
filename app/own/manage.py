"""Saving, deleting and handing out what users define themselves, next to the presets. Used by every front end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from app import catalog
from app.calculations.errors import InvalidInput
from app.own import user_data
from app.own.user_data import OwnCalibration, OwnGpu, OwnModel, OwnPrice, checked_inputs, checked_name, checked_price

Answer = TypeVar("Answer")


def save_model(
    name: object, source: str, config: Mapping[str, Any], *, notes: Sequence[str] = (), replace: bool = False
) -> OwnModel:
    """Keep a config.json under a name. Raises InvalidInput or OSError."""
    checked = checked_name(name, slash=True)
    if catalog.means_a_preset(checked):
        raise taken("model", checked, catalog.model(checked).name)
    shelf = user_data.current().models
    return shelf.save(checked, source, config, notes=notes, now=datetime.now(UTC), replace=replace)


def save_gpu(name: object, source: str, inputs: Mapping[str, Any], *, replace: bool = False) -> OwnGpu:
    """Keep the inputs of a custom accelerator under a name. Raises InvalidInput or OSError."""
    checked = checked_name(name, slash=False)
    if catalog.means_a_preset_gpu(checked):
        raise taken("accelerator", checked, catalog.gpu(checked).name)
    shelf = user_data.current().gpus
    return shelf.save(checked, source, checked_inputs(inputs), now=datetime.now(UTC), replace=replace)


def save_calibration(name: object, source: str, fit: Mapping[str, Any], *, replace: bool = False) -> OwnCalibration:
    """Keep fitted coefficients under a name. Raises InvalidInput or OSError."""
    checked = checked_name(name, slash=False)
    shelf = user_data.current().calibrations
    return shelf.save(checked, source, fit, now=datetime.now(UTC), replace=replace)


def save_price(gpu: str, usd_per_gpu_hour: object, source: str = "", region: str = "") -> OwnPrice:
    """Keep what an accelerator costs, in a region or in any, in place of its list price. Raises InvalidInput or
    OSError."""
    name, where = price_of(gpu, region)
    content = {"usd_per_gpu_hour": checked_price(usd_per_gpu_hour)} | ({"region": where} if where else {})
    shelf = user_data.current().prices
    return shelf.save(name, source.strip(), content, now=datetime.now(UTC), replace=True)


def delete_price(gpu: str, region: str = "") -> None:
    """Return to the list price. Raises InvalidInput where none was saved."""
    name, _ = price_of(gpu, region)
    if not user_data.current().prices.delete(name):
        raise InvalidInput("gpu", f"No price of one's own is saved for {name!r}.", "an accelerator that has one")


def price_of(gpu: str, region: str) -> tuple[str, str]:
    """The name that a price is saved under, and its region's slug. Raises InvalidInput."""
    where = catalog.grid(region).slug if region.strip() else ""
    return user_data.price_name(catalog.gpu(gpu).slug, where), where


def on_disk(work: Callable[[], Answer]) -> Answer:
    """What `work` returns; InvalidInput where the directory of saved entries cannot be used."""
    try:
        return work()
    except OSError as error:
        directory = user_data.current().directory
        raise InvalidInput("DATA_DIR", f"{directory} cannot be written to: {error.strerror}.") from None


def taken(what: str, name: str, preset: str) -> InvalidInput:
    """The exception for a name that a preset has."""
    return InvalidInput("name", f"The name {name!r} means the {what} {preset} of the list.", "a name of your own")


def delete_model(name: str) -> None:
    """Delete a saved model. Raises InvalidInput where there is none."""
    if not user_data.current().models.delete(name):
        raise not_saved("model", name)


def delete_gpu(name: str) -> None:
    """Delete a saved accelerator. Raises InvalidInput where there is none."""
    if not user_data.current().gpus.delete(name):
        raise not_saved("accelerator", name)


def export_model(name: str) -> Mapping[str, Any]:
    """The config.json of a saved model. Raises InvalidInput where there is none."""
    found = user_data.current().models.get(name)
    if found is None:
        raise not_saved("model", name)
    return dict(found.document)


def export_gpu(name: str) -> Mapping[str, Any]:
    """The inputs of a saved accelerator. Raises InvalidInput where there is none."""
    found = user_data.current().gpus.get(name)
    if found is None:
        raise not_saved("accelerator", name)
    return dict(found.document)


def not_saved(what: str, name: str) -> InvalidInput:
    return InvalidInput("name", f"No {what} is saved under {name[:100]!r}.", f"the name of a saved {what}")
