"""Typed look-ups in a config.json: each names the key, its value and what is allowed when it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from app.calculations.errors import InvalidInput
from app.calculations.huggingface.keys import (
    INLINED,
    IRRELEVANT,
    IRRELEVANT_BEGINNINGS,
    IRRELEVANT_ENDINGS,
    SPELLINGS,
)

#: Largest value believed, by meaning; anything else is held to `LARGEST`.
LIMITS = {
    "num_hidden_layers": 1_000,
    "hidden_size": 1_000_000,
    "vocab_size": 10_000_000,
    "num_experts": 100_000,
    "num_experts_per_tok": 100_000,
    "n_shared_experts": 1_000,
    "num_attention_heads": 100_000,
    "num_key_value_heads": 100_000,
    "max_position_embeddings": 1_000_000_000,
    "sliding_window": 1_000_000_000,
}
LARGEST = 10_000_000
#: Sizes whose spellings have to agree.
CORE_SIZES = frozenset(
    {
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "num_experts",
        "num_experts_per_tok",
    }
)


def shown(value: object) -> str:
    """A value as an error message quotes it: short, whatever was sent."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**24 else "an integer of more than 24 digits"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


class Config:
    """One config.json level, seen by meaning; remembers which keys were read and what had to be assumed.

    A key that is absent takes the class default of its family; a key that is null is None, not absent.
    """

    def __init__(self, values: Mapping[str, object], defaults: Mapping[str, object]) -> None:
        inlined: dict[str, object] = {}
        for name in INLINED:
            inner = values.get(name)
            if isinstance(inner, Mapping):
                inlined.update((key, value) for key, value in inner.items() if isinstance(key, str))
        self.values: dict[str, object] = {**inlined, **values}
        self.defaults = defaults
        self.read: set[str] = set(INLINED)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def spelled(self, meaning: str) -> str:
        """The key that states `meaning` here, or else its usual name."""
        present = [key for key in SPELLINGS.get(meaning, (meaning,)) if key in self.values]
        stated = [key for key in present if self.values[key] is not None]
        return (stated or present or [meaning])[0]

    def field(self, meaning: str) -> str:
        return f"config.{self.spelled(meaning)}"

    def states(self, meaning: str) -> bool:
        """Whether the file itself has the key (even as null)."""
        return any(key in self.values for key in SPELLINGS.get(meaning, (meaning,)))

    def get(self, meaning: str) -> object:
        """The value, None where null, the family's default where absent."""
        self.read.update(SPELLINGS.get(meaning, (meaning,)))
        return self.values[self.spelled(meaning)] if self.states(meaning) else self.defaults.get(meaning)

    def integer(self, meaning: str, *, minimum: int = 1) -> int | None:
        """A whole number within its limits, or None; a list of equal numbers (one a layer) counts as one."""
        value = self.get(meaning)
        if isinstance(value, list | tuple) and value and all(isinstance(entry, int) for entry in value):
            value = value[0] if len(set(value)) == 1 else value
        if value is None:
            return None
        if meaning in CORE_SIZES:
            self.warn_of_disagreement(meaning)
        return self.checked(self.field(meaning), value, minimum, LIMITS.get(meaning, LARGEST))

    def warn_of_disagreement(self, meaning: str) -> None:
        """Two spellings of one size with different values: says which one counts."""
        used = self.spelled(meaning)
        for key in SPELLINGS.get(meaning, ()):
            other = self.values.get(key)
            if isinstance(other, int) and other != self.values.get(used):
                self.warn(f"{key} {shown(other)} contradicts {used} {shown(self.values.get(used))}, which is used")

    def size(self, meaning: str, *, minimum: int = 1) -> int:
        """A whole number that has to be there."""
        value = self.integer(meaning, minimum=minimum)
        if value is None:
            state = "null" if self.states(meaning) else "missing"
            limit = LIMITS.get(meaning, LARGEST)
            raise InvalidInput(self.field(meaning), f"{self.spelled(meaning)} is {state}", f"{minimum} to {limit}")
        return value

    @staticmethod
    def checked(field: str, value: object, minimum: int, maximum: int) -> int:
        allowed = f"a whole number from {minimum} to {maximum}"
        key = field.removeprefix("config.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInput(field, f"{key} is {shown(value)}, not a whole number", allowed)
        if isinstance(value, float) and not (isfinite(value) and value.is_integer()):
            raise InvalidInput(field, f"{key} is {shown(value)}, not a whole number", allowed)
        if not minimum <= value <= maximum:
            raise InvalidInput(field, f"{key} is {shown(value)}, out of range", allowed)
        return int(value)

    def flag(self, meaning: str) -> bool:
        """True or false; null and absent without a default are false."""
        value = self.get(meaning)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise InvalidInput(
                self.field(meaning),
                f"{self.spelled(meaning)} is {shown(value)}, not a truth value",
                "true or false",
            )
        return value

    def rule(self, rule: str | bool) -> bool:
        """A trait: fixed by the family (a bool), or a key's value, or that of the first stated of "a|b"."""
        if isinstance(rule, bool):
            return rule
        keys = rule.split("|")
        return self.flag(next((key for key in keys if self.states(key)), keys[-1]))

    def choice(self, meaning: str, allowed: tuple[str, ...]) -> str | None:
        value = self.get(meaning)
        if value is None:
            return None
        if not isinstance(value, str) or value not in allowed:
            raise InvalidInput(
                self.field(meaning),
                f"{self.spelled(meaning)} is {shown(value)}",
                "one of " + ", ".join(allowed),
            )
        return value

    def items(self, meaning: str, length: int | None = None) -> list[object] | None:
        """A list, of exactly `length` entries where one is due."""
        value = self.get(meaning)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise InvalidInput(self.field(meaning), f"{self.spelled(meaning)} is {shown(value)}", "a list")
        if length is not None and len(value) != length:
            raise InvalidInput(
                self.field(meaning),
                f"{self.spelled(meaning)} has {len(value)} entries, the model has {length} layers",
                f"{length} entries",
            )
        return list(value)

    def indices(self, meaning: str, last: int) -> frozenset[int] | None:
        """A list of layer numbers from 0 to `last`."""
        entries = self.items(meaning)
        if entries is None:
            return None
        return frozenset(self.checked(self.field(meaning), entry, 0, last) for entry in entries)

    def ignore(self, *meanings: str) -> None:
        """Marks keys as understood that change nothing here."""
        for meaning in meanings:
            self.get(meaning)

    def unread(self) -> list[str]:
        """Keys that say something, were not read and are not known to be irrelevant to arithmetic."""
        return sorted(
            key
            for key, value in self.values.items()
            if isinstance(key, str)
            and key not in self.read
            and key not in IRRELEVANT
            and not key.endswith(IRRELEVANT_ENDINGS)
            and not key.startswith(IRRELEVANT_BEGINNINGS)
            and not (value is None or value is False or (isinstance(value, list | tuple | Mapping | str) and not value))
        )
