"""A YAML file that a user wrote, as a mapping.

The rule that is easy to get wrong: YAML can hold much more than settings. Ten lines of merged
anchors make 10^10 keys (in PyYAML before 6.0.4), a date or a tag raises whatever its constructor
does, and of a key that is there twice the first is dropped without a word. A message never quotes
the file: what is odd in it may be a password.
"""

import re
from pathlib import Path
from typing import IO

import yaml

from pipeline.errors import ConfigError
from pipeline.small_file import NoFile, read_small

MAX_BYTES = 1 << 20  # 1,000 cameras take about 200 kB
MAX_VALUES = 100_000  # of all lists and sections, keys included: some seconds of reading
MAX_KEYS = 1_000  # of one section, what is merged into it included
MAX_ALIASES = 10_000  # each may merge MAX_KEYS
MAX_DIGITS = 400  # the largest float written out has 309
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_QUOTED = re.compile(r"'(?!<).{2,}'")  # not '%' or '<block end>', which are YAML's own
_ADDRESS = re.compile(r"(?:^|/)[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a path has one slash of two
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # control, half a character
NOT_A_VALUE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def read_document(path: Path) -> tuple[dict[str, object], int]:
    """The mapping in a YAML file, and the file's mode; an empty file is an empty mapping.

    Raises:
        ConfigError: the file can't be read, isn't YAML, or holds no mapping.
    """
    try:
        data, status = read_small(path, MAX_BYTES + 1)
    except NoFile as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except OSError as error:
        if _ADDRESS.search(str(path)):  # it may hold a password
            raise ConfigError(
                "a config is a file, and this is an address; cameras are listed in the config, "
                "under cameras:"
            ) from None
        raise ConfigError(f"{path}: can't read the config: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES >> 20} MiB; is it a config?")
    try:
        document: object = yaml.load(data.decode(), _Loader)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file in UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
    except yaml.reader.ReaderError as error:
        line = data.decode()[: error.position].count("\n") + 1
        raise ConfigError(f"{path}, line {line}: not YAML: a character that is no text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = _QUOTED.sub("'…'", getattr(error, "problem", None) or "can't be parsed")
        raise ConfigError(f"{path}{place}: not YAML: {problem}") from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: want keys such as 'data:', got a {type(document).__name__}")
    return document, status.st_mode


class _Loader(yaml.SafeLoader):
    """Stricter than the safe one, and every complaint of it has a line."""

    def __init__(self, stream: str | IO[str]) -> None:
        super().__init__(stream)
        self._aliases = 0
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._values += 1
        self._aliases += self.check_event(yaml.AliasEvent)
        keys = len(parent.value) if isinstance(parent, yaml.MappingNode) else 0
        for count, most, what in (
            (self._values, MAX_VALUES, "too many values for a config"),
            (self._aliases, MAX_ALIASES, "too many aliases"),
            (keys, MAX_KEYS, "too many keys in one section"),
        ):
            if count > most:
                raise _problem(what, parent.start_mark if parent else None)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: dict[str, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                what = key.value if key.value.isidentifier() else "a key"
                raise _problem(f"{what} is there twice in one section", key.start_mark)
            seen.add(key.value)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MAX_KEYS:
            raise _problem("too many keys in one section", node.start_mark)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        if node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:  # 1:1:1:… takes minutes
            raise _problem("a number with too many digits", node.start_mark)
        try:
            made: object = super().construct_object(node, deep)
        except NOT_A_VALUE:
            what = "a date, number or tag that can't be made out"
            raise _problem(what, node.start_mark) from None
        if isinstance(made, bytes):  # a model takes them for text, with any character in it
            raise _problem("binary data", node.start_mark)
        if isinstance(made, str) and _NO_TEXT.search(made):
            raise _problem("a character that is no text", node.start_mark)
        return made


def _problem(what: str, mark: yaml.Mark | None) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, mark)
