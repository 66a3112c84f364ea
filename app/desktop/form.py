"""Every declared input of a task in blocks, with its unit, help and message."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping, Sequence
from tkinter import ttk
from typing import Any

from app.calculations.errors import InvalidInput
from app.calculations.inputs import Input
from app.calculations.scenario import CUSTOM
from app.desktop.scroll import Scrolled
from app.desktop.task import Task
from app.desktop.theme import Theme
from app.pages.forms import CUSTOM_GROUPS, options, sentence, text_of

FOLDED, UNFOLDED = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}", "\N{BLACK DOWN-POINTING SMALL TRIANGLE}"

#: Called with what is to be said of the input that has the focus.
Say = Callable[[str], None]


class Field:
    """One input: its label, the widget to answer it, its unit, and its message while there is one."""

    def __init__(self, parent: ttk.Frame, declared: Input, row: int, say: Say, changed: Callable[[], None]) -> None:
        self.declared = declared
        self.value = tk.StringVar(parent)
        self.values = {value: label for group in self._options().values() for value, label in group.items()}
        label = ttk.Label(parent, text=declared.label)
        label.grid(row=row, column=0, sticky="w", padx=(0, 8))
        self.widget = self._widget(parent)
        self.widget.grid(row=row, column=1, columnspan=1 if declared.unit else 2, sticky="ew", pady=1)
        if declared.unit:
            unit = ttk.Label(parent, text=declared.unit, style="Quiet.TLabel")
            unit.grid(row=row, column=2, sticky="w", padx=(6, 0))
        self.hint = ttk.Label(self.widget, text=declared.placeholder or "automatic", style="Hint.TLabel")
        self.hint.bind("<Button-1>", lambda _: self.widget.focus_set())
        self.message = ttk.Label(parent, style="Bad.TLabel", wraplength=1)
        self.message.grid(row=row + 1, column=0, columnspan=3, sticky="ew")
        self.message.grid_remove()
        self.message.bind("<Configure>", lambda event: self.message.configure(wraplength=max(1, event.width)))
        self.widget.bind("<FocusIn>", lambda _: say(f"{declared.label}: {declared.help} [{declared.allowed}]"))
        label.bind("<Button-1>", lambda _: self.widget.focus_set())
        self.value.trace_add("write", lambda *_: self.hint_where_empty())
        self.value.trace_add("write", lambda *_: changed())
        self.text = text_of(declared.default)

    def hint_where_empty(self) -> None:
        """What an empty entry means, written into it."""
        if self.value.get() or self.declared.default is not None:
            self.hint.place_forget()
        else:
            self.hint.place(x=8, rely=0.5, anchor="w")

    def _options(self) -> Mapping[str, Mapping[str, str]]:
        return options(self.declared) if self.declared.kind in ("choice", "name") else {}

    def _widget(self, parent: ttk.Frame) -> ttk.Widget:
        if self.declared.kind == "flag":
            return ttk.Checkbutton(parent, variable=self.value, onvalue="true", offvalue="false")
        if self.declared.kind == "choice":
            labels = list(self.values.values())
            return ttk.Combobox(parent, textvariable=self.value, values=labels, state="readonly", width=8)
        if self.declared.kind == "name":
            box = ttk.Combobox(parent, textvariable=self.value, width=8)
            box.configure(postcommand=lambda: box.configure(values=self.matching()))
            return box
        return ttk.Entry(parent, textvariable=self.value, width=8)

    def matching(self) -> list[str]:
        """What the list offers: everything, or the names that hold every word that was typed."""
        self.values = {value: label for group in self._options().values() for value, label in group.items()}
        typed = self.value.get().strip()
        if not typed or typed in self.values.values():
            return list(self.values.values())
        words = typed.lower().split()
        return [
            label for value, label in self.values.items() if all(word in f"{label} {value}".lower() for word in words)
        ]

    @property
    def text(self) -> str:
        """What was typed, or the value of the label that was chosen."""
        typed = self.value.get()
        return next((value for value, label in self.values.items() if label == typed), typed)

    @text.setter
    def text(self, value: str) -> None:
        self.value.set(self.values.get(value, value))

    @property
    def is_default(self) -> bool:
        return self.text.strip() in ("", text_of(self.declared.default))

    def show(self, message: str) -> None:
        """Put the message below the widget; "" takes it away."""
        kind = self.widget.winfo_class()
        if kind in ("TEntry", "TCombobox"):
            self.widget["style"] = f"Wrong.{kind}" if message else kind
        self.message.configure(text=message)
        if message:
            self.message.grid()
        else:
            self.message.grid_remove()


class Section:
    """The inputs of one group: always shown, folded away behind a button, or shown where something is custom."""

    def __init__(
        self, parent: ttk.Frame, task: Task, group: str, theme: Theme, say: Say, changed: Callable[[], None]
    ) -> None:
        heading, self.folds = task.groups[group]
        self.owner = CUSTOM_GROUPS.get(group)
        self.heading = heading
        self.frame = ttk.Frame(parent)
        self.button = ttk.Button(self.frame, style="Fold.TButton", command=self.toggle)
        self.body = ttk.Frame(self.frame, padding=(0, 0, 0, theme.px(3)))
        for column, width in enumerate((116, 84, 66)):
            self.body.columnconfigure(column, minsize=theme.px(width), weight=int(column == 1))
        declared = [one for one in task.inputs.values() if one.group == group]
        self.fields = {one.name: Field(self.body, one, 2 * i, say, changed) for i, one in enumerate(declared)}
        self.frame.columnconfigure(0, weight=1)
        if self.folds:
            self.button.grid(row=0, column=0, sticky="ew")
        self.open = not self.folds
        self.shown = True
        self.unfold(self.open)

    def show(self, wanted: bool) -> None:
        """Offer the whole section, unfolded, or take it away."""
        self.shown = wanted
        if wanted:
            self.unfold(True)
            self.frame.grid()
        else:
            self.frame.grid_remove()

    def toggle(self) -> None:
        self.unfold(not self.open)

    def unfold(self, wanted: bool) -> None:
        """Show the inputs, or hide them behind the heading."""
        self.open = wanted
        if wanted:
            self.body.grid(row=1, column=0, sticky="ew")
        else:
            self.body.grid_remove()
        self.title()

    def title(self) -> None:
        """The heading says how many inputs were set, as a folded one hides them."""
        changed = sum(not field.is_default for field in self.fields.values())
        ending = f" ({changed} set)" if changed else ""
        self.button.configure(text=f"{UNFOLDED if self.open else FOLDED} {self.heading}{ending}")


class Form(Scrolled):
    """All inputs of a task. `raw` is what was typed; `show` puts mistakes beside what they are about."""

    def __init__(self, parent: tk.Misc, task: Task, theme: Theme, say: Say) -> None:
        super().__init__(parent, theme)
        self.task, self.say = task, say
        self.sections: dict[str, Section] = {}
        self.fields: dict[str, Field] = {}
        for number, block in enumerate(task.blocks):
            frame = ttk.Frame(self.inside, padding=(theme.px(9), theme.px(6)))
            frame.grid(row=number, column=0, sticky="ew")
            frame.columnconfigure(0, weight=1)
            ttk.Label(frame, text=block, style="Heading.TLabel").grid(row=0, column=0, sticky="w")
            for row, group in enumerate(task.groups_of(block), start=1):
                section = Section(frame, task, group, theme, say, self.changed)
                section.frame.grid(row=row, column=0, sticky="ew")
                self.sections[group] = section
                self.fields |= section.fields
        self.inside.columnconfigure(0, weight=1)
        self.follow_focus()
        self.changed()

    def changed(self) -> None:
        """Offer the parts described by hand only where they count."""
        if len(self.sections) < len(self.task.groups):
            return  # Still being made.
        for section in self.sections.values():
            section.title()
            if self.counts(section) != section.shown:
                section.show(not section.shown)

    def counts(self, section: Section) -> bool:
        return section.owner is None or self.fields[section.owner].text.strip().lower() == CUSTOM

    def used(self) -> list[Field]:
        """The fields whose values count."""
        return [
            field for section in self.sections.values() if self.counts(section) for field in section.fields.values()
        ]

    def raw(self) -> dict[str, str]:
        """What was typed, by name, as the scenario's door takes it."""
        return {field.declared.name: field.text for field in self.used()}

    def mistakes(self) -> list[InvalidInput]:
        """What can be seen to be wrong in one field alone."""
        found = []
        for field in self.used():
            try:
                field.declared.parse(field.text)
            except InvalidInput as error:
                found.append(error)
        return found

    def show(self, errors: Sequence[InvalidInput]) -> None:
        """Put each message beside its field, open what hides it, and go to the first."""
        for field in self.fields.values():
            field.show("")
        beside = [error for error in errors if error.field in self.fields]
        for error in beside:
            self.fields[error.field].show(sentence(error))
            self.sections[self.task.inputs[error.field].group].unfold(True)
        if errors:
            self.say(sentence(errors[0]))
        if beside:
            self.fields[beside[0].field].widget.focus_set()

    def fill(self, inputs: Mapping[str, Any]) -> None:
        """Set every field to what a run was given; the default where it says nothing."""
        self.show([])
        for name, field in self.fields.items():
            field.text = text_of(inputs.get(name, field.declared.default))
        for section in self.sections.values():
            section.unfold(not section.folds or any(not field.is_default for field in section.fields.values()))
        self.changed()
