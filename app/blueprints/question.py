"""What the pages that ask share: a form filled from the address, its run when it is sent, or the form back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from flask import render_template, request, url_for

from app.blueprints.results import answered
from app.calculations.errors import InvalidInput
from app.calculations.inputs import Input
from app.history.run_log import Run
from app.pages.form_examples import Start, examples
from app.pages.forms import COMPLETE, InputForm, share_args

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A page that asks: the blueprint and folder of templates that it belongs to, its form, and what answers it."""

    name: str
    #: The operation of the API that answers the same.
    operation: str
    form: type[InputForm]
    declared: Mapping[str, Input]
    starts: Callable[[], Mapping[str, Start]]
    answer: Callable[..., Run]

    def asked(self) -> str:
        """The form, filled from the query string; what cannot be used there is told beside its field."""
        filled = self.form(request.args)
        if request.args:
            filled.validate()
        return self.page(filled)

    def sent(self) -> Any:
        """Calculate, log, show. Bad input gives the form back as it was sent, with the messages."""
        sent = self.form(request.form)
        run = self.run(sent)
        return answered(run) if run else (self.page(sent), HTTPStatus.UNPROCESSABLE_ENTITY)

    def previewed(self, preview: Callable[[Mapping[str, str]], object], inside: str = "_preview_estimate.html") -> str:
        """What `preview` finds for the form in the query string, as a fragment of a page: the template `inside` shows
        it. Nothing is logged."""
        asked = self.form(request.args)
        found = tried(asked, preview)
        if found is None:
            return render_template("_preview.html", found=None, mistakes=asked.mistakes())
        said = share_args(asked.asked(), self.declared)
        share, line = url_for(f"{self.name}.form", **said), url_for("docs.api", task=self.operation, **said)
        return render_template("_preview.html", share=share, line=line, found=found, inside=inside)

    def run(self, sent: InputForm) -> Run | None:
        """The run of a form, not logged yet, or None with the messages added to the form."""
        return tried(sent, lambda raw: self.answer(raw, source="web"))

    def page(self, form: InputForm) -> str:
        return render_template(
            f"{self.name}/form.html",
            form=form,
            groups=form.groups(),
            complete=COMPLETE,
            examples=examples(form, self.starts(), self.declared, f"{self.name}.form"),
        )


def tried(sent: InputForm, work: Callable[[Mapping[str, str]], Found]) -> Found | None:
    """What comes of a form's inputs, or None with the messages added to the form."""
    if not sent.validate():
        return None
    try:
        return work(sent.raw())
    except InvalidInput as error:
        sent.refuse(error)
        return None
