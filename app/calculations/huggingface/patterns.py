"""Module-name patterns of quantised checkpoints: exact names, globs and "re:" regular expressions.

Patterns come from files of strangers, so an expression is used only if it cannot take long: Python's parser
takes it apart, and nested repeats, back references or more than three open repeats are refused. What is left
has a price (`steps`), so that a caller can refuse lists that would take long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import lru_cache

# The module that compiles re's patterns; typeshed does not describe it.
from re import _parser  # type: ignore[attr-defined]
from typing import Any

#: What wraps a language model in front of "layers" and "lm_head".
WRAPPERS = re.compile(
    r"^(?:(?:model|language_model|transformer|backbone|thinker|text_model|llm|gpt_neox|decoder|encoder)\.)+"
)
#: The same as an expression that begins with a name may expect it.
WRAPPED = ("model.", "", "language_model.model.", "model.language_model.", "backbone.")
LAYER_NUMBER = re.compile(r"^layers\.(\d+)(?=\.|$)")
OPEN_NUMBER = re.compile(r"^layers\.(\d+)\*")
LAYER_ALIASES = re.compile(r"^(?:h|blocks|block)\.(?=\d|\*)")
#: Key of globs with a number elsewhere.
ANY_LAYER = "any"
LONGEST = 300
MOST_PATTERNS = 200_000
MOST_EXPRESSIONS = 1_000
OPEN_REPEATS = 3
#: Rough steps of one comparison, by the number of open repeats, and of a glob; a name has about 45 letters.
STEPS = (45, 100, 1_000, 15_000)
GLOB_STEPS = 200
MOST_BRANCHES = 100


def canonical(pattern: str) -> str:
    """A module name without the wrapper's prefix: "model.language_model.layers.0" -> "layers.0"."""
    return LAYER_ALIASES.sub("layers.", WRAPPERS.sub("", pattern))


def has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


class Patterns:
    """A list of patterns, sorted by how they are looked up. `refused` are those that were not understood."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.exact: set[str] = set()
        self.globs: dict[str, list[re.Pattern[str]]] = {}
        self.expressions: list[re.Pattern[str]] = []
        self.refused: list[str] = []
        #: Rough steps of looking one name up.
        self.steps = 0
        for count, entry in enumerate(entries):
            if len(entry) > LONGEST or count >= MOST_PATTERNS:
                self.refused.append(entry)
            elif entry.startswith("re:"):
                self.add_expression(entry.removeprefix("re:"))
            elif "*" in entry or "?" in entry:
                self.add_glob(canonical(entry))
            elif entry:
                self.exact.add(canonical(entry))

    @property
    def by_layer(self) -> bool:
        """Whether layers of one kind can differ: a pattern has a number in it."""
        texts = [*self.exact, *(expression.pattern for expression in self.expressions)]
        return any(self.globs) or any(has_digit(text) for text in texts)

    def add_glob(self, entry: str) -> None:
        compiled = re.compile(translate(entry))
        open_number, number = OPEN_NUMBER.match(entry), LAYER_NUMBER.match(entry)
        if open_number:
            # "layers.1*" means layer 17 too.
            keys = [key for key in map(str, range(1_000)) if key.startswith(open_number[1])]
        elif number:
            keys = [number[1]]
        else:
            keys = [ANY_LAYER if has_digit(entry) else ""]
            self.steps += GLOB_STEPS
        for key in keys:
            self.globs.setdefault(key, []).append(compiled)

    def add_expression(self, text: str) -> None:
        repeats = repeats_of(text)
        if repeats is None or len(self.expressions) >= MOST_EXPRESSIONS:
            self.refused.append(f"re:{text}")
        else:
            self.expressions.append(re.compile(text))
            self.steps += STEPS[repeats] * (1 if text.startswith(".*") else len(WRAPPED))

    def select(self, names: Sequence[str]) -> bool:
        """Whether any of a module's names is meant: itself, a part of it or a module around it."""
        return any(self.selects(name) for name in names)

    def selects(self, name: str) -> bool:
        if self.exact and not self.exact.isdisjoint(runs(name)):
            return True
        number = LAYER_NUMBER.match(name)
        for key in {"", ANY_LAYER, number[1] if number else ""}:
            for glob in self.globs.get(key, ()):
                if glob.match(name) or glob.match(f"model.{name}"):
                    return True
        return any(
            expression.match(prefix + name)
            for expression in self.expressions
            for prefix in (WRAPPED[:1] if expression.pattern.startswith(".*") else WRAPPED)
        )


@lru_cache(maxsize=50_000)
def runs(name: str) -> frozenset[str]:
    """All dotted parts of a name: "a.b.c" -> a, b, c, a.b, b.c, a.b.c."""
    parts = name.split(".")
    count = len(parts)
    return frozenset(".".join(parts[i:j]) for i in range(count) for j in range(i + 1, count + 1))


def repeats_of(text: str) -> int | None:
    """Open repeats of an expression; None where it cannot be used."""
    try:
        parsed = _parser.parse(text)
        re.compile(text)
    except (re.error, OverflowError, RecursionError, ValueError):
        return None
    repeats = open_repeats(parsed, inside=False)
    return None if repeats is None or repeats > OPEN_REPEATS else repeats


def open_repeats(parsed: Any, *, inside: bool) -> int | None:
    """Number of open repeats (one at the very end is free), None where one contains another or it is not understood."""
    total = 0
    items = list(parsed)
    for index, (operator, argument) in enumerate(items):
        name = str(operator)
        inner: list[Any] = []
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            _, most, body = argument
            wide = most is None or int(most) > 1
            if inside and wide:
                return None
            if wide and not (index == len(items) - 1 and not inside):
                total += 1
            found = open_repeats(body, inside=inside or wide)
            if found is None:
                return None
            total += found
            continue
        if name == "SUBPATTERN":
            inner = [argument[3]]
        elif name == "BRANCH":
            inner = list(argument[1])
            if len(inner) > MOST_BRANCHES:
                return None
        elif name in ("ASSERT", "ASSERT_NOT"):
            inner = [argument[1]]
        elif name not in ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"):
            return None
        for body in inner:
            found = open_repeats(body, inside=inside)
            if found is None:
                return None
            total += found
    return total
