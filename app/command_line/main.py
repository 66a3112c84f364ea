"""The command line: python -m app COMMAND. Options of `estimate` are made from the declared inputs."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import click

from app import catalog, facts, json_text, show_work
from app import sensitivity as moved
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.planning.inputs import GROUPS as PLANNING_GROUPS
from app.calculations.scenario import CUSTOM, GROUPS
from app.calculations.training.inputs import GROUPS as TRAINING_GROUPS
from app.command_line import report, report_planning, report_training
from app.command_line.accuracy import calibrate, json_option, show, validate
from app.command_line.accuracy_doc import accuracy
from app.command_line.history import history
from app.command_line.options import declared_options, grouped, option_name
from app.command_line.password import password
from app.command_line.progress import watched
from app.config import InvalidSetting, beside, for_gunicorn, home, settings
from app.deploy import containers, launch_serving, launch_training
from app.desktop import start
from app.history.run_log import Run, RunLog
from app.own import config_file, manage, model_source, user_data
from app.own.hub import Hub
from app.own.model_source import Found
from app.own.user_data import UserData
from app.planning import PLANNING_INPUTS, asked_of
from app.runs import estimate_run, plan_run, train_run
from app.scenarios import ALL_INPUTS
from app.training_scenarios import ALL_TRAINING_INPUTS, model_of
from app.version import APP_VERSION

BAD_INPUT = 2

Answer = TypeVar("Answer")


class Program(click.Group):
    """A group whose errors are one line on stderr, or one JSON object with --json, and exit code 2."""

    def main(  # type: ignore[override]  # it never returns, whatever the mode
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        words = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in words
        try:
            code = super().main(args=words, prog_name=prog_name, **{**extra, "standalone_mode": False})
            sys.stdout.flush()
        except InvalidInput as error:
            refuse(error, as_json)
        except InvalidSetting as error:
            refuse(InvalidInput(error.name, str(error)), as_json)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(BAD_INPUT)
        except click.ClickException as error:
            refuse(from_click(error), as_json)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(130)
        except BrokenPipeError:  # Whoever read the output has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


def refuse(error: InvalidInput, as_json: bool) -> NoReturn:
    """Say what is wrong with which input and what is allowed, and end with code 2."""
    if as_json:
        click.echo(json_text.write({"error": error.as_dict()}), err=True)
    else:
        option = f" ({option_name(error.field)})" if error.field in {**ALL_INPUTS, **ALL_TRAINING_INPUTS} else ""
        where = f" in {error.field}{option}" if error.field else ""
        allowed = f" Allowed: {error.allowed}." if error.allowed else ""
        click.echo(f"Error{where}: {error.message}{allowed}", err=True)
    sys.exit(BAD_INPUT)


def from_click(error: click.ClickException) -> InvalidInput:
    """A usage error as the exception that bad input has everywhere else."""
    name = getattr(error, "option_name", None) or getattr(getattr(error, "param", None), "name", None) or ""
    return InvalidInput(str(name).lstrip("-").replace("-", "_"), " ".join(error.format_message().split()))


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(APP_VERSION, message="%(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Memory, speed, energy and cost of serving and training large language models."""
    ctx.with_resource(user_data.using(UserData(own_setting("DATA_DIR"))))


@main.command(cls=grouped(ALL_INPUTS, GROUPS))
@declared_options(ALL_INPUTS)
@click.option(
    "--work", "with_work", is_flag=True, help="Also show the work: operators of a step, formulas with numbers."
)
@json_option
def estimate(with_work: bool, as_json: bool, **options: str | None) -> None:
    """Estimate how a model is served: whether it fits, how fast it is, what it costs.

    What is left out is automatic or has the default in brackets.
    """
    run, model = made(estimate_run, options)
    not_saved = save(run)
    work = show_work.work_of(run.inputs, run.results, model=model) if with_work else None
    if as_json:
        document = {"run_id": run.run_id, "inputs": run.inputs, "results": run.results} | not_saved
        click.echo(json_text.write(document | ({} if work is None else {"work": work}), indent=2))
    else:
        show(report.estimate(run))
        if work is not None:
            show(report.work(work))
        if not not_saved:
            click.echo(f"\nRun {run.run_id}")


