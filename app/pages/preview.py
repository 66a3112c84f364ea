"""The fragment that stands beside the form while it is edited: verdict, memory, key numbers, or what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.command_line.report_training import layout_text, remedies
from app.pages import memory_bar, result, train
from app.pages.memory_bar import Bar
from app.pages.result import Metric

#: The verdict in a word, by `result_page.state`.
WORDS = {"fits": "Fits", "tight": "Tight", "no": "Does not fit"}
#: Key numbers in order: what each is called here, its heading and its key in the METRICS of result pages.
SERVING = (
    ("Time to first token", "Latency", "ttft_ms"),
    ("Time per output token", "Latency", "tpot_ms"),
    ("Output per user", "Throughput", "output_tokens_per_s_per_user"),
    ("Output in total", "Throughput", "output_tokens_per_s"),
    ("Cost per hour", "Cost", "usd_per_hour"),
    ("Cost of 1M output tokens", "Cost", "usd_per_million_output_tokens"),
    ("Most requests at once", "Capacity", "max_concurrency"),
    ("Energy per output token", "Energy", "energy_j_per_token"),
)
#: Those of training: heading and label in train.METRICS.
TRAINING = (
    ("Speed", "Step"), ("Speed", "Tokens in total"), ("Utilization", "MFU"), ("Memory", "Peak, as nvidia-smi"),
    ("Run", "Time"), ("Run", "Cost"), ("Run", "Energy"), ("Run", "Carbon"),
)  # fmt: skip


@dataclass(frozen=True)
class Preview:
    """What the template needs of an answer."""

    state: str
    verdict: str
    bar: Bar
    metrics: list[Metric]
    layout: str
    reason: str
    notes: list[str]

    @property
    def words(self) -> str:
        return WORDS[self.state]


def of_serving(results: Mapping[str, Any]) -> Preview:
    by_key = result.metrics_by_key(results)
    return Preview(
        state=result.state(results),
        verdict=results["verdict"],
        bar=memory_bar.of_serving(results),
        metrics=[replace(by_key[heading, key], label=label) for label, heading, key in SERVING],
        layout=results["layout"]["strategy"],
        reason=results["layout"]["reason"],
        notes=[*results["remedies"][:3], *results["warnings"][:3]],
    )


def of_training(results: Mapping[str, Any]) -> Preview:
    by_label = {(heading, one.label): one for heading, ones in train.metrics(results).items() for one in ones}
    return Preview(
        state=train.state(results),
        verdict=results["verdict"],
        bar=memory_bar.of_training(results),
        metrics=[by_label[one] for one in TRAINING],
        layout=layout_text(results["layout"]),
        reason=f"{len(results['layouts'])} layouts were compared.",
        notes=[*remedies(results["remedies"][:3]), *results["warnings"][:3]],
    )
