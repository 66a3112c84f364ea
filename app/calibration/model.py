"""Predictions of all compiled rows at once, as a function of the coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.calculations import queueing
from app.calculations.kernels import smooth_maximum
from app.calculations.queueing import Scheduler, Steps
from app.calculations.serving import HOST_OVERLAP, median_step
from app.calibration.compiled import INDEX, ROW_NUMBERS, STEP_NUMBERS, STEPS, Compiled

#: Prefill adds at least this share of a lone prompt's time to a step (serving.time_steps).
LEAST_ADDED = 0.02


class Table:
    """Compiled rows end to end. Rows with the same arrays share them."""

    def __init__(self, rows: Sequence[Compiled]) -> None:
        self.rows = list(rows)
        unique: dict[int, int] = {}
        shared: list[Compiled] = []
        of_row: list[int] = []
        for row in self.rows:
            key = id(row.terms)
            if key not in unique:
                unique[key] = len(shared)
                shared.append(row)
            of_row.append(unique[key])
        self.of_row = np.array(of_row)
        self.terms = np.concatenate([row.terms for row in shared])
        self.scaled = np.concatenate([row.scaled for row in shared]).astype(int)
        counts = [len(row.step) for row in shared]
        self.run = np.repeat(np.arange(len(shared)), counts)
        self.place = self.run * 2 * len(STEPS) + np.concatenate([row.step for row in shared])
        self.steps = np.stack([row.steps for row in shared])
        self.numbers = np.stack([row.numbers for row in self.rows])
        self.first_row = np.unique(self.of_row, return_index=True)[1]
        self.measured = np.array([row.measured for row in self.rows])
        self.metric = np.array([row.metric for row in self.rows])

    def number(self, name: str) -> Any:
        return self.numbers[:, ROW_NUMBERS.index(name)]

    def step_seconds(self, coefficients: Any) -> Any:
        """Seconds of the steps of each run (runs x STEPS); `coefficients`: runs x NAMES."""
        x = np.concatenate([coefficients, np.ones((len(coefficients), 1))], axis=1)[self.run]
        at = np.arange(len(x))
        by_launch, by_compute, by_memory = (x[at, self.scaled[:, column]] for column in range(3))
        launch, compute, memory, serial, smoothness = self.terms.T
        seconds = launch * by_launch + serial * by_memory
        seconds += smooth_maximum(compute * by_compute, memory * by_memory, smoothness)
        shape = (len(self.steps), 2, len(STEPS))
        gpu, drafts = np.bincount(self.place, seconds, minlength=np.prod(shape)).reshape(shape).transpose(1, 0, 2)
        repeats, sequences, layers = (self.steps[:, :, STEP_NUMBERS.index(n)] for n in STEP_NUMBERS)
        c = {name: coefficients[:, [position]] for name, position in INDEX.items()}
        busy = smooth_maximum(gpu, c["layer_seconds"] * layers, HOST_OVERLAP)
        return busy + drafts + c["step_seconds"] * repeats + c["sequence_seconds"] * sequences

    def predict(self, coefficients: Any) -> Any:
        """The measured quantity of every row; `coefficients`: rows x NAMES."""
        seconds = self.step_seconds(coefficients[self.first_row])[self.of_row]
        return self.quantities(seconds, coefficients[:, INDEX["request_seconds"]])

    def on_roofline(self) -> Any:
        """The measured quantity of every row on a plain roofline, through the same queue."""
        return self.quantities(np.stack([row.roofline for row in self.rows]), np.zeros(len(self.rows)))

    def quantities(self, seconds: Any, request_seconds: Any) -> Any:
        """The measured quantity of every row from the seconds of its steps (rows x STEPS)."""
        decode, alone, mixed, burst, drain = seconds.T
        n = self.number
        steps = Steps(
            decode=decode,
            alone=alone,
            added=np.maximum(mixed - decode, LEAST_ADDED * alone) / n("mixed_prompts") / n("stages"),
            burst=burst / n("burst_prompts") / n("stages"),
            request=request_seconds,
            chunks=n("chunks"),
            fill=n("fill"),
            drain=drain,
        )
        wanted, running, outputs, inputs = n("wanted"), n("running"), n("output_tokens"), n("input_tokens")
        token_steps = n("output_steps")
        queue = Scheduler(
            prefill_first=n("prefill_first"),
            whole_prompts=n("whole_prompts"),
            gang=n("gang"),
            gang_tokens=n("gang_tokens"),
        )
        closed = queueing.closed_loop(
            steps, queue, concurrency=wanted, running=running, input_tokens=inputs, output_tokens=token_steps,
            waves=n("waves"), length_spread=n("length_spread"),
        )  # fmt: skip
        down = {"output_tokens": token_steps, "decode_steps": n("drain_steps"), "recomputed": n("recomputed")}
        down["admitted"] = n("admitted")
        static = queueing.static_batch(steps, concurrency=wanted, **down)
        burst_loop = queueing.together(steps, concurrency=wanted, kept=n("kept"), **down)
        is_static, is_burst = n("is_static") > 0, n("is_burst") > 0
        ttft, tpot, rate = (
            np.select(
                [is_static, is_burst], [getattr(way, name) for way in (static, burst_loop)], getattr(closed, name)
            )
            for name in ("ttft", "tpot", "rate")
        )
        tpot = tpot * n("steps_per_token")
        rate = rate * n("replicas") * np.minimum(n("asked") / (wanted * n("replicas")), 1.0)
        after = np.maximum(outputs - 1, 0.0)
        middle = np.where(n("median_step") > 0, median_step(steps, running, token_steps), tpot)
        by_metric = {
            "ttft_ms": ttft * 1e3,
            "tpot_ms": tpot * 1e3,
            "itl_ms": middle * 1e3,
            "e2e_latency_ms": (ttft + after * tpot) * 1e3,
            "output_tokens_per_s": rate * outputs,
            "total_tokens_per_s": rate * (inputs + outputs),
            "requests_per_s": rate,
            "prefill_tokens_per_s": n("in_flight") * inputs / ttft,
            "decode_tokens_per_s": n("in_flight") / np.maximum(tpot, 1e-12),
        }
        found = np.full(len(self.rows), np.nan)
        for metric, values in by_metric.items():
            found = np.where(self.metric == metric, values, found)
        return found
