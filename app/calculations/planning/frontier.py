"""What an accelerator can do at best: how fast a user is served against how much a GPU serves, over cuts and loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.calculations.planning.plan import Candidate, Plan

#: Accelerators that are told of, and points of each.
ACCELERATORS, POINTS = 6, 12


def frontiers(weighed: Sequence[Candidate], plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """The frontier of each accelerator of the first plans, with the model of the very first, in their order."""
    if not plans:
        return []
    model = plans[0].candidate.model
    slugs = list(dict.fromkeys(one.candidate.gpu.slug for one in plans if one.candidate.model == model))
    of_gpu = {
        slug: [one for one in weighed if one.gpu.slug == slug and one.model == model] for slug in slugs[:ACCELERATORS]
    }
    return [{"gpu": slug, "points": points} for slug, ones in of_gpu.items() if (points := frontier(ones))]


def frontier(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Replicas and loads that no other beats in both speeds, the fastest user first, evenly thinned. Without them where
    one token is generated: nobody then sees a speed."""
    found = [(*speeds(one), one) for one in candidates]
    rows = [
        (user, gpu, users, one)
        for per_user, per_gpu, one in found
        for user, gpu, users in zip(per_user, per_gpu, one.speeds.users, strict=True)
        if np.isfinite(user)
    ]
    best, kept = 0.0, []
    for user, gpu, users, one in sorted(rows, key=lambda row: (-row[0], -row[1], row[2])):
        if gpu > best:
            best = gpu
            kept.append((user, gpu, users, one))
    places = np.unique(np.linspace(0, len(kept) - 1, min(POINTS, len(kept))).round().astype(int))
    return [
        {
            "output_tokens_per_s_per_user": float(user),
            "output_tokens_per_s_per_gpu": float(gpu),
            "replica": str(one.best.layout),
            "weights": one.best.formats.weights.name,
            "concurrency": float(users),
        }
        for user, gpu, users, one in (kept[place] for place in places)
    ]


def speeds(one: Candidate) -> tuple[Any, Any]:
    """Tokens per second of a user and of a GPU at every load of a replica."""
    with np.errstate(divide="ignore"):
        per_user = 1.0 / np.asarray(one.speeds.tpot, dtype=float)
    return per_user, one.speeds.rate * one.best.scenario.mean_output_tokens / one.best.num_gpus
