"""What a form offers to start from: buttons that fill it and, without scripts, links to a form that is filled so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import url_for

from app.calculations.inputs import Input
from app.pages.forms import InputForm, text_of


@dataclass(frozen=True, slots=True)
class Example:
    """A button of a form: what it fills in, and the address of a form that is filled so and else as this one."""

    label: str
    inputs: Mapping[str, object]
    address: str
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Something to start from: the inputs that it fills in, and why these."""

    inputs: Mapping[str, object]
    reason: str = ""


def examples(
    form: InputForm, starts: Mapping[str, Start], declared: Mapping[str, Input], endpoint: str
) -> list[Example]:
    """What a page offers to start from, by its label, beside what the form holds now."""
    typed = {field.name: field.text for field in form if field.text not in ("", field.default_text)}
    found = []
    for label, start in starts.items():
        filled = {name: text_of(value) for name, value in start.inputs.items()}
        held = typed | filled
        query = {name: text for name, text in held.items() if text and text != text_of(declared[name].default)}
        chosen = all(form[name].text == (text or form[name].default_text) for name, text in filled.items())
        found.append(Example(label, start.inputs, url_for(endpoint, **query), chosen, start.reason))
    return found
