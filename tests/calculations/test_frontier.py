"""The frontier of an accelerator: nothing that was weighed beats a point of it in both speeds."""

from __future__ import annotations

import numpy as np
import pytest

from app import catalog
from app.calculations import estimate
from app.calculations.planning.frontier import ACCELERATORS, POINTS, frontiers, speeds
from app.calculations.planning.plan import Demand, Goals, search
from tests.calculations.worlds import scenario

GPUS = [catalog.gpu(name) for name in ("h100-sxm", "l40s")]


@pytest.fixture(scope="module")
def found():
    return search(GPUS, [scenario()], demand=Demand(request_rate=20.0, concurrency=None), goals=Goals(), most_gpus=4)


def test_each_accelerator_of_the_plans_has_one(found):
    names = list(dict.fromkeys(one.candidate.gpu.slug for one in found.plans))
    assert [one["gpu"] for one in frontiers(found.weighed, found.plans)] == names[:ACCELERATORS]
    assert frontiers(found.weighed, []) == []


def test_nothing_weighed_beats_a_point_in_both_speeds(found):
    for one in frontiers(found.weighed, found.plans):
        candidates = [candidate for candidate in found.weighed if candidate.gpu.slug == one["gpu"]]
        user, gpu = (np.concatenate(both) for both in zip(*map(speeds, candidates), strict=True))
        for point in one["points"]:
            faster = user > point["output_tokens_per_s_per_user"] * (1 + 1e-12)
            assert not (faster & (gpu > point["output_tokens_per_s_per_gpu"] * (1 + 1e-12))).any()


def test_it_goes_from_the_fastest_user_to_the_busiest_gpu(found):
    for one in frontiers(found.weighed, found.plans):
        users = [point["output_tokens_per_s_per_user"] for point in one["points"]]
        gpus = [point["output_tokens_per_s_per_gpu"] for point in one["points"]]
        assert users == sorted(users, reverse=True) and gpus == sorted(gpus) and 1 < len(users) <= POINTS
        candidates = [candidate for candidate in found.weighed if candidate.gpu.slug == one["gpu"]]
        assert users[0] == pytest.approx(max(speeds(candidate)[0].max() for candidate in candidates))
        assert gpus[-1] == pytest.approx(max(speeds(candidate)[1].max() for candidate in candidates))


def test_a_point_is_what_an_estimate_of_it_says(found):
    first = frontiers(found.weighed, found.plans)[0]
    point = first["points"][-1]
    (candidate,) = [
        one for one in found.weighed if one.gpu.slug == first["gpu"] and str(one.best.layout) == point["replica"]
    ]
    layout = candidate.best.layout
    asked = scenario(
        gpu=first["gpu"], num_gpus=candidate.best.num_gpus, tp=layout.tp, pp=layout.pp, dp=layout.dp,
        concurrency=int(point["concurrency"]),
    )  # fmt: skip
    speed = estimate(asked).best.speed
    assert 1 / speed.tpot_seconds == pytest.approx(point["output_tokens_per_s_per_user"], rel=1e-6)


def test_one_generated_token_has_no_speed_of_a_user_and_no_frontier():
    found = search(
        GPUS[:1], [scenario(output_tokens=1)], demand=Demand(request_rate=20.0, concurrency=None), goals=Goals(),
        most_gpus=1,
    )  # fmt: skip
    assert found.plans and frontiers(found.weighed, found.plans) == []
