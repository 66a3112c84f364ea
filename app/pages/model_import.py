"""The form that imports a model: what was sent, which of its fields counts, and what is read from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from app import catalog, json_text
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.own import model_source, user_data
from app.own.hub import Hub
from app.own.user_data import LARGEST_BYTES

LIMIT = f"{LARGEST_BYTES // 1_000_000} MB"
#: The whole body: the configuration, and what stands beside it.
MOST_BODY_BYTES = 12_000_000
ALLOWED = f"a config.json of up to {LIMIT}"


@dataclass
class ImportForm:
    """What was typed. `errors` are the messages by field: config, file, model_id or name."""

    config: str = ""
    file_name: str = ""
    file: bytes = b""
    model_id: str = ""
    name: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    def given(self) -> list[str]:
        """The fields that name a configuration."""
        filled = {"config": self.config.strip(), "file": self.file_name or self.file, "model_id": self.model_id.strip()}
        return [name for name, value in filled.items() if value]


@dataclass(frozen=True)
class Imported:
    """A model that was read but not saved."""

    model: Model
    config: dict[str, Any]
    notes: tuple[str, ...]
    #: The name to save it under, as it was typed or as the configuration suggests.
    name: str

    @property
    def text(self) -> str:
        """The configuration in a line of ASCII."""
        return json.dumps(self.config, separators=(",", ":"))


def read(form: ImportForm, hub: Hub) -> Imported | None:
    """The model that a form describes, or None with the messages added to the form."""
    given = form.given()
    if len(given) != 1:
        for name in given or ["config"]:
            form.errors[name] = (
                "Only one of pasted text, file and model id can be read. Empty the others."
                if given
                else "Nothing to read: paste a config.json, choose the file, or type a model's id."
            )
        return None
    (source,) = given
    try:
        if source == "model_id":
            found = model_source.from_hub(form.model_id, hub, "model_id")
            name = found.model.name
            return Imported(found.model, found.config or {}, found.notes, form.name.strip() or free_name(name))
        data = form.file if source == "file" else form.config.encode("utf-8", "replace")
        config = parsed(data, source)
        name = form.name.strip() or suggested_name(config, form.file_name)
        words = f"uploaded {form.file_name[:100]}" if source == "file" else "pasted"
        model = read_config(config, name=name or "Imported model", source=f"config.json, {words}")
        return Imported(model, config, (), name)
    except InvalidInput as error:
        form.errors[source] = sentence(error)
        return None


def parsed(data: bytes, field_name: str) -> dict[str, Any]:
    """The configuration in a text. Raises InvalidInput."""
    if len(data) > LARGEST_BYTES:
        raise InvalidInput(field_name, f"{len(data):,} bytes are more than the limit of {LIMIT}.", ALLOWED)
    try:
        return json_text.read_document(data)
    except json_text.NotJson as error:
        raise InvalidInput(field_name, str(error), ALLOWED) from None


def sentence(error: InvalidInput) -> str:
    """The message as a sentence, with what is allowed."""
    message = error.message if error.message.endswith((".", "?", "!")) else f"{error.message}."
    return message + (f" Allowed: {error.allowed}." if error.allowed else "")


def suggested_name(config: dict[str, Any], file_name: str) -> str:
    """A name that the configuration or its file suggests and that can be saved under; "" where none does."""
    stem = PurePath(file_name.replace("\\", "/")).stem
    for text in (config.get("_name_or_path"), stem if stem != "config" else ""):
        try:
            return free_name(user_data.checked_name(text, slash=True))
        except InvalidInput:
            continue
    return ""


def free_name(name: str) -> str:
    """The name itself or, where it is a preset's, one that is not."""
    return f"my {name.rsplit('/', 1)[-1]}" if catalog.means_a_preset(name) else name
