"""A model by whatever names it: a path, a preset or saved model, or the id of one on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app import catalog
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.own import config_file, hub, safetensors
from app.own.hub import Hub
from app.own.safetensors import Stored


@dataclass(frozen=True)
class Found:
    """A model and, where it is not of the catalogue, the configuration that it was read from.

    `notes` are the warnings that do not come from the configuration.
    """

    model: Model
    config: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def find(name: str, where: Hub) -> Found:
    """The model of a path, a name or an id. Raises InvalidInput.

    The hub is asked only for what has the form of an id and is no name of the catalogue.
    """
    if config_file.is_path(name):
        config, path = config_file.read_object(name)
        return compared(config_file.model_of(config, path), config, config_file.stored_beside(path))
    try:
        return Found(catalog.model(name))
    except InvalidInput as unknown:
        if not hub.is_id(name.strip()):
            raise
        return from_hub_or_refuse(name.strip(), where, unknown)


def from_hub_or_refuse(model_id: str, where: Hub, unknown: InvalidInput) -> Found:
    """The model from the hub; where that fails, what is said of the name and of the hub in one."""
    near = catalog.nearest(model_id, catalog.models())
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    try:
        return from_hub(model_id, where)
    except hub.Unreachable as error:
        message = (
            f"Model {model_id!r} is not a preset, and {error.message.rstrip('.')}: give the config.json instead.{hint}"
        )
        raise InvalidInput(unknown.field, message, unknown.allowed) from None
    except hub.HubError as error:
        raise InvalidInput(unknown.field, f"{error.message} It is no preset either.{hint}", error.allowed) from None


def from_hub(model_id: str, where: Hub, field: str = "model") -> Found:
    """The model that the hub has under this id. Raises InvalidInput."""
    fetched = hub.fetch(model_id, where, field)
    model = read_config(fetched.config, name=model_id.strip(), source=fetched.source)
    return compared(model, fetched.config, fetched.stored)


def compared(model: Model, config: dict[str, Any], stored: Stored | None) -> Found:
    """The model, held against the size of its checkpoint."""
    checked = safetensors.compared(model, stored)
    return Found(checked, config, checked.warnings[len(model.warnings) :])
