"""Lines of the training part of `/accuracy`: predictions and ranges made without the row's pair of model and GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np

from app.accuracy import scoring
from app.calculations.training.coefficients import FRAMEWORK_ON_GENERATION
from app.calculations.training.work import peak
from app.calculations.uncertainty import ANY, EXTRAPOLATED, INTERPOLATED, Spread, spread
from app.calibration import training, training_memory
from app.calibration.training import Measured
from app.calibration.training_memory import Peak
from app.measurements.training import Run, run_of, speed
from app.measurements.training_memory import kind

#: MFU that is assumed where nothing is known of a system, for the naive prediction beside ours: the middle of the 38 to
#: 43 % of Llama 3 (arXiv:2407.21783, Table 4), as planners take it.
ASSUMED_MFU = 0.4

Row = Mapping[str, str]
Line = tuple[str, ...]


def cell(number: float | None) -> str:
    return f"{number:.5g}" if number is not None and np.isfinite(number) else ""


def by_fold(pairs: Sequence[str], folds: int) -> Iterator[tuple[list[int], list[int]]]:
    """(places of a fold, places of the others), as `Problem.left_out` leaves pairs out."""
    of = [crc32(pair.encode()) % folds for pair in pairs]
    for number in sorted(set(of)):
        yield (
            [place for place, own in enumerate(of) if own == number],
            [place for place, own in enumerate(of) if own != number],
        )


def speed_lines(rows: Iterable[Row], runs: Sequence[Measured], pairs: Any, sources: Any) -> Iterator[Line]:
    """All metrics of the runs that were fitted; `pairs` and `sources` are their errors with those left out."""
    of_run: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if scoring.metric_class(row) in ("train_speed", "train_mfu"):
            of_run.setdefault((row["source"], row["id"].rpartition("-")[0]), []).append(row)
    for own, others in by_fold([run.pair for run in runs], training.FOLDS):
        ranges = training.speed_ranges([runs[n] for n in others], pairs[others], sources[others])
        spreads = {(line.metric, line.engine, line.nearness): line.spread for line in ranges}
        known = {level for n in others for level in runs[n].levels if level[0] == FRAMEWORK_ON_GENERATION}
        for place in own:
            run = runs[place]
            seconds = run.seconds * float(np.exp(-pairs[place]))
            nearness = INTERPOLATED if known.intersection(run.levels) else EXTRAPOLATED
            found = spread(spreads, run.kind, run.framework, nearness) or spread(spreads, ANY, ANY, INTERPOLATED)
            for row in of_run.get((run.source, run.identifier.rpartition("-")[0]), ()):
                yield line_of(row, run_of(row), seconds, found, nearness)


def line_of(row: Row, run: Run, seconds: float, around: Spread | None, nearness: str) -> Line:
    """One metric of a run from its predicted step time."""
    metric = row["metric"]
    ends = sorted(speed(metric, one, run) for one in (around.around(seconds) if around else ()))
    plain = speed(metric, naive_seconds(run), run)
    numbers = (speed(metric, seconds, run), *(ends or (None, None)), plain)
    return (row["id"], *map(cell, numbers), nearness)


def naive_seconds(run: Run) -> float:
    """6 FLOPs for each parameter that a token uses, at ASSUMED_MFU of the peak, and nothing else."""
    s = run.setting
    tokens = s.global_batch_size * s.seq_len
    return 6 * s.model.active_params * tokens / (s.num_gpus * peak(s, s.precision) * ASSUMED_MFU)


def memory_lines(rows: Iterable[Row], peaks: Sequence[Peak], pairs: Any, sources: Any) -> Iterator[Line]:
    """Peaks of memory. No naive prediction stands beside them."""
    by_id = {row["id"]: row for row in rows}
    for own, others in by_fold([one.pair for one in peaks], training_memory.FOLDS):
        ranges = training_memory.memory_ranges([peaks[n] for n in others], pairs[others], sources[others])
        spreads = {(line.metric, line.engine, line.nearness): line.spread for line in ranges}
        known = {peaks[n].run.memory.recipe.name for n in others}
        for place in own:
            one = peaks[place]
            recipe = one.run.memory.recipe.name
            nearness = INTERPOLATED if recipe in known else EXTRAPOLATED
            found = spread(spreads, kind(one.run), recipe, nearness)
            value = float(by_id[one.identifier]["value"]) * float(np.exp(-pairs[place]))
            low, high = found.around(value) if found else (None, None)
            yield (one.identifier, *map(cell, (value, low, high, None)), nearness)
