"""What a form offers to start from: buttons that fill it and, without scripts, links to a form that is filled so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import url_for

from app.calculations.inputs import Input
from app.forms import InputForm, text_of


@dataclass(frozen=True, slots=True)
class Example:
    """Something to start from: what it fills in, and the address of a form that is filled so and else as this one."""

    label: str
    inputs: Mapping[str, object]
    address: str
    chosen: bool
    reason: str = ""


def examples(
    form: InputForm,
    known: Mapping[str, Mapping[str, object]],
    declared: Mapping[str, Input],
    endpoint: str,
    reasons: Mapping[str, str] | None = None,
) -> list[Example]:
    """The examples of a page, beside what its form holds now."""
    typed = {field.name: field.text for field in form if field.text not in ("", field.default_text)}
    found = []
    for label, inputs in known.items():
        filled = {name: text_of(value) for name, value in inputs.items()}
        held = typed | filled
        query = {name: text for name, text in held.items() if text and text != text_of(declared[name].default)}
        chosen = all(form[name].text == (text or form[name].default_text) for name, text in filled.items())
        found.append(Example(label, inputs, url_for(endpoint, **query), chosen, (reasons or {}).get(label, "")))
    return found
