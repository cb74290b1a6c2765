"""Every command, and what becomes of an error: one line and an exit code.

Only the command that is asked for is imported: torch takes two seconds, and half of them do
without. Ray is imported by the commands that need it, when they do.
"""

import logging
import os
import signal
import sys
from importlib import import_module, metadata
from typing import Annotated

import typer

from actors.cli.show import complain
from pipeline.errors import ActionstreamError, SinkError, TrainingError

INPUT_FAILED, CALL_WRONG = 1, 2
INTERRUPTED = 128 + signal.SIGINT
USAGE_ERRORS = typer.BadParameter.__mro__[1:3]  # typer has click inside, and doesn't export these

EXTRA = "Got unexpected extra argument"

VERSION = "--version"
COMMANDS = {
    "demo": "demo.demo",
    "analyze": "analyze.analyze",
    "run": "run.run",
    "attach": "cameras.attach",
    "detach": "cameras.detach",
    "pause": "cameras.pause",
    "resume": "cameras.resume",
    "reload": "cameras.reload",
    "events": "events.events",
    "status": "status.status",
    "dead": "dead.dead",
    "train": "train.train",
    "evaluate": "evaluate.evaluate_command",
    "ablate": "ablate.ablate_command",
    "model": "model.app",
    "data": "data.app",
}
"""Module and name in ``actors.cli``: a function, or an app of commands of its own."""


def app_for(asked: str) -> typer.Typer:
    """What knows that command; all of them where there is none such, to list or to suggest."""
    app = typer.Typer(
        help="Action recognition on cameras and video files, as events that other programs read.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_before)
    if asked == VERSION:
        return app
    for name in [asked] if asked in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(".")
        command = getattr(import_module(f"actors.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def call(app: typer.Typer) -> None:
    """Run the command that was asked for, and exit."""
    _open_what_is_closed()
    if sys.stdout is None:  # closed by the caller: what is asked for has nowhere to go
        complain("standard output is closed; send it to a file, or to /dev/null")
        sys.exit(CALL_WRONG)
    if not sys.argv[1:]:
        sys.argv.append("--help")
    logging.basicConfig(level=logging.WARNING, format="actionstream: %(message)s")
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # typer's, of a Ctrl-C that nobody waited for
            raise KeyboardInterrupt
    except USAGE_ERRORS as error:  # type: ignore[misc]
        said = error.format_message()
        if said.startswith(EXTRA):  # it quotes them, and one may be a password
            said = "Got more arguments than it takes; what else is there is given by --options"
        complain(f"{said} (see: actionstream {' '.join(sys.argv[1:2])} --help)")
        sys.exit(CALL_WRONG)
    except SystemExit as ending:
        if ending.code != signal.SIGTERM:
            raise
        complain("interrupted")  # Ray's handler: it was about to start
        sys.exit(INPUT_FAILED)
    except (typer.Abort, KeyboardInterrupt):
        complain("interrupted")
        sys.exit(INPUT_FAILED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nothing is wrong, nothing to say
        sys.exit(INPUT_FAILED)
    except (SinkError, TrainingError) as error:
        complain(str(error))
        sys.exit(INPUT_FAILED)
    except ActionstreamError as error:
        complain(str(error))
        sys.exit(CALL_WRONG)
    except OSError as error:  # of our own output: every other is one of ours by now
        complain(f"can't write: {error.strerror or error}")
        sys.exit(INPUT_FAILED)
    sys.exit(code or 0)


def _open_what_is_closed() -> None:
    """Standard input and error: their numbers would be given to the next file or socket."""
    for descriptor in (0, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:  # Ray wants one
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - it is there to the end


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("actionstream"))
        raise typer.Exit


def _before(
    version: Annotated[
        bool,
        typer.Option(
            VERSION, help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Before any command; that it is there has its name be given, even if it is the only one."""