@main.command(cls=grouped(ALL_INPUTS, GROUPS))
@declared_options(ALL_INPUTS)
@click.option(
    "--metric", type=click.Choice(list(moved.METRICS)), default=next(iter(moved.METRICS)), show_default=True,
    help="The number that is moved.",
)  # fmt: skip
@json_option
def sensitivity(metric: str, as_json: bool, **options: str | None) -> None:
    """Show which inputs move an estimate most: each is changed by itself, by a fifth down and up.

    Nothing is logged.
    """
    found = moved.sensitivity({name: text for name, text in options.items() if text is not None})
    if as_json:
        click.echo(json_text.write(found.document(), indent=2))
    else:
        show(report.sensitivity(found, metric))


@main.command(cls=grouped(ALL_TRAINING_INPUTS, TRAINING_GROUPS))
@declared_options(ALL_TRAINING_INPUTS)
@click.option("--launch", type=click.Choice(list(launch_training.LAUNCHERS)), help="Print what starts the run.")
@json_option
def train(launch: str | None, as_json: bool, **options: str | None) -> None:
    """Estimate how a model is trained or fine-tuned: memory per GPU, time per step, MFU, days, cost.

    What is left out of the layout is chosen: the fastest that fits, and why the others lose.
    """
    run, model = made(train_run, options)
    not_saved = save(run)
    snippet = None
    if launch:
        snippet = launch_training.snippet(launch, run.inputs, run.results, model or model_of(run.inputs))
    if as_json:
        document = {"run_id": run.run_id, "inputs": run.inputs, "results": run.results} | not_saved
        click.echo(json_text.write(document | ({} if snippet is None else {"launch": snippet}), indent=2))
        return
    show(report_training.training(run))
    if snippet is not None:
        click.echo("\n" + snippet)
    if not not_saved:
        click.echo(f"\nRun {run.run_id}")


@main.command(cls=grouped(PLANNING_INPUTS, PLANNING_GROUPS))
@declared_options(PLANNING_INPUTS)
@click.option(
    "--launch", type=click.Choice([*launch_serving.LAUNCHERS, *containers.FORMS]),
    help="Print what starts a replica, or deploys the plan.",
)  # fmt: skip
@json_option
def plan(launch: str | None, as_json: bool, **options: str | tuple[str, ...] | None) -> None:
    """Find what to buy for a load: accelerators, layout, replicas and cost, ranked, with why the others lose.

    The load is --request-rate or --concurrency. --gpu may be given several times; without it all are weighed.
    """
    raw = {name: ",".join(text) if isinstance(text, tuple) else text for name, text in options.items()}
    with watched("Weighing") as watch:
        run = plan_run({name: text for name, text in raw.items() if text}, source="cli", watch=watch)
    not_saved = save(run)
    plans = run.results["plans"]
    snippet, refused = None, None
    if launch and plans:
        made_by = containers.file_of if launch in containers.FORMS else launch_serving.snippet
        try:
            snippet = made_by(launch, asked_of(run.inputs, plans[0]), plans[0])
        except InvalidInput as error:
            refused = error
    if as_json:
        document = {"run_id": run.run_id, "inputs": run.inputs, "results": run.results} | not_saved
        click.echo(json_text.write(document | ({} if snippet is None else {"launch": snippet}), indent=2))
    else:
        show(report_planning.planning(run))
        if snippet is not None:
            click.echo("\n" + snippet)
        if not not_saved:
            click.echo(f"\nRun {run.run_id}")
    if refused:
        raise refused


