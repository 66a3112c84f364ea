"""A model's config.json from disk, read the way the catalogue reads its own."""

from __future__ import annotations

from pathlib import Path

from app import json_text
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config

LARGEST_BYTES = 10_000_000
ALLOWED = f"a config.json of up to {LARGEST_BYTES // 1_000_000} MB, or a folder that has one"


def is_path(name: str) -> bool:
    """Whether a model is named by a path: it ends in .json or begins with ".", "/" or "~"."""
    return name.strip().lower().endswith(".json") or name.strip().startswith((".", "/", "~"))


def read_model(name: str, field: str = "model") -> Model:
    """The model that a config.json, or the one in a folder, describes. Raises InvalidInput."""
    try:
        path = Path(name.strip()).expanduser()
        path = path / "config.json" if path.is_dir() else path
        if path.exists() and not path.is_file():
            raise InvalidInput(field, f"{name!r} is not a file.", ALLOWED)
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise InvalidInput(field, f"There is no file {str(path)!r}.", ALLOWED) from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(field, f"{name!r} cannot be read: {reason}.", ALLOWED) from None
    if len(data) > LARGEST_BYTES:
        raise InvalidInput(field, f"{str(path)!r} is too large.", ALLOWED)
    try:
        config = json_text.read_object(data)
    except json_text.NotJson as error:
        raise InvalidInput(field, f"{str(path)!r}: {error}", ALLOWED) from None
    named = path.absolute().parent.name if path.name == "config.json" else path.stem
    return read_config(config, name=str(config.get("_name_or_path") or named)[:200], source=str(path))
