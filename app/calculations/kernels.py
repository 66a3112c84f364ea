"""Seconds of one GPU kernel as a function of its shape: compact curves through measured operator latencies.

Every curve is launch + smooth maximum of compute and memory time + a serial part. Its constants stand in
`app/data/kernels.csv` by GPU generation, kernel, library and format; they were fitted to the operator latencies of
NVIDIA's aiconfigurator-core 0.12.0 (Apache-2.0). S is the number of multiprocessors. Shapes may be arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from app.calculations.arrays import Numbers, is_zero, larger, smaller, where

#: Rows and columns of an output tile of a matrix product, and of a query block of attention.
TILE = 128
#: Smallest number of rows that a tensor core multiplies at once.
SMALLEST_ROWS = 16

#: Scores, mask, softmax and values as kernels of their own.
UNFUSED_KERNELS = 4

#: Constants of one kernel in SI units, by name.
Constants = Mapping[str, float]


class Terms(NamedTuple):
    """What the seconds of a kernel are made of: launch + (compute^p + memory^p)^(1/p) + serial."""

    launch: Numbers = 0.0
    compute: Numbers = 0.0
    memory: Numbers = 0.0
    serial: Numbers = 0.0
    smoothness: float = 2.0

    @property
    def seconds(self) -> Numbers:
        return self.launch + smooth_maximum(self.compute, self.memory, self.smoothness) + self.serial


def smooth_maximum(a: Numbers, b: Numbers, p: float) -> Numbers:
    """(a^p + b^p)^(1/p): the larger of two, with imperfect overlap near a = b."""
    if is_zero(a):
        return b
    return a if is_zero(b) else (a**p + b**p) ** (1 / p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """What the curves need to know of a GPU: peaks by format in FLOP/s, bytes/s, multiprocessors."""

    peaks: Mapping[str, float] = field(hash=False)
    bytes_per_second: float
    multiprocessors: float

    def peak(self, name: str) -> float:
        return self.peaks[name]


def matrix_product(
    rows: Numbers, columns: Numbers, inner: Numbers, weight_bytes: Numbers, peak: float, chip: Chip, c: Constants
) -> Terms:
    """rows x inner times inner x columns.

    Tiles of 128 x 128, plus `q` waves of one tile on every multiprocessor (wave quantisation, the serial loop over
    `inner`); memory reads the weights once and the activations `u` bytes per element, quantisation pass included.
    """
    one_tile = 2 * TILE * TILE * inner / peak
    tiles = larger(rows, SMALLEST_ROWS) * larger(columns, TILE) / (TILE * TILE)
    moved = weight_bytes + c["u"] * rows * inner + 2 * rows * columns
    return Terms(
        launch=c["t0"],
        compute=one_tile * (tiles / c["ec"] + c["q"] * chip.multiprocessors),
        memory=moved / (c["em"] * chip.bytes_per_second),
    )


def prefill_attention(
    sequences: Numbers,
    heads: float,
    kv_heads: float,
    new_tokens: Numbers,
    pairs: Numbers,
    width: float,
    peak: float,
    chip: Chip,
    c: Constants,
) -> Terms:
    """Causal attention of `new_tokens` per sequence; `pairs` are the query-key pairs of one of them.

    `h0` is the softmax in equivalent head dimensions, `crit` the longest query tile on one multiprocessor, `tau`
    the cost of a block, `u` the passes over Q, K, V and O.
    """
    size = width + c["h0"]
    work = 4 * sequences * heads * (pairs + new_tokens * TILE / 2) * size / peak
    longest = 4 * TILE * chip.multiprocessors * last_context(pairs, new_tokens) * size / peak
    blocks = sequences * heads * (new_tokens / TILE + 0.5) / chip.multiprocessors
    passes = c["u"] * sequences * new_tokens * (2 * heads + 2 * kv_heads) * width * 2 / chip.bytes_per_second
    return Terms(
        launch=c["t0"], compute=work / c["ec"] + c["q"] * longest, serial=c["tau"] * blocks + passes, smoothness=1.0
    )


def last_context(pairs: Numbers, new_tokens: Numbers) -> Numbers:
    """Tokens that the last query attends to: n + 1 for n without a cache, c + n + 1 after c cached ones."""
    mean = pairs / new_tokens
    return smaller(mean * 2, mean + (new_tokens + 1) / 2)


def decode_attention(
    sequences: Numbers,
    heads: float,
    kv_heads: float,
    context: Numbers,
    cache_bytes: Numbers,
    width: float,
    peak: float,
    chip: Chip,
    c: Constants,
) -> Terms:
    """One query per sequence against `context` cached tokens, `cache_bytes` over all sequences.

    `tb` is the time of one block (sequence x key/value head), `t1` and `c0` the serial part of split-K.
    """
    moved = cache_bytes + 4 * c["u"] * sequences * (heads + kv_heads) * width
    blocks = c["tb"] * sequences * kv_heads / chip.multiprocessors
    memory = smooth_maximum(moved / (c["em"] * chip.bytes_per_second), blocks, 2)
    rows = kv_heads * larger(heads / kv_heads, SMALLEST_ROWS)
    return Terms(
        launch=c["t0"],
        compute=4 * sequences * rows * context * width / (c["ec"] * peak),
        memory=memory,
        serial=c["t1"] * context / (context + c["c0"]),
        smoothness=3.0,
    )


def latent_prefill(
    sequences: Numbers,
    heads: float,
    new_tokens: Numbers,
    pairs: Numbers,
    width: float,
    peak: float,
    chip: Chip,
    c: Constants,
) -> Terms:
    """MLA with expanded heads; `width` is key plus value width of a head (192 + 128 in DeepSeek-V3)."""
    work = 2 * sequences * heads * (pairs + new_tokens * TILE / 2) * width / peak
    longest = 2 * TILE * chip.multiprocessors * last_context(pairs, new_tokens) * width / peak
    blocks = sequences * heads * (new_tokens / TILE + 0.5) / chip.multiprocessors
    passes = c["u"] * sequences * new_tokens * heads * 2 * width * 2 / chip.bytes_per_second
    return Terms(
        launch=c["t0"], compute=work / c["ec"] + c["q"] * longest, serial=c["tau"] * blocks + passes, smoothness=1.0
    )


def latent_decode(
    sequences: Numbers,
    heads: float,
    context: Numbers,
    cache_bytes: Numbers,
    width: float,
    peak: float,
    chip: Chip,
    c: Constants,
) -> Terms:
    """MLA on the latent, shared by all heads; `width` is twice the latent's rank plus the rotary part."""
    moved = cache_bytes + c["u"] * sequences * heads * width * 2
    blocks = c["tb"] * sequences * (heads / 64 + 0.5) / chip.multiprocessors
    memory = smooth_maximum(moved / (c["em"] * chip.bytes_per_second), blocks, 2)
    return Terms(
        launch=c["t0"],
        compute=2 * sequences * larger(heads, SMALLEST_ROWS) * context * width / (c["ec"] * peak),
        memory=memory,
        serial=c["t1"] * context / (context + c["c0"]),
        smoothness=3.0,
    )


