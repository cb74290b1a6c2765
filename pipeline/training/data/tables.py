"""The text files of data sets: lines, CSV and JSON, read with errors that name the place."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import DataError


def read_text(path: Path) -> str:
    """A text file in UTF-8.

    Raises:
        DataError: it can't be read, or isn't text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that aren't blank, with their numbers from 1.

    Raises:
        DataError: as ``read_text``.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def read_csv(path: Path, *, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Rows that aren't blank, with the numbers of their lines from 1.

    Raises:
        DataError: as ``read_text``, or a row can't be parsed.
    """
    reader = csv.reader(read_text(path).splitlines(), delimiter=delimiter)
    try:
        for row in reader:
            if any(row):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV: {error}") from None


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, as far as these columns go.

    Raises:
        DataError: as ``read_csv``, or a column is missing from the header or from a row.
    """
    rows = read_csv(path)
    _, header = next(rows, (0, []))
    absent = [column for column in columns if column not in header]
    if absent:
        raise DataError(f"{path}: its first line must name the column {absent[0]!r}, got {header}")
    places = {column: header.index(column) for column in columns}
    for number, row in rows:
        if len(row) <= max(places.values()):
            raise DataError(f"{path}, line {number}: has {len(row)} columns, want {len(header)}")
        yield number, {column: row[place] for column, place in places.items()}


def read_json(path: Path) -> object:
    """A JSON file.

    Raises:
        DataError: as ``read_text``, or it isn't JSON.
    """
    try:
        document: object = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    return document


def read_labels(path: Path) -> tuple[str, ...]:
    """Labels, one per line; or the ``labels`` of a JSON file.

    Raises:
        DataError: as ``read_json``; there are none, or one is there twice.
    """
    if path.suffix == ".json":
        document = read_json(path)
        found = document.get("labels") if isinstance(document, dict) else document
        if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
            raise DataError(f"{path}: want labels as a list of texts, or as its entry 'labels'")
        labels = tuple(found)
    else:
        labels = tuple(line for _, line in read_lines(path))
    if not labels:
        raise DataError(f"{path}: holds no labels")
    return unique(labels, where=str(path))


def unique(labels: tuple[str, ...], *, where: str) -> tuple[str, ...]:
    """The labels, if each is there once.

    Raises:
        DataError: one is there twice.
    """
    seen: set[str] = set()
    for label in labels:
        if label in seen:
            raise DataError(f"{where}: the label {label!r} is there twice")
        seen.add(label)
    return labels
