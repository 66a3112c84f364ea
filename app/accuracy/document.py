"""The tables of docs/accuracy.md that are made from the data, between two marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from app import catalog, formatting
from app.accuracy import crossvalidated, page
from app.accuracy.crossvalidated import TAGS, Accuracy
from app.accuracy.query import Query
from app.accuracy.scoring import Figures
from app.calculations.errors import InvalidInput
from app.calculations.uncertainty import ANY, NEARNESS

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "accuracy.md"
BEGIN = "<!-- Made by python -m app accuracy: begin -->"
END = "<!-- Made by python -m app accuracy: end -->"
FIGURES = ("rows", "median", "P90", "bias", "predicted", "in range")


def updated(text: str, data: Accuracy | None) -> str:
    """The document with its tables made anew. Raises InvalidInput where it lacks the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InvalidInput("document", f"{DOCUMENT.name} lacks the lines {BEGIN!r} and {END!r}.")
    return "\n".join([before + BEGIN, "", *tables(data), "", END]) + after


def tables(data: Accuracy | None) -> Iterator[str]:
    if data is None:
        yield "Not calibrated yet: `app/data/accuracy.csv.gz` is not there."
        return
    yield from headline(data)
    yield from nearness(data)
    yield from causes(data)
    yield from by_source(data)
    yield from worst(data)
    yield from ranges()


def headline(data: Accuracy) -> Iterator[str]:
    sources = len(data.facets["source"].values)
    yield (
        f"{formatting.integer(len(data))} measurements of {sources} sources. Every figure is cross-validated: a"
        " prediction was made by a fit that left out all measurements of the same model on the same GPU. Ours, roofline"
        " (weights and cache over bandwidth, operations over peak, at one flat efficiency; the board's power limit; in"
        " training 6 FLOPs per parameter and token at an MFU of 40 %) and"
        " the best other tool: mean over the sources of their medians; the rest: all rows together."
    )
    yield ""
    yield from heads("measured", "ours", "sources", "roofline", "best other tool", *FIGURES)
    for row in page.headline_rows(data):
        other = row.other
        yield line(
            row.label,
            share(row.ours.mean_of_source_medians),
            str(row.ours.sources),
            share(row.roofline.mean_of_source_medians),
            f"{share(other.error)} on {share(other.coverage)} of rows ({other.tool})" if other else formatting.NOTHING,
            *cells(row.ours.pooled),
        )


def nearness(data: Accuracy) -> Iterator[str]:
    yield from heading("By how near the fitted data were")
    yield from heads("measured", *(word for tag in TAGS for word in (tag, "rows")))
    for label, found in page.tag_rows(data):
        shown = (
            (share(one.median), formatting.integer(one.rows)) if one is not None else (formatting.NOTHING, "0")
            for one in found
        )
        yield line(label, *(cell for pair in shown for cell in pair))


def causes(data: Accuracy) -> Iterator[str]:
    yield from heading("What is left, by cause")
    yield (
        "The same headline, over engines with at least"
        f" {page.LEAST_OF_PAIR} rows of a model on an accelerator in a source, and what is left of it where the median"
        " ratio of those rows is known: the first less the second is what one's own measurement of the pair would tell"
        " (`calibrate --save`): kernels, version and settings. The rest is how length, batch and layout are modelled,"
        " and the scatter of the measurements."
    )
    yield ""
    yield from heads("measured", "pair not seen", "its median ratio known")
    for row in page.cause_rows(data):
        yield line(row.label, share(row.error), share(row.within_pair))


def by_source(data: Accuracy) -> Iterator[str]:
    yield from heading("By source")
    yield from heads("measured", "source", *FIGURES)
    for name, rows in page.source_rows(data, Query()).items():
        for row in rows:
            yield line(page.class_label(name), row.source or "all", *cells(row.figures))


def worst(data: Accuracy) -> Iterator[str]:
    yield from heading("Where not to trust it")
    without, gpus = page.unmeasured(data)
    yield (
        f"Groups of at least {page.LEAST_GROUP} predictions, not chosen by hand: the"
        f" {page.MOST_WORST} largest median errors and the {page.MOST_WORST} ranges that hold least,"
        f" by source, engine and GPU. {without} of {gpus} accelerators have no measurement at all."
    )
    yield ""
    yield from heads("group", "name", "measured", *FIGURES)
    for facet, rows in page.worst_rows(data).items():
        for row in rows:
            yield line(page.COMPARED[facet], row.label, row.class_label, *cells(row.figures))


def ranges() -> Iterator[str]:
    yield from heading("The ranges beside the estimates")
    yield from heads("metric", "engine", "nearness", "low", "high", "rows", "pairs", "inside")
    for key, found in sorted(catalog.spreads().items(), key=lambda item: range_order(*item[0])):
        yield line(
            *key,
            f"{found.low:.2f}",
            f"{found.high:.2f}",
            formatting.integer(found.rows),
            formatting.integer(found.groups),
            share(found.coverage),
        )


def range_order(metric_class: str, engine: str, nearness: str) -> tuple[str, bool, str, int]:
    """By metric, engines by name, all engines last; the nearest first."""
    return metric_class, engine == ANY, engine, NEARNESS.index(nearness)


def heading(words: str) -> Iterator[str]:
    yield from ("", f"### {words}", "")


def heads(*names: str) -> Iterator[str]:
    yield line(*names)
    yield "|" + "---|" * len(names)


def cells(found: Figures) -> Sequence[str]:
    return (
        formatting.integer(found.rows),
        share(found.median),
        share(found.p90),
        formatting.NOTHING if found.bias is None else page.signed_percent(found.bias),
        share(found.coverage),
        share(found.within_range),
    )


def share(value: float | None) -> str:
    return formatting.NOTHING if value is None else formatting.percent(value)


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def write(*, check: bool) -> bool:
    """Make the tables of the document anew, unless it is only to be checked; whether they had been stale."""
    try:
        text = DOCUMENT.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput("document", f"{DOCUMENT} cannot be read: {error.strerror}.") from None
    made = updated(text, crossvalidated.current())
    if made != text and not check:
        try:
            DOCUMENT.write_text(made, encoding="utf-8")
        except OSError as error:
            raise InvalidInput("document", f"{DOCUMENT} cannot be written: {error.strerror}.") from None
    return made != text
