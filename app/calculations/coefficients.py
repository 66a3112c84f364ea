"""Calibrated coefficients: how an engine on a GPU differs from bare kernels, and what its host adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import exp

from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.engine import Engine
from app.calculations.formats import Formats


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Multipliers of kernel time (1: as the kernel measured alone) and host times in seconds.

    The defaults are what is expected before any measurement.
    """

    #: Launch and fixed part of every kernel.
    launch: float = 1.0
    #: Compute-bound and memory-bound time of matrix products.
    matrix_compute: float = 1.0
    matrix_memory: float = 1.0
    prefill_attention: float = 1.0
    decode_attention: float = 1.0
    #: Grouped products of routed experts.
    experts: float = 1.0
    #: State updates of recurrent layers.
    recurrent: float = 1.0
    #: Collectives over a GPU fabric; over PCIe and between nodes.
    network: float = 1.0
    slow_network: float = 1.0
    #: Host time between steps; per sequence of a step; per layer of a step that no CUDA graph holds (at least).
    step_seconds: float = 1e-3
    sequence_seconds: float = 10e-6
    layer_seconds: float = 100e-6
    #: Host time of a request outside the steps (HTTP, tokeniser, scheduling).
    request_seconds: float = 10e-3

    @property
    def with_hidden_host_work(self) -> Coefficients:
        """With the host work of a step that an engine hides behind the GPU. What is calibrated is only what it could
        not hide; hidden is taken to be what is expected of an engine that was never measured."""
        return replace(
            self,
            step_seconds=self.step_seconds + EXPECTED.step_seconds,
            sequence_seconds=self.sequence_seconds + EXPECTED.sequence_seconds,
        )


NAMES = tuple(field.name for field in fields(Coefficients))
EXPECTED = Coefficients()


def levels(engine: Engine, gpu: Gpu, formats: Formats, model: Model) -> tuple[tuple[str, str], ...]:
    """The levels that a model of an engine on a GPU belongs to, general first; each may move a coefficient.

    An engine or a GPU that was never measured has only the general ones, and so keeps what is expected of its kind.
    """
    stored, kind = formats.weights.name, "mixture" if model.is_mixture_of_experts else "dense"
    return (
        ("all", ""),
        ("vendor", gpu.vendor),
        ("generation", gpu.architecture),
        ("gpu", gpu.slug),
        ("family", engine.family),
        ("engine", engine.name),
        ("family on generation", f"{engine.family} {gpu.architecture}"),
        ("engine on gpu", f"{engine.name} {gpu.slug}"),
        ("engine and kind", f"{engine.name} {kind}"),
        ("family and format", f"{engine.family} {stored}"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Logarithms of what each level multiplies a coefficient by: (level, key) -> coefficient -> deviation."""

    deviations: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict, hash=False)
    #: Name of the calibration, shown beside what it is used for.
    name: str = ""

    def coefficients(self, engine: Engine, gpu: Gpu, formats: Formats, model: Model) -> Coefficients:
        """What is expected, times the deviation of every level that was measured."""
        sums = dict.fromkeys(NAMES, 0.0)
        for level in levels(engine, gpu, formats, model):
            for coefficient, deviation in self.deviations.get(level, {}).items():
                sums[coefficient] += deviation
        return Coefficients(**{name: getattr(EXPECTED, name) * exp(total) for name, total in sums.items()})
