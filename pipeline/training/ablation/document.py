"""A section of a Markdown file, between two markers; the rest of the file is not ours."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.training.checkpoint import write_whole

BEGIN, END = "<!-- ablation:begin -->", "<!-- ablation:end -->"


def check_document(path: Path) -> None:
    """See that the section can be put into a file, before hours go into it.

    Raises:
        ConfigError: it can't be read, or has one marker without the other.
    """
    _spliced(path, "")


def write_section(path: Path, section: str) -> None:
    """Replace what is between the markers; without markers, add them at the end.

    Raises:
        ConfigError: as ``check_document``.
        TrainingError: it can't be written.
    """
    write_whole(path, _spliced(path, section).encode())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _spliced(path: Path, section: str) -> str:
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: not a file; --out names the document that is written")
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as text: {error}") from None
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}")
    whole = f"{BEGIN}\n{section.strip()}\n{END}"
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 and end < 0:
        return f"{text.rstrip()}\n\n{whole}\n".lstrip()
    if not 0 <= begin < end or text.count(BEGIN) + text.count(END) != 2:
        raise ConfigError(f"{path}: want {BEGIN} once, and {END} once below it")
    return text[:begin] + whole + text[end + len(END) :]
