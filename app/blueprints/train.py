"""Training: the form, and what becomes of it when it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, render_template, request

from app.blueprints.results import answered
from app.calculations.errors import InvalidInput
from app.form_examples import examples
from app.forms import COMPLETE, InputForm, TrainForm
from app.run_log import Run
from app.runs import train_run
from app.training_scenarios import ALL_TRAINING_INPUTS

bp = Blueprint("train", __name__)

#: Runs to start from: name -> inputs that it fills in.
EXAMPLES = {
    "Pre-train 8B": {"model": "meta-llama/Meta-Llama-3.1-8B", "gpu": "h100-sxm", "num_gpus": 256, "method": "full"},
    "Pre-train 70B": {"model": "meta-llama/Meta-Llama-3.1-70B", "gpu": "h100-sxm", "num_gpus": 1024, "method": "full"},
    "Pre-train a mixture": {"model": "deepseek-ai/DeepSeek-V3", "gpu": "h100-sxm", "num_gpus": 2048, "method": "full"},
    "LoRA, one server": {"model": "meta-llama/Meta-Llama-3.1-70B", "gpu": "h100-sxm", "num_gpus": 8, "method": "lora"},
    "QLoRA, one card": {"model": "meta-llama/Meta-Llama-3.1-8B", "gpu": "rtx-4090", "num_gpus": 1, "method": "qlora"},
}


def form_page(form: InputForm) -> str:
    return render_template(
        "train/form.html",
        form=form,
        groups=form.groups(),
        complete=COMPLETE,
        examples=examples(form, EXAMPLES, ALL_TRAINING_INPUTS, "train.form"),
    )


@bp.get("/train")
def form() -> str:
    """The form, filled from the query string; what cannot be used there is told beside its field."""
    filled = TrainForm(request.args)
    if request.args:
        filled.validate()
    return form_page(filled)


@bp.post("/train")
def calculate() -> Any:
    """Estimate, log, show. Bad input gives the form back as it was sent, with the messages."""
    sent = TrainForm(request.form)
    run = estimated(sent)
    return answered(run) if run else (form_page(sent), HTTPStatus.UNPROCESSABLE_ENTITY)


def estimated(sent: InputForm) -> Run | None:
    """The run of a form, or None with the messages added to it."""
    if not sent.validate():
        return None
    try:
        return train_run(sent.raw(), source="web")
    except InvalidInput as error:
        sent.refuse(error)
        return None
