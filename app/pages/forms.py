"""The form, made from the declared inputs: text in, the core's own rules, messages beside the fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, ClassVar

from markupsafe import Markup, escape
from wtforms import Field, Form

from app import catalog, training_catalog
from app.calculations.errors import InvalidInput
from app.calculations.inputs import Input
from app.calculations.planning.inputs import GROUPS as PLANNING_GROUPS
from app.calculations.scenario import CUSTOM, GROUPS
from app.calculations.training.inputs import GROUPS as TRAINING_GROUPS
from app.planning import PLANNING_INPUTS
from app.scenarios import ALL_INPUTS
from app.training_scenarios import ALL_TRAINING_INPUTS, AUTO, optimizer_of, recipe_of

#: Sent by the page's own form. With it, a box that is not there is a box that was not ticked.
COMPLETE = "complete"

#: Characters of what was typed that the line of a folded part shows.
IN_LINE = 40
#: Groups that count only where the input named here is "custom".
CUSTOM_GROUPS = {"custom_model": "model", "custom_gpu": "gpu"}

#: Families and vendors whose names are not merely capitalised.
SPELLING = {
    "amd": "AMD", "aws": "AWS", "deepseek": "DeepSeek", "deepseek-distill": "DeepSeek, distilled", "exaone": "EXAONE",
    "glm": "GLM", "gpt-j": "GPT-J", "gpt-neox": "GPT-NeoX", "gpt-oss": "gpt-oss", "gpt2": "GPT-2",
    "internlm": "InternLM", "llama4": "Llama 4", "mimo": "MiMo", "minicpm": "MiniCPM", "minimax": "MiniMax",
    "mpt": "MPT", "nvidia": "NVIDIA", "olmo": "OLMo", "opt": "OPT", "sambanova": "SambaNova", "smollm": "SmolLM",
    "stablelm": "StableLM", "xverse": "XVERSE",
}  # fmt: skip


def spelled(name: str) -> str:
    return SPELLING.get(name, name.capitalize())


def text_of(value: object) -> str:
    """A typed value as someone would type it: 80.0 is "80", True is "true", nothing is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def sentence(error: InvalidInput) -> str:
    """The message with what is allowed."""
    return error.message + (f" Allowed: {error.allowed}." if error.allowed else "")


class InputField(Field):
    """A field for one declared input: keeps what was typed in `text` and parses it by the input's own rule."""

    def __init__(self, *, declared: Input, **kwargs: Any) -> None:
        self.declared = declared
        self.text = ""
        super().__init__(declared.label, description=declared.help, default=declared.default, **kwargs)

    @property
    def unit(self) -> str:
        return self.declared.unit

    @property
    def placeholder(self) -> str:
        return self.declared.placeholder or text_of(self.declared.default)

    @property
    def default_text(self) -> str:
        return text_of(self.declared.default)

    @property
    def is_default(self) -> bool:
        return not self.errors and self.data == self.declared.default

    @property
    def is_untouched(self) -> bool:
        """Whether it looks as it does on an empty form. Lists of models and the like may have grown since."""
        return self.is_default and self.text == self.default_text and not self.declared.catalogue

    def process_data(self, value: object) -> None:
        self.data = value
        self.text = text_of(value)

    def process_formdata(self, valuelist: list[str]) -> None:
        if not valuelist:
            return
        self.text = valuelist[-1]
        try:
            self.data = self.parsed()
        except InvalidInput as error:
            raise ValueError(sentence(error)) from None

    def parsed(self) -> Any:
        return self.declared.parse(self.text)


class ChoiceField(InputField):
    """A field that is chosen from a list; a value that is not on the list stays visible as its own entry."""

    @property
    def options(self) -> Mapping[str, Mapping[str, str]]:
        return options(self.declared)

    def parsed(self) -> Any:
        if not self.text.strip():
            self.text = text_of(self.declared.default)
        value = self.declared.parse(self.text)
        if self.declared.catalogue:
            value = canonical(self.declared.catalogue, value)
        self.text = value
        return value

    @property
    def option_tags(self) -> Markup:
        """The options as HTML with the chosen one marked. The lists are long and seldom change: they are kept."""
        groups = tuple((heading, tuple(group.items())) for heading, group in self.options.items())
        value = f'value="{escape(self.text)}"'
        return Markup(_option_tags(groups).replace(f"{value}>", f"{value} selected>", 1))  # noqa: S704

    @property
    def unlisted(self) -> bool:
        """Whether the value is none of the options: it is shown all the same, with its message."""
        return not any(self.text in group for group in self.options.values())


