"""Options of the command line, made from declared inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from app.calculations.inputs import Input


class GroupedCommand(click.Command):
    """A command whose help shows declared inputs under the headings of their form."""

    inputs: Mapping[str, Input]
    groups: Mapping[str, tuple[str, bool]]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [record for p in self.params if p.name not in self.inputs and (record := p.get_help_record(ctx))]
        for group, (heading, _) in self.groups.items():
            records = [
                record
                for p in self.params
                if p.name in self.inputs and self.inputs[p.name].group == group and (record := p.get_help_record(ctx))
            ]
            needed = {"custom_model": " (--model custom)", "custom_gpu": " (--gpu custom)"}.get(group, "")
            with formatter.section(heading + needed):
                formatter.write_dl(records)
        with formatter.section("Options"):
            formatter.write_dl(own)


def grouped(inputs: Mapping[str, Input], groups: Mapping[str, tuple[str, bool]]) -> type[GroupedCommand]:
    """The class of a command that takes these inputs."""
    return type("Command", (GroupedCommand,), {"inputs": inputs, "groups": groups})


def option_name(name: str) -> str:
    return "--" + name.replace("_", "-")


def metavar(declared: Input) -> str:
    """What stands for the value in the help: N, N|saturated, X, NAME, true|false."""
    kinds = {"integer": "N", "number": "X", "choice": "NAME", "name": "NAME", "text": "TEXT"} | {"flag": "true|false"}
    word = "NAME|CONFIG.json|OWNER/NAME" if declared.catalogue == "models" else kinds[declared.kind]
    return "|".join((word, *declared.words))


def help_text(declared: Input) -> str:
    """Label, help, what is allowed and the default, from the declaration."""
    default = declared.default
    if isinstance(default, bool):
        default = str(default).lower()
    ending = f"; default {default}" if default is not None else ""
    return f"{declared.label}: {declared.help} [{declared.allowed}{ending}]"


def declared_options(inputs: Mapping[str, Input]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One option for every declared input; values stay text until the declaration parses them. What is text may be
    given several times."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name, declared in reversed(list(inputs.items())):
            several = declared.kind == "text"
            option = click.option(
                option_name(name), name, metavar=metavar(declared), help=help_text(declared), multiple=several
            )
            command = option(command)
        return command

    return decorate
