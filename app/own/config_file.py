"""A model's config.json from disk, read the way the catalogue reads its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app import json_text
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.own import safetensors
from app.own.safetensors import Stored

LARGEST_BYTES = 10_000_000
ALLOWED = f"a config.json of up to {LARGEST_BYTES // 1_000_000} MB, or a folder that has one"
#: A .safetensors file begins with the length of its header.
LENGTH_BYTES = 8


def is_path(name: str) -> bool:
    """Whether a model is named by a path: it ends in .json or begins with ".", "/" or "~"."""
    return name.strip().lower().endswith(".json") or name.strip().startswith((".", "/", "~"))


def model_of(config: dict[str, Any], path: Path) -> Model:
    """The model of a configuration, named as the configuration, its folder or its file is."""
    named = path.absolute().parent.name if path.name == "config.json" else path.stem
    return read_config(config, name=str(config.get("_name_or_path") or named)[:200], source=str(path))


def read_object(name: str, field: str = "model", allowed: str = ALLOWED) -> tuple[dict[str, Any], Path]:
    """The JSON object of a file, or of the config.json in a folder, and its path. Raises InvalidInput."""
    try:
        path = Path(name.strip()).expanduser()
        path = path / "config.json" if path.is_dir() else path
        if path.exists() and not path.is_file():
            raise InvalidInput(field, f"{name!r} is not a file.", allowed)
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise InvalidInput(field, f"There is no file {str(path)!r}.", allowed) from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(field, f"{name!r} cannot be read: {reason}.", allowed) from None
    if len(data) > LARGEST_BYTES:
        raise InvalidInput(field, f"{str(path)!r} is too large.", allowed)
    try:
        return json_text.read_document(data), path
    except json_text.NotJson as error:
        raise InvalidInput(field, f"{str(path)!r}: {error}", allowed) from None


def stored_beside(path: Path) -> Stored | None:
    """What the checkpoint's files beside a config.json say of its size; None where there are none to be read."""
    if path.name != "config.json":
        return None
    try:
        with path.with_name("model.safetensors.index.json").open("rb") as file:
            return safetensors.from_index(json_text.read_object(file.read(LARGEST_BYTES)))
    except (OSError, json_text.NotJson):
        pass
    try:
        with path.with_name("model.safetensors").open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            return safetensors.from_header(json_text.read_object(file.read(min(length, LARGEST_BYTES))))
    except (OSError, json_text.NotJson):
        return None