@lru_cache(maxsize=64)
def _option_tags(groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> str:
    """Options, those with a heading as a group of their own; everything escaped."""
    tags = []
    for heading, group in groups:
        inside = "".join(f'<option value="{escape(value)}">{escape(label)}</option>' for value, label in group)
        tags.append(f'<optgroup label="{escape(heading)}">{inside}</optgroup>' if heading else inside)
    return "".join(tags)


def canonical(catalogue: str, name: str) -> str:
    """The catalogue's own name for a name or alias. Raises InvalidInput."""
    if name.lower() == CUSTOM and catalogue in ("models", "gpus"):
        return CUSTOM
    if catalogue == "grids":
        return catalog.grid(name).slug
    if catalogue == "calibrations":
        return catalog.calibration(name).efficiency.name
    if catalogue == "optimizers":
        return optimizer_of(name).name
    if catalogue == "frameworks":
        return AUTO if name == AUTO else recipe_of(name).name
    if catalogue == "models":
        return catalog.model(name).name
    return catalog.gpu(name).slug if catalogue == "gpus" else catalog.engine(name).name


def options(declared: Input) -> Mapping[str, Mapping[str, str]]:
    """What can be chosen: group -> value -> label. The group without a name stands first, then what users saved."""
    if declared.choices:
        return {"": dict(declared.choices)}
    if declared.catalogue == "engines":
        return {"": {engine.name: engine.label for engine in catalog.engines().values()}}
    if declared.catalogue == "grids":
        return regions()
    if declared.catalogue == "calibrations":
        return {"": {name: name for name in catalog.calibrations()}}
    if declared.catalogue == "optimizers":
        return {"": {one.name: one.label for one in training_catalog.optimizers().values()}}
    if declared.catalogue == "frameworks":
        return {"": {AUTO: "Automatic"} | {one.name: one.label for one in training_catalog.recipes().values()}}
    groups: dict[str, Mapping[str, str]] = {"": {CUSTOM: "Custom: describe it by hand"}}
    if declared.catalogue == "models":
        groups["My models"] = {name: name for name in catalog.own_models()}
    else:
        groups["My accelerators"] = {slug: one.name for slug, one in catalog.own_gpus().items()}
    return {heading: group for heading, group in groups.items() if group} | presets(declared.catalogue)


@cache
def regions() -> Mapping[str, Mapping[str, str]]:
    """Regions by group: slug -> name with its carbon intensity."""
    groups: dict[str, dict[str, str]] = {}
    for one in catalog.grids().values():
        label = f"{one.name}, {one.grams_per_kilowatt_hour:.0f} g/kWh"
        groups.setdefault(one.group, {})[one.slug] = label
    return groups


@cache
def presets(catalogue: str) -> dict[str, dict[str, str]]:
    """Presets by family or vendor: group -> value -> label."""
    groups: dict[str, dict[str, str]] = {}
    if catalogue == "models":
        models = catalog.preset_models().values()
        for model in sorted(models, key=lambda m: (spelled(m.family).lower(), m.id.lower())):
            groups.setdefault(spelled(model.family), {})[model.id] = model.id
    else:
        gpus = catalog.preset_gpus().values()
        for gpu in sorted(gpus, key=lambda g: (g.vendor != "nvidia", g.vendor, -g.year, g.name)):
            groups.setdefault(spelled(gpu.vendor), {})[gpu.slug] = gpu.name
    return groups


@dataclass(frozen=True)
class Group:
    """A part of the form with its fields and, for those that are folded, their values in a line."""

    name: str
    heading: str
    folded: bool
    fields: list[InputField]
    #: Whether its inputs count.
    used: bool
    #: The field that must be "custom" for it to count.
    depends_on: str

    @property
    def open(self) -> bool:
        """Whether it must not be folded away: it holds an error, or something that was set."""
        if self.depends_on:
            return self.used or any(field.errors for field in self.fields)
        return any(field.errors or not field.is_default for field in self.fields)

    @property
    def unset(self) -> str:
        """What its inputs are called that were left empty: "automatic", or what all of them say themselves."""
        own = {field.declared.placeholder for field in self.fields}
        return own.pop() or "automatic" if len(own) == 1 else "automatic"

    @property
    def summary(self) -> str:
        """The current values in words: "weights automatic, KV cache fp8".

        What names something leads, else a first field that has a value of its own.
        """
        if self.depends_on:
            return (
                "used when the model is custom" if self.depends_on == "model" else "used when the accelerator is custom"
            )
        named = [field for field in self.fields if field.declared.catalogue and field.text != AUTO]
        first = self.fields[0]
        if first.declared.default not in (None, AUTO) and (first.declared.choices or not named):
            named.insert(0, first)
        leads = next(iter(named), None)
        shown = [field for field in self.fields if field is leads or not field.is_default]
        parts = [_in_line(field) for field in shown]
        if len(shown) < len(self.fields):
            rest = "default" if leads else self.unset
            parts.append(f"the rest {rest}" if parts else rest)
        return ", ".join(parts)


def _in_line(field: InputField) -> str:
    label = field.declared.label
    label = label if label[:2].isupper() else label[0].lower() + label[1:]
    if isinstance(field, ChoiceField) and field.declared.catalogue:
        return next((names[field.text] for names in field.options.values() if field.text in names), field.text)
    typed = field.text.strip()
    typed = typed if len(typed) <= IN_LINE else f"{typed[: IN_LINE - 1]}…"
    value = f"{field.data:,}" if isinstance(field.data, int) and field.data >= 10_000 else typed
    return f"{label} {value or 'automatic'}"


class InputForm(Form):
    """A form over declared inputs. `validate` applies each input's rule; rules across inputs come by `refuse`."""

    #: name -> (heading, folded away by default)
    group_headings: ClassVar[Mapping[str, tuple[str, bool]]] = GROUPS

    def process(self, formdata: Any = None, *args: Any, **kwargs: Any) -> None:
        super().process(formdata, *args, **kwargs)
        if formdata and COMPLETE in formdata:
            for field in self.flags():
                if field.name not in formdata:
                    field.process_data(False)

    def flags(self) -> Iterator[InputField]:
        return (field for field in self if field.declared.kind == "flag")

    def uses(self, field: InputField) -> bool:
        """Whether the field's value counts: those of a custom part only where it was chosen."""
        owner = CUSTOM_GROUPS.get(field.declared.group)
        return owner is None or self[owner].text == CUSTOM

    def validate(self, *args: Any, **kwargs: Any) -> bool:
        for field in self:
            if not self.uses(field):
                field.process_errors = []
        return super().validate(*args, **kwargs)

    def refuse(self, error: InvalidInput) -> None:
        """Put the message beside the field that it names, or above the form."""
        target = self[error.field].errors if error.field in self else self.form_errors
        target.append(sentence(error))

    def raw(self) -> dict[str, str]:
        """What was typed, of the fields that count, as the scenario's door takes it."""
        return {field.name: field.text for field in self if self.uses(field)}

    def asked(self) -> dict[str, Any]:
        """The values of the fields that count, once they are validated."""
        return {field.name: field.data for field in self if self.uses(field)}

    def groups(self) -> dict[str, Group]:
        """The form's parts by name, in order."""
        found = {}
        for name, (heading, folded) in self.group_headings.items():
            fields = [field for field in self if field.declared.group == name]
            used = all(self.uses(field) for field in fields)
            found[name] = Group(name, heading, folded, fields, used, CUSTOM_GROUPS.get(name, ""))
        return found

    def mistakes(self) -> list[tuple[str, str]]:
        """(field name or nothing, message) of everything that is wrong, in the order of the form."""
        return [("", text) for text in self.form_errors] + [(f.name, text) for f in self for text in f.errors]


def _form_class(name: str, inputs: Mapping[str, Input], groups: Mapping[str, tuple[str, bool]]) -> type[InputForm]:
    fields = {
        one.name: (ChoiceField if one.kind in ("choice", "name") else InputField)(declared=one)
        for one in inputs.values()
    }
    return type(name, (InputForm,), fields | {"group_headings": groups})


EstimateForm = _form_class("EstimateForm", ALL_INPUTS, GROUPS)
TrainForm = _form_class("TrainForm", ALL_TRAINING_INPUTS, TRAINING_GROUPS)
PlanForm = _form_class("PlanForm", PLANNING_INPUTS, PLANNING_GROUPS)


def share_args(inputs: Mapping[str, object], declared: Mapping[str, Input] = ALL_INPUTS) -> dict[str, Any]:
    """The query of a link that fills the form with a run's inputs: only what differs from the defaults."""
    return {
        name: text_of(inputs[name])
        for name, one in declared.items()
        if name in inputs and inputs[name] is not None and inputs[name] != one.default
    }
