"""Fields of a form as HTML. One that nobody has touched looks the same on every page and is drawn once."""

from __future__ import annotations

from flask import Flask
from markupsafe import Markup

from app.calculations.inputs import Input
from app.pages.forms import InputField


def init_app(app: Flask) -> None:
    """Give the templates `field(one)`: label, control, unit, messages and help of a field."""
    environment = app.jinja_env
    untouched: dict[Input, Markup] = {}

    def draw(field: InputField) -> Markup:
        return Markup(environment.get_template("_macros.html").module.draw_field(field))  # type: ignore[attr-defined]  # noqa: S704

    def html(field: InputField) -> Markup:
        if not field.is_untouched:
            return draw(field)
        if field.declared not in untouched:
            untouched[field.declared] = draw(field)
        return untouched[field.declared]

    environment.globals["field"] = html