def expert_products(
    pairs: Numbers,
    busiest: Numbers,
    touched: Numbers,
    elements: float,
    weight_bytes: float,
    hidden: float,
    width: float,
    all_pairs: Numbers,
    peak: float,
    chip: Chip,
    c: Constants,
) -> Terms:
    """The grouped products of a layer's routed experts on one rank.

    `pairs` (token, expert) pairs land on the average rank and `busiest` on the fullest; `touched` of its experts
    are read, of `elements` weights and `weight_bytes` each; `all_pairs` are routed over all ranks. `te` is the
    scheduling of an expert, `tr` of a thousand pairs, `u` the permute, quantise and finalise passes.
    """
    hot = pairs * (busiest / pairs) ** c["im"]
    flops = 2 * elements * (hot + SMALLEST_ROWS * touched)
    wave = c["q"] * chip.multiprocessors * 2 * TILE * TILE * (hidden + width)
    passes = 2 * c["u"] * hot * (hidden + width) / chip.bytes_per_second
    return Terms(
        launch=c["t0"],
        compute=(flops / c["ec"] + wave) / peak,
        memory=touched * weight_bytes / (c["em"] * chip.bytes_per_second),
        serial=passes + c["te"] * touched + c["tr"] * all_pairs / 1000,
    )


def recurrent_scan(flops: Numbers, moved: Numbers, longest: Numbers, peak: float, chip: Chip, c: Constants) -> Terms:
    """State update of a linear-attention or state-space layer: `longest` tokens of one sequence run in order."""
    return Terms(
        launch=c["t0"],
        compute=flops / (c["ec"] * peak),
        memory=c["us"] * moved / chip.bytes_per_second,
        serial=where(longest > 1, c["ts"] * longest / 1000, 0.0 * longest),
    )