def made(make: Callable[..., Run], options: Mapping[str, str | None]) -> tuple[Run, Model | None]:
    """The run that options ask for, and its model where it was read from a configuration."""
    raw = {name: text for name, text in options.items() if text is not None}
    named = raw.get("model", "").strip()
    found = found_model(named) if named and named.lower() != CUSTOM else None
    model = found.model if found and found.config is not None else None
    run = make(raw, source="cli", model=model)
    if model is not None:  # The log says what would be typed to repeat the run.
        run = dataclasses.replace(run, inputs={**run.inputs, "model": raw["model"]})
    return run, model


def saving_options(command: Callable[..., None]) -> Callable[..., None]:
    """What can be done with an entry beside showing it."""
    for option in (
        click.option("--replace", is_flag=True, help="With --save: in place of what has that name."),
        click.option("--export", "do_export", is_flag=True, help="Print the file that was saved under NAME."),
        click.option("--delete", "do_delete", is_flag=True, help="Delete what was saved under NAME."),
        click.option("--save", "save_as", metavar="NAME", help="Save it under a name, as one's own."),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("name", required=False)
@saving_options
@json_option
def model(
    name: str | None, save_as: str | None, do_delete: bool, do_export: bool, replace: bool, as_json: bool
) -> None:
    """Facts about the model NAME, or the list of models.

    NAME is a preset, an alias, a saved model, the path of a config.json, or the id of a model on the hub
    (owner/name), which is asked only for what has no other meaning.
    """
    check_saving(name, save_as, do_delete, do_export, replace)
    if name is None:
        rows = [facts.model_row(entry) for entry in catalog.models().values()]
        show([json_text.write({"models": rows}, indent=2)] if as_json else report.models(rows))
        return
    if do_delete or do_export:
        saved(manage.delete_model if do_delete else manage.export_model, name, as_json)
        return
    found = found_model(name)
    shown = found.model
    if save_as is not None:
        if found.config is None:
            raise InvalidInput("name", f"{name!r} is in the list already.", "a config.json, or an id of the hub")
        config = found.config
        shown = manage.on_disk(
            lambda: manage.save_model(save_as, found.model.source, config, notes=found.notes, replace=replace)
        ).model
        if not as_json:
            click.echo(f"Saved as {shown.name!r}.\n")
    document = facts.model_facts(shown)
    show([json_text.write(document, indent=2)] if as_json else report.model(document))


@main.command()
@click.argument("name", required=False)
@saving_options
@json_option
def gpu(name: str | None, save_as: str | None, do_delete: bool, do_export: bool, replace: bool, as_json: bool) -> None:
    """Facts about the accelerator NAME, or the list of accelerators.

    With --save, NAME is the path of a JSON file with the inputs of a custom accelerator, as --export prints it.
    """
    check_saving(name, save_as, do_delete, do_export, replace)
    if name is None:
        rows = [facts.gpu_facts(one) for one in catalog.gpus().values()]
        show([json_text.write({"gpus": rows}, indent=2)] if as_json else report.gpus(rows))
        return
    if do_delete or do_export:
        saved(manage.delete_gpu if do_delete else manage.export_gpu, name, as_json)
        return
    if save_as is not None:
        inputs, path = config_file.read_object(name, "name", "a JSON file with the inputs of a custom accelerator")
        shown = manage.on_disk(lambda: manage.save_gpu(save_as, f"described in {path}", inputs, replace=replace)).gpu
        if not as_json:
            click.echo(f"Saved as {shown.name!r}.\n")
    else:
        shown = catalog.gpu(name)
    document = facts.gpu_facts(shown)
    show([json_text.write(document, indent=2)] if as_json else report.gpu(document))


@main.command()
@click.argument("gpu", required=False)
@click.argument("usd", required=False)
@click.option("--source", default="", metavar="TEXT", help="Where the price comes from, kept with it.")
@click.option("--region", default="", metavar="NAME", help="The price there; without it that of any region.")
@click.option("--delete", "do_delete", is_flag=True, help="Return to the list price.")
@json_option
def price(gpu: str | None, usd: str | None, source: str, region: str, do_delete: bool, as_json: bool) -> None:
    """Show what accelerators cost an hour, or keep a price USD of one's own for GPU."""
    if gpu is not None and (usd is not None or do_delete):
        manage.on_disk(
            lambda: manage.delete_price(gpu, region) if do_delete else manage.save_price(gpu, usd, source, region)
        )
    elif usd is not None or do_delete or source:
        raise InvalidInput("gpu", "GPU is missing: whose price is meant?", "the name of an accelerator")
    where = catalog.grid(region).slug if region else ""
    shown = [catalog.gpu(gpu, region=where)] if gpu is not None else list(catalog.gpus(where).values())
    document = [
        {
            "gpu": one.slug,
            "usd_per_gpu_hour": one.price_usd_per_hour,
            "region": one.price_region,
            "source": one.price_source,
        }
        for one in shown
    ]
    show([json_text.write({"prices": document}, indent=2)] if as_json else report.prices(shown))


def check_saving(name: str | None, save_as: str | None, do_delete: bool, do_export: bool, replace: bool) -> None:
    """InvalidInput for options that mean nothing together."""
    if (save_as is not None) + do_delete + do_export > 1:
        raise InvalidInput("save", "--save, --delete and --export do not go together.", "one of them")
    if name is None and (save_as is not None or do_delete or do_export):
        raise InvalidInput("name", "NAME is missing: what is meant?", "a name or a path before the option")
    if replace and save_as is None:
        raise InvalidInput("replace", "--replace counts only with --save.", "--save NAME --replace")


def saved(work: Callable[[str], Mapping[str, Any] | None], name: str, as_json: bool) -> None:
    """Delete or print a saved entry."""
    document = manage.on_disk(lambda: work(name))
    if document is not None:
        click.echo(json.dumps(document, indent=2))
    elif as_json:
        click.echo(json_text.write({"deleted": name}))
    else:
        click.echo(f"Deleted {name!r}.")


def found_model(name: str) -> Found:
    return model_source.find(name, Hub(own_setting("HF_ENDPOINT"), own_setting("HF_TOKEN")))


main.add_command(validate)
main.add_command(calibrate)
main.add_command(accuracy)
main.add_command(history)
main.add_command(password)


@main.command("desktop")
@json_option
def window(as_json: bool) -> None:
    """Open the calculator as a window of its own, with the same history.

    Needs a screen and a Python with Tk. Runs are logged with those of the command line.
    """
    start.open_window(run_log())


@main.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on; else HOST, else 127.0.0.1.")
@click.option("--port", metavar="N", type=click.IntRange(1, 65_535), help="Port; else PORT, else 5000.")
@json_option
def serve(host: str | None, port: int | None, as_json: bool) -> None:
    """Serve the pages and the API with gunicorn until it is stopped."""
    environment = dict(os.environ)
    environment |= {"HOST": host} if host is not None else {}
    environment |= {"PORT": str(port)} if port is not None else {}
    settings(environment)
    os.chdir(home())
    sys.stdout.flush()
    config = str(beside() / "gunicorn.conf.py")
    arguments = [sys.executable, "-m", "gunicorn", "--config", config, "app.factory:create_app()"]
    os.execve(sys.executable, arguments, for_gunicorn(environment))  # noqa: S606


def own_setting(name: str) -> Any:
    """One setting. The others do not matter to the command, so they may be wrong."""
    return settings({name: os.environ[name]} if name in os.environ else {})[name]


def run_log() -> RunLog:
    """The log of LOG_DIR."""
    return RunLog(
        own_setting("LOG_DIR"), fsync=own_setting("LOG_FSYNC"), max_bytes=own_setting("LOG_MAX_MB") * 1_000_000
    )


def save(run: Run) -> dict[str, Any]:
    """Log the run; where that fails, warn, and return what the answer then says of it."""
    try:
        run_log().append(run)
    except (OSError, ValueError) as error:
        warning = f"The run could not be logged: {error}"
        click.echo(f"Warning: {warning}", err=True)
        return {"saved": False, "warning": warning}
    return {}
