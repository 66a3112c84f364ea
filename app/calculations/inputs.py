"""What an input is: declared once, parsed the same way for the form, the command line, the API and the window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.calculations.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One question to the user. `kind` is "integer", "number", "choice", "flag", "text" or "name".

    "text" is taken as it is. A "name" is looked up in the catalogue named by `catalogue` ("models", "gpus", "engines",
    "grids", "calibrations").
    `words` are accepted beside a number ("auto", "saturated"). A default of None means automatic.
    """

    name: str
    label: str
    help: str
    group: str
    kind: str
    unit: str = ""
    default: Any = None
    minimum: float = 0
    maximum: float = math.inf
    choices: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    catalogue: str = ""
    placeholder: str = ""
    #: Where a slider beside the box begins and ends, and its stops per doubling (1 or 2); empty: no slider.
    slider: tuple[int, ...] = ()

    @property
    def may_be_custom(self) -> bool:
        """Whether the word custom stands for something described by hand."""
        return self.catalogue in ("models", "gpus")

    @property
    def allowed(self) -> str:
        """What is accepted, in words."""
        if self.choices:
            return ", ".join(value for value, _ in self.choices)
        if self.kind == "flag":
            return "true or false"
        if self.kind == "name":
            return f"a name of the {self.catalogue} list{', or custom' if self.may_be_custom else ''}"
        if self.kind == "text":
            return "text of up to 200 characters"
        number = "a whole number" if self.kind == "integer" else "a number"
        limits = f"{number} from {self.minimum:,} to {self.maximum:,}"
        if self.unit:
            limits += f" ({self.unit})"
        words = "".join(f", or {word}" for word in self.words)
        return limits + words + (", or nothing for automatic" if self.default is None else "")

    def parse(self, raw: object) -> Any:
        """The typed value of what was typed; the default where nothing was. Raises InvalidInput."""
        if raw is None or (isinstance(raw, str) and not raw.strip()):
            return self.default
        if self.kind in ("integer", "number"):
            return self._parse_number(raw)
        if self.kind == "flag":
            return self._parse_flag(raw)
        if not isinstance(raw, str):
            raise self.refuse(raw, "is not text")
        text = raw.strip()
        if self.kind == "choice" and text not in (value for value, _ in self.choices):
            raise self.refuse(raw, "is not one of the choices")
        if len(text) > 200:
            raise self.refuse(raw, "is too long")
        return text

    def refuse(self, raw: object, why: str) -> InvalidInput:
        """The exception that names this input, the value and what is allowed."""
        return InvalidInput(self.name, f"{self.label}: {shown(raw)} {why}.", self.allowed)

    def _parse_flag(self, raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        known = {"true": True, "yes": True, "on": True, "1": True, "y": True,
                 "false": False, "no": False, "off": False, "0": False, "n": False}  # fmt: skip
        if isinstance(raw, str) and raw.strip().lower() in known:
            return known[raw.strip().lower()]
        raise self.refuse(raw, "is neither true nor false")

    def _parse_number(self, raw: object) -> float | int | str:
        if isinstance(raw, str):
            text = raw.strip()
            if text.lower() in self.words:
                return text.lower()
            try:
                value = float(text.replace(",", "").replace("_", "")) if len(text) <= 60 else math.nan
            except ValueError:
                raise self.refuse(raw, "is not a number") from None
        elif isinstance(raw, bool) or not isinstance(raw, int | float):
            raise self.refuse(raw, "is not a number")
        else:
            try:
                value = float(raw)
            except OverflowError:
                value = math.inf
        if not math.isfinite(value):
            raise self.refuse(raw, "is not a finite number")
        if not self.minimum <= value <= self.maximum:
            raise self.refuse(raw, "is out of range")
        if self.kind == "integer":
            if value != int(value):
                raise self.refuse(raw, "is not a whole number")
            return int(value)
        return value


def shown(raw: object) -> str:
    """What was given, in at most 60 characters."""
    try:
        text = repr(raw)
    except (ValueError, RecursionError):
        return "a number of thousands of digits" if isinstance(raw, int) else "a deeply nested value"
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Declaration:
    """What a class says of one of its inputs, which has the attribute's name."""

    said: Mapping[str, Any]


def declared(**declaration: Any) -> Any:
    """An attribute that declares an input of its name."""
    return Declaration(declaration)


def inputs_of(owner: type) -> Mapping[str, Input]:
    """The inputs that a class declares, by name, in the order of declaration."""
    return {name: Input(name=name, **one.said) for name, one in vars(owner).items() if isinstance(one, Declaration)}
