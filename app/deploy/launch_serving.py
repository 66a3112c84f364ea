"""What starts a replica of a plan: commands of vLLM, SGLang and TensorRT-LLM, each flag with what it is for.

Flags: vLLM 0.11 (docs.vllm.ai, "Engine Arguments"), SGLang 0.5 (docs.sglang.ai, "Server Arguments"), TensorRT-LLM 1.0
(`trtllm-serve --help`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.planning import requests_of

#: Launcher -> its label.
LAUNCHERS = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM"}
NARROW = "fp8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag with its value ("" for none) and what it is for."""

    name: str
    value: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.name} {self.value}".strip()


def command(launcher: str, inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> tuple[str, tuple[Flag, ...]]:
    """The words before the flags, and the flags. `inputs` and `plan` are those of a run of kind plan."""
    model = inputs["model"]
    start = {
        "vllm": f"vllm serve {model}",
        "sglang": f"python -m sglang.launch_server --model-path {model}",
        "trtllm": f"trtllm-serve {model}",
    }[launcher]
    makers = {"vllm": vllm, "sglang": sglang, "trtllm": trtllm}
    return start, tuple(makers[launcher](plan["layout"], plan, context_tokens(inputs)))


def snippet(launcher: str, inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """The command of one replica, a flag a line."""
    start, flags = command(launcher, inputs, plan)
    return " \\\n    ".join([start, *map(str, flags)])


def context_tokens(inputs: Mapping[str, Any]) -> int:
    """The longest class of requests, with as much again for those that are longer than its mean."""
    return 2 * max(one.tokens for one in requests_of(inputs))


def degrees(layout: Mapping[str, int], names: Mapping[str, str]) -> Iterator[Flag]:
    """A flag for each degree of parallelism above one."""
    meanings = {
        "tp": "GPUs that every matrix is cut over",
        "pp": "stages that the layers are cut into",
        "dp": "copies of the attention part",
        "ep": "GPUs that the experts are dealt out over",
    }
    for degree, name in names.items():
        if layout[degree] > 1:
            yield Flag(name=name, value=str(layout[degree]), meaning=meanings[degree])


def in_flight(plan: Mapping[str, Any]) -> str:
    return str(max(1, round(plan["requests_in_flight_per_replica"] / plan["layout"]["dp"])))


def vllm(layout: Mapping[str, int], plan: Mapping[str, Any], context: int) -> Iterator[Flag]:
    names = {"tp": "--tensor-parallel-size", "pp": "--pipeline-parallel-size", "dp": "--data-parallel-size"}
    yield from degrees(layout, names)
    if layout["ep"] > 1:
        yield Flag(name="--enable-expert-parallel", value="", meaning="experts whole, dealt out over the GPUs")
    if plan["weight_precision"] == NARROW:
        yield Flag(name="--quantization", value=NARROW, meaning="weights and products in FP8")
    if plan["kv_precision"] == NARROW:
        yield Flag(name="--kv-cache-dtype", value=NARROW, meaning="keys and values in FP8")
    yield Flag(name="--max-num-seqs", value=in_flight(plan), meaning="requests that run at once")
    yield Flag(name="--max-model-len", value=str(context), meaning="longest prompt with its output")


def sglang(layout: Mapping[str, int], plan: Mapping[str, Any], context: int) -> Iterator[Flag]:
    shared = layout["dp"] > 1
    sizes = {"tp": layout["tp"] * layout["dp"], "pp": layout["pp"], "dp": layout["dp"], "ep": layout["ep"]}
    yield from degrees(sizes, {"tp": "--tp-size", "pp": "--pp-size", "dp": "--dp-size", "ep": "--ep-size"})
    if shared:
        yield Flag(name="--enable-dp-attention", value="", meaning="attention in copies, experts shared")
    if plan["weight_precision"] == NARROW:
        yield Flag(name="--quantization", value=NARROW, meaning="weights and products in FP8")
    if plan["kv_precision"] == NARROW:
        yield Flag(name="--kv-cache-dtype", value="fp8_e4m3", meaning="keys and values in FP8")
    yield Flag(name="--max-running-requests", value=in_flight(plan), meaning="requests that run at once")
    yield Flag(name="--context-length", value=str(context), meaning="longest prompt with its output")


def trtllm(layout: Mapping[str, int], plan: Mapping[str, Any], context: int) -> Iterator[Flag]:
    sizes = {"tp": layout["tp"] * layout["dp"], "pp": layout["pp"], "ep": layout["ep"]}
    yield from degrees(sizes, {"tp": "--tp_size", "pp": "--pp_size", "ep": "--ep_size"})
    yield Flag(name="--max_batch_size", value=in_flight(plan), meaning="requests that run at once")
    yield Flag(name="--max_seq_len", value=str(context), meaning="longest prompt with its output")
