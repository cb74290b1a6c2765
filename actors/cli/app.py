"""Every command, and what becomes of an error: one line and an exit code.

Ray is imported only by the commands that need it.
"""

import logging
import sys

import typer

from actors.cli import (
    ablate,
    analyze,
    cameras,
    data,
    dead,
    demo,
    evaluate,
    events,
    model,
    run,
    status,
    train,
)
from actors.cli.show import complain
from pipeline.errors import ActionstreamError, SinkError, TrainingError

INPUT_FAILED, CALL_WRONG = 1, 2
USAGE_ERRORS = typer.BadParameter.__mro__[1:3]  # typer has click inside, and doesn't export these

app = typer.Typer(
    help="Action recognition on cameras and video files, as events that other programs read.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo.demo)
app.command()(analyze.analyze)
app.command()(run.run)
app.command()(cameras.attach)
app.command()(cameras.detach)
app.command()(cameras.pause)
app.command()(cameras.resume)
app.command()(cameras.reload)
app.command()(events.events)
app.command()(status.status)
app.command()(dead.dead)
app.command()(train.train)
app.command("evaluate")(evaluate.evaluate_command)
app.command("ablate")(ablate.ablate_command)
app.add_typer(model.app, name="model")
app.add_typer(data.app, name="data")


def call() -> None:
    """Run the command that was asked for, and exit."""
    if sys.stdout is None:  # closed by the caller: what is asked for has nowhere to go
        complain("standard output is closed; send it to a file, or to /dev/null")
        sys.exit(CALL_WRONG)
    if not sys.argv[1:]:
        sys.argv.append("--help")
    logging.basicConfig(level=logging.WARNING, format="actionstream: %(message)s")
    try:
        code = app(standalone_mode=False)
    except USAGE_ERRORS as error:  # type: ignore[misc]
        complain(f"{error.format_message()} (see: actionstream {' '.join(sys.argv[1:2])} --help)")
        sys.exit(CALL_WRONG)
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
