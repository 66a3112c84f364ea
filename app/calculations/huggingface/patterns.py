"""Module-name patterns of quantised checkpoints: exact names, globs and "re:" regular expressions.

Patterns come from files of strangers, so an expression is used only if it cannot take long: Python's parser
takes it apart, and nested repeats, back references or more than two open repeats are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate

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
LAYER_ALIASES = re.compile(r"^(?:h|blocks|block)\.(?=\d|\*)")
#: Key of globs with a number elsewhere.
ANY_LAYER = "any"
LONGEST = 300
MOST_PATTERNS = 200_000
MOST_EXPRESSIONS = 24
#: Expressions with digits are tried on each layer, others on each kind of layer.
MOST_BY_LAYER = 8
OPEN_REPEATS = 3
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
        number = LAYER_NUMBER.match(entry)
        # Filed by layer where the number is followed by a dot: "layers.1*" also means layer 17.
        key = number[1] if number and entry[number.end() :].startswith(".") else ""
        if not key and has_digit(entry):
            key = ANY_LAYER
        self.globs.setdefault(key, []).append(re.compile(translate(entry)))

    def add_expression(self, text: str) -> None:
        layered = sum(has_digit(expression.pattern) for expression in self.expressions)
        too_many = len(self.expressions) >= MOST_EXPRESSIONS or (has_digit(text) and layered >= MOST_BY_LAYER)
        if too_many or not is_quick(text):
            self.refused.append(f"re:{text}")
        else:
            self.expressions.append(re.compile(text))

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


def runs(name: str) -> set[str]:
    """All dotted parts of a name: "a.b.c" -> a, b, c, a.b, b.c, a.b.c."""
    parts = name.split(".")
    count = len(parts)
    return {".".join(parts[i:j]) for i in range(count) for j in range(i + 1, count + 1)}


def is_quick(text: str) -> bool:
    """Whether a regular expression can be matched in time about linear in the name."""
    try:
        parsed = _parser.parse(text)
        re.compile(text)
    except (re.error, OverflowError, RecursionError, ValueError):
        return False
    repeats = open_repeats(parsed, inside=False)
    return repeats is not None and repeats <= OPEN_REPEATS


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
