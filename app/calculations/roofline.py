"""Operators on a GPU: seconds, and what they are bound by (Williams et al., Roofline, CACM 2009)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from app.calculations import kernels
from app.calculations.accelerator import Gpu
from app.calculations.arrays import Numbers
from app.calculations.coefficients import Coefficients
from app.calculations.collectives import Links, all_to_all_seconds, point_to_point_seconds, reduce_seconds
from app.calculations.kernel_library import KernelLibrary
from app.calculations.kernels import Chip, Terms
from app.calculations.operators import Operator

#: Kernel -> the coefficients that scale its compute and its memory time.
SCALED_BY = {
    "matrix_product": ("matrix_compute", "matrix_memory"),
    "prefill_attention": ("prefill_attention", "prefill_attention"),
    "latent_prefill": ("prefill_attention", "prefill_attention"),
    "decode_attention": ("decode_attention", "decode_attention"),
    "latent_decode": ("decode_attention", "decode_attention"),
    "experts": ("experts", "experts"),
    "recurrent_prefill": ("recurrent", "recurrent"),
    "recurrent_decode": ("recurrent", "recurrent"),
    "elementwise": ("matrix_memory", "matrix_memory"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A GPU as an engine uses it: curves of its kernels, links, and the calibrated coefficients of the engine on it.

    `hides_host`: the host's work of a step runs beside the GPU and shows where it takes longer.
    `compute_efficiency` and `bandwidth_efficiency`, set by hand, replace what the curves of matrix products reach.
    """

    gpu: Gpu
    chip: Chip
    links: Links
    library: KernelLibrary
    coefficients: Coefficients
    hides_host: bool = False
    compute_efficiency: float | None = None
    bandwidth_efficiency: float | None = None

    def terms(self, operator: Operator) -> Terms:
        """The parts of an operator's seconds by its kernel's curve, coefficients not yet applied."""
        constants, form = self.library.constants(operator.kernel, operator.format)
        shape, chip = operator.shape, self.chip
        if operator.kernel == "matrix_product":
            constants = self.by_hand(constants)
        if operator.kernel in ("prefill_attention", "latent_prefill"):
            narrow = form.startswith("fp8") and operator.kernel[0] == "p" and "fp8" in chip.peaks
            peak = chip.peak("fp8" if narrow else operator.peak)
        else:
            peak = chip.peak(operator.peak) if operator.peak else 1.0
        match operator.kernel:
            case "matrix_product":
                return kernels.matrix_product(**shape, peak=peak, chip=chip, c=constants)
            case "prefill_attention" | "latent_prefill":
                curve = kernels.prefill_attention if operator.kernel[0] == "p" else kernels.latent_prefill
                arguments = {name: value for name, value in shape.items() if name != "score_bytes"}
                found = curve(**arguments, peak=peak, chip=chip, c=constants)
                return kernels.unfused(found, shape["score_bytes"], chip) if "score_bytes" in shape else found
            case "decode_attention":
                return kernels.decode_attention(**shape, peak=peak, chip=chip, c=constants)
            case "latent_decode":
                return kernels.latent_decode(**shape, peak=peak, chip=chip, c=constants)
            case "experts":
                return kernels.expert_products(**shape, peak=peak, chip=chip, c=constants)
            case "recurrent_prefill" | "recurrent_decode":
                return kernels.recurrent_scan(**shape, peak=peak, chip=chip, c=constants)
        return kernels.elementwise(**shape, chip=chip, c=constants)

    def by_hand(self, constants: Mapping[str, float]) -> Mapping[str, float]:
        if self.compute_efficiency is None and self.bandwidth_efficiency is None:
            return constants
        found = dict(constants)
        if self.compute_efficiency is not None:
            found |= {"ec": self.compute_efficiency, "q": 0.0}
        if self.bandwidth_efficiency is not None:
            found["em"] = self.bandwidth_efficiency
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Where the time of a pass goes: busy with arithmetic, with memory, with the network, or launching and waiting.

    An operator's time counts to `compute` or `memory` by which binds it; what only launches kernels or runs on the
    host counts to `host`.
    """

    compute: Numbers = 0.0
    memory: Numbers = 0.0
    network: Numbers = 0.0
    host: Numbers = 0.0

    @property
    def total(self) -> Numbers:
        return self.compute + self.memory + self.network + self.host

    def plus(self, other: Seconds, times: float) -> Seconds:
        """This pass and `times` another."""
        return Seconds(
            compute=self.compute + times * other.compute,
            memory=self.memory + times * other.memory,
            network=self.network + times * other.network,
            host=self.host + times * other.host,
        )

    def as_dict(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in ("compute", "memory", "network", "host")}

    @property
    def bound_by(self) -> str:
        """The largest of the four, in words."""
        words = {
            "compute": "compute",
            "memory": "memory bandwidth",
            "network": "network between GPUs",
            "host": "host and launch overhead",
        }
        return words[max(self.as_dict(), key=lambda name: self.as_dict()[name])]


class Timed(NamedTuple):
    """One operator with what its time is made of, coefficients applied; seconds of all its `count` copies."""

    operator: Operator
    launch: float
    compute: float
    memory: float
    serial: float
    #: Seconds without those of its launches.
    busy: float
    #: Shares of the peak and of the memory bandwidth that the bare FLOPs and bytes reach in that time.
    compute_efficiency: float | None = None
    bandwidth_efficiency: float | None = None

    @property
    def seconds(self) -> float:
        return self.launch + self.busy

    @property
    def bound_by(self) -> str:
        parts = {
            "network": self.seconds if self.operator.component == "network" else 0.0,
            "compute": self.compute,
            "memory": self.memory,
            "launch": self.launch + self.serial,
        }
        return max(parts, key=lambda name: parts[name])


def collective_seconds(operator: Operator, machine: Machine) -> Numbers:
    if operator.kernel == "all_reduce":
        return reduce_seconds(operator.message_bytes, operator.group, machine.links, machine.library)
    if operator.kernel == "all_to_all":
        return all_to_all_seconds(operator.message_bytes, operator.group, machine.links, machine.library)
    inside = operator.group <= machine.links.domain_gpus
    return point_to_point_seconds(operator.message_bytes, inside_domain=inside, links=machine.links)


def network_coefficient(operator: Operator, machine: Machine) -> str:
    """Which coefficient scales a collective: that of a GPU fabric, or that of PCIe and network."""
    fabric = machine.links.fabric and operator.group <= machine.links.domain_gpus
    return "network" if fabric else "slow_network"


def timed(operator: Operator, machine: Machine) -> Timed:
    """An operator's seconds on a machine."""
    x = machine.coefficients
    count = operator.count
    if operator.component == "network":
        factor = getattr(x, network_coefficient(operator, machine))
        seconds = (count * factor) * collective_seconds(operator, machine)
        return Timed(operator=operator, launch=0.0, compute=0.0, memory=0.0, serial=0.0, busy=seconds)
    terms = machine.terms(operator)
    by_compute, by_memory = SCALED_BY[operator.kernel]
    launch = (count * x.launch) * terms.launch
    compute = (count * getattr(x, by_compute)) * terms.compute
    memory = (count * getattr(x, by_memory)) * terms.memory
    serial = (count * getattr(x, by_memory)) * terms.serial
    busy = kernels.smooth_maximum(compute, memory, terms.smoothness) + serial
    return Timed(operator=operator, launch=launch, compute=compute, memory=memory, serial=serial, busy=busy)


def pass_seconds(operators: Iterable[Operator], machine: Machine, host_seconds: Numbers) -> Seconds:
    """Operators run one after the other; `host_seconds` come on top."""
    compute: Numbers = 0.0
    memory: Numbers = 0.0
    network: Numbers = 0.0
    host: Numbers = host_seconds
    for operator in operators:
        one = timed(operator, machine)
        if operator.component == "network":
            network = network + one.busy
            continue
        by_compute = one.busy * (one.compute > one.memory)
        compute = compute + by_compute
        memory = memory + (one.busy - by_compute)
        host = host + one.launch
    return Seconds(compute=compute, memory=memory, network=network, host=host)
