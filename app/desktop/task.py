"""What the window can be asked: a task with its inputs and its door. Its answer is plain data, made off Tk's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.calculations.inputs import Input
from app.history.run_log import Run
from app.pages.result import MemoryRow, Metric


@dataclass(frozen=True, slots=True)
class Ranking:
    """What was weighed, the chosen one first: headings, and the cells of each row."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Launch:
    """What starts it with one piece of software, or why that cannot."""

    title: str
    text: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All that the window shows of a run."""

    run: Run
    verdict: str
    #: fits, tight or no: the colour of the verdict.
    state: str
    subject: str
    #: The numbers that are large.
    tiles: Sequence[Metric]
    #: The fullest GPU, as the memory table of the page has it; empty where the answer is not about one GPU.
    memory: Sequence[MemoryRow] = ()
    advice: Sequence[str]
    #: Heading -> its numbers.
    numbers: Mapping[str, Sequence[Metric]]
    #: Heading -> what is to be said of its numbers.
    notes: Mapping[str, str] = field(default_factory=dict)
    ranking: Ranking
    launches: Sequence[Launch]
    #: What the command line prints.
    report: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A question that the window asks."""

    #: The kind of its runs in the log, and its command on the command line.
    kind: str
    label: str
    inputs: Mapping[str, Input]
    groups: Mapping[str, tuple[str, bool]]
    #: Block of the form -> its groups of inputs. The last takes every group that no other names.
    blocks: Mapping[str, Sequence[str]]
    #: What was typed -> a run that is not logged yet. Raises InvalidInput.
    door: Callable[..., Run]
    is_complete: Callable[[Mapping[str, Any]], bool]
    describe: Callable[[Run], Answer]
    #: Logged inputs -> what would be typed to repeat them.
    typed: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict

    def groups_of(self, block: str) -> list[str]:
        """The groups of a block in the order in which they are shown."""
        if block != list(self.blocks)[-1]:
            return list(self.blocks[block])
        named = {group for groups in self.blocks.values() for group in groups}
        return [*self.blocks[block], *(group for group in self.groups if group not in named)]
