"""Everything that can go wrong in a way somebody can act on.

    ActionstreamError
    ├── ConfigError          the call or the config is wrong      -> the command line: exit code 2
    ├── SourceError          one input can't be read              -> the run: reported, others go on
    │   ├── SourceNotFound        no such file, path or host
    │   ├── SourceForbidden       an address that a source of this kind may not open
    │   │   └── SourceElsewhere       a name that leads to one, just now
    │   ├── SourceUnauthorized    the camera wants other credentials
    │   ├── SourceUnreachable     refused, reset, or no route
    │   ├── SourceTimeout         nothing came in time
    │   │   └── SourceStalled         a camera that was open sends no pictures any more
    │   ├── SourceTooLarge        a camera sends more than any picture has
    │   ├── NotAVideo             the bytes hold no video that can be decoded
    │   └── PictureTooLarge       more pixels than the limit allows
    ├── ModelError           weights that can't be used           -> the command line: exit code 2
    │   ├── CheckpointRefused     not a checkpoint, damaged, or one that wants to run code
    │   └── CheckpointMismatch    names or shapes that don't fit the architecture
    ├── DataError            a data set that can't be trained on  -> the command line: exit code 2
    ├── TrainingError        a training run can't go on           -> the command line: exit code 1,
    │                        its last checkpoint stays
    ├── BrokerError          Redis can't be started or reached    -> the command line: exit code 2
    │   └── BrokerAway            it may answer later             -> a run of cameras goes on
    └── SinkError            events can't be written              -> the run: stops, nothing skipped

Each also is the builtin error that fits it, so ``except FileNotFoundError`` works as a caller
expects. A message says which rule was broken, by which values, and what to do; it never holds
a secret. Every class takes one positional argument, because an exception that needs two does
not survive pickling between processes.
"""

from collections.abc import Mapping


class ActionstreamError(Exception):
    """Base of every error this project raises on purpose."""

    def __init__(self, message: str, *, context: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.context = dict(context or {})


class ConfigError(ActionstreamError, ValueError):
    """A config or a call that can't be carried out as written."""


class SourceError(ActionstreamError, OSError):
    """One input can't be read; the other inputs of the run are unaffected."""


class SourceNotFound(SourceError, FileNotFoundError):
    """No such file, no such path on the camera, or no such host."""


class SourceForbidden(SourceError, PermissionError):
    """An address that a source of this kind may not open."""


class SourceElsewhere(SourceForbidden):
    """A name that leads to such an address just now: an answer of the DNS may be wrong once."""


class SourceUnauthorized(SourceError, PermissionError):
    """The camera refused the credentials, or wants some."""


class SourceUnreachable(SourceError, ConnectionError):
    """The camera's host refused or dropped the connection."""


class SourceTimeout(SourceError, TimeoutError):
    """Nothing came from the source within its time-out."""


class SourceStalled(SourceTimeout):
    """A camera that was open, and from which no picture comes any more."""


class SourceTooLarge(SourceError, ValueError):
    """A camera sent more than a picture, or an answer, can have; the connection was given up."""


class NotAVideo(SourceError, ValueError):
    """The bytes are there, but hold no video that can be decoded."""


class PictureTooLarge(SourceError, ValueError):
    """A picture has more pixels than the limit allows; it was not decoded."""


class ModelError(ActionstreamError, ValueError):
    """Weights that can't be used."""


class CheckpointRefused(ModelError):
    """A file that is no checkpoint, is damaged, or wants to run code when loaded."""


class CheckpointMismatch(ModelError):
    """Tensors whose names or shapes don't fit the architecture."""


class DataError(ActionstreamError, ValueError):
    """A data set that isn't there, contradicts itself, or is broken in too many places."""


class TrainingError(ActionstreamError, RuntimeError):
    """A training run can't go on: it diverged, or can't be saved; its last checkpoint stays."""


class BrokerError(ActionstreamError, ConnectionError):
    """Redis can't be started, reached, or used with the rights given."""


class BrokerAway(BrokerError):
    """Redis doesn't answer, or can't work just now; it may later, without anybody's help."""


class SinkError(ActionstreamError, OSError):
    """Events can't be written; the run stops rather than skip one."""
