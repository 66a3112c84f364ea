"""The best plan's accelerator at every number of GPUs and of requests in flight: a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.calculations.errors import InvalidInput
from app.calculations.layout_estimate import estimate
from app.calculations.mix import RequestClass
from app.charts.layout import Figure, axis, colour, layout
from app.planning import requests_of
from app.scenarios import serving_scenario

GPUS = (1, 2, 4, 8)
REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Cell:
    """Tokens per second of all users per GPU, and of one user; None where the model does not fit."""

    per_gpu: float | None
    per_user: float | None


def cells(inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[tuple[int, int], Cell]:
    """(GPUs, requests in flight) -> speed, each cut as is best for it."""
    asked = {name: plan[name] for name in ("model", "gpu", "engine", "weight_precision", "kv_precision")}
    classes = requests_of(inputs)
    return {(gpus, requests): cell(asked, classes, gpus, requests) for gpus in GPUS for requests in REQUESTS}


def cell(asked: Mapping[str, Any], classes: tuple[RequestClass, ...], gpus: int, requests: int) -> Cell:
    try:
        scenario, _ = serving_scenario({**asked, "num_gpus": gpus, "concurrency": requests})
        best = estimate(scenario.of_mix(classes)).best
    except InvalidInput:
        return Cell(None, None)
    if not best.fits or best.speed is None:
        return Cell(None, None)
    tokens = best.speed.requests_per_second * best.scenario.mean_output_tokens
    return Cell(tokens / gpus, tokens / requests)


def heat_figure(found: Mapping[tuple[int, int], Cell]) -> Figure:
    """Tokens per second and GPU; empty cells do not fit."""
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [f"{one:,}" for one in REQUESTS],
                "y": [f"{one} GPU{'s' if one > 1 else ''}" for one in GPUS],
                "z": [[found[gpus, requests].per_gpu for requests in REQUESTS] for gpus in GPUS],
                "customdata": [[found[gpus, requests].per_user for requests in REQUESTS] for gpus in GPUS],
                "texttemplate": "%{z:,.3~s}",
                "colorscale": [[0, colour("surface")], [1, colour("accent")]],
                "xgap": 2,
                "ygap": 2,
                "hoverongaps": False,
                "showscale": False,
                "hovertemplate": "%{y}, %{x} requests in flight<br>%{z:,.3~s} tokens/s per GPU, "
                "%{customdata:,.3~s} tokens/s of a user<extra></extra>",
            }
        ],
        "layout": layout(
            260, xaxis=axis("requests in flight of a replica", type="category"), yaxis=axis(type="category")
        ),
    }
