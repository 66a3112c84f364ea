"""What moves an answer most: a page for any logged estimate or plan, and for a question that is in the address."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, render_template, request, url_for

from app import sensitivity
from app.blueprints.results import logged, missing, shown
from app.calculations.errors import InvalidInput
from app.charts.sensitivity import tornado_figure
from app.history.run_log import Run
from app.pages.forms import share_args
from app.pages.plan import plans_of
from app.scenarios import ALL_INPUTS

bp = Blueprint("sensitivity", __name__)


@bp.get("/results/<run_id>/sensitivity")
def of_run(run_id: str) -> Any:
    """The levers of a logged run: of its question, or of a replica of its best plan."""
    run = logged(run_id)
    if run is None:
        return missing(run_id)
    back, of_mix = url_for("results.result", run_id=run_id), bool(run.inputs.get("request_mix"))

    def levers() -> Any:
        asked = question_of(run)
        if asked is None:
            abort(HTTPStatus.NOT_FOUND, "This run has no serving question whose inputs could be moved.")
        return page(asked, back=back, of_mix=of_mix)

    return shown(run, levers)


@bp.get("/sensitivity")
def of_form() -> Any:
    """The levers of the question in the query string of a form."""
    asked = {name: value for name in ALL_INPUTS if (value := request.args.get(name))}
    return page(asked, back=address("calculator.form", asked))


def page(asked: Mapping[str, Any], *, back: str, of_mix: bool = False) -> Any:
    metric = request.args.get("metric") or next(iter(sensitivity.METRICS))
    try:
        if metric not in sensitivity.METRICS:
            raise InvalidInput("metric", f"{metric[:60]!r} is not moved.", ", ".join(sensitivity.METRICS))
        found = sensitivity.sensitivity(asked)
    except InvalidInput as error:
        abort(HTTPStatus.BAD_REQUEST, str(error))
    known = {name: one for name, one in sensitivity.METRICS.items() if name in found.base}
    metric = metric if metric in known else next(iter(known), metric)
    return render_template(
        "results/sensitivity.html",
        found=found,
        metric=metric,
        metrics=known,
        links={
            name: address(
                str(request.endpoint), {**(request.view_args or {}), **request.args.to_dict(), "metric": name}
            )
            for name in known
        },
        figure=tornado_figure(found, metric) if known else None,
        levers=found.ranked(metric) if known else [],
        back=back,
        of_mix=of_mix,
        share=sensitivity.SHARE,
        asked=asked,
        form=address("calculator.form", share_args(asked)),
    )


def question_of(run: Run) -> dict[str, Any] | None:
    """The inputs of the serving form that a run answers; None where it answers none."""
    if run.kind == "estimate":
        return dict(run.inputs)
    plans = plans_of(run)
    if not plans:
        return None
    best = plans[0]
    given = {name: run.inputs.get(name) for name in ("engine", "input_tokens", "output_tokens", "region", "pue")}
    layout = {name: best["layout"][name] for name in ("tp", "pp", "dp", "ep") if name in best["layout"]}
    return {
        **{name: value for name, value in given.items() if value is not None},
        **layout,
        "model": best.get("model") or run.inputs["model"],
        "gpu": best["gpu"],
        "engine": best.get("engine") or run.inputs["engine"],
        "num_gpus": best["gpus_per_replica"],
        "weight_precision": best["weight_precision"],
        "kv_precision": best["kv_precision"],
        "concurrency": max(1, round(best["requests_in_flight_per_replica"])),
    }


def address(endpoint: str, values: Mapping[str, Any]) -> str:
    return url_for(endpoint, **dict(values))
