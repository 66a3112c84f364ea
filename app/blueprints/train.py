"""Training: the form, what it would answer while it is edited, and what becomes of it when it is sent."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.blueprints.question import Question
from app.pages.form_examples import Start
from app.pages.forms import TrainForm
from app.pages.preview import of_training
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


QUESTION = Question(
    name="train",
    operation="train",
    form=TrainForm,
    declared=ALL_TRAINING_INPUTS,
    starts=lambda: {label: Start(inputs=inputs) for label, inputs in EXAMPLES.items()},
    answer=train_run,
)


@bp.get("/train")
def form() -> str:
    return QUESTION.asked()


@bp.get("/train/preview")
def preview() -> str:
    return QUESTION.previewed(lambda raw: of_training(train_run(raw, source="web").results))


@bp.post("/train")
def calculate() -> Any:
    return QUESTION.sent()