def elementwise(kernels: float, moved: Numbers, chip: Chip, c: Constants) -> Terms:
    """`kernels` small kernels (norms, residuals, activations, sampling) that only move bytes."""
    return Terms(launch=kernels * c["t0"], memory=moved / (c["em"] * chip.bytes_per_second))


def soft_minimum(a: Numbers, b: Numbers) -> Numbers:
    """The switch between two algorithms: (a^-6 + b^-6)^(-1/6)."""
    least = smaller(a, b)
    square = (least / larger(a, b)) ** 2
    return least * (1 + square * square * square) ** (-1 / 6)  # Powers of arrays are slow: one instead of three.


def reduce_wire(message_bytes: Numbers, gpus: int, in_network: bool) -> Numbers:
    """Bytes that a GPU sends for an all-reduce: 2 (n-1)/n of the message, (n+1)/n where the switch adds (NVLS)."""
    ring = 2 * (gpus - 1) / gpus
    return message_bytes * (min(ring, (gpus + 1) / gpus) if in_network else ring)


def custom_all_reduce(
    message_bytes: Numbers, gpus: int, link_bytes_per_second: float, in_network: bool, c: Constants
) -> Numbers:
    """One-shot (everybody reads all) or two-shot, whichever is faster; `g` is contention between GPUs."""
    rate = link_bytes_per_second * (gpus / 2) ** -c["g"]
    start = c["a"] + c["b"] * (gpus - 2)
    one_shot = start + (gpus - 1) * message_bytes / (c["e1"] * rate)
    two_shot = start + c["a2"] + reduce_wire(message_bytes, gpus, in_network) / (c["e2"] * rate)
    return soft_minimum(one_shot, two_shot)


def ring_collective(wire_bytes: Numbers, gpus: int, link_bytes_per_second: float, c: Constants) -> Numbers:
    """NCCL: low-latency protocol or simple one, whichever is faster. Latency grows with log2 n."""
    from math import log2

    rate = link_bytes_per_second * (gpus / 2) ** -c["g"]
    steps = log2(gpus) - 1
    eager = c["a"] + c["b"] * steps + wire_bytes / (c["e1"] * rate)
    simple = c["a"] + c["a2"] + (c["b"] + c["b2"]) * steps + wire_bytes / (c["e2"] * rate)
    return soft_minimum(eager, simple)


def unfused(fused: Terms, score_bytes: Numbers, chip: Chip) -> Terms:
    """Attention that writes its score matrix to memory and reads it back."""
    return Terms(
        launch=fused.launch * UNFUSED_KERNELS,
        compute=fused.compute,
        memory=fused.memory,
        serial=fused.serial + score_bytes / chip.bytes_per_second,
        smoothness=fused.smoothness,
    )
