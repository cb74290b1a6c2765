"""A section of a file is replaced, and the rest of it stays."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.training.ablation.document import BEGIN, END, check_document, table, write_section


def test_what_is_around_the_section_stays(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("# Results\n\nby hand\n")
    write_section(path, "first\n")
    path.write_text(path.read_text() + "\nmore by hand\n")
    write_section(path, "## second")
    expected = f"# Results\n\nby hand\n\n{BEGIN}\n## second\n{END}\n\nmore by hand\n"
    assert path.read_text() == expected


def test_a_new_file_holds_the_section_only(tmp_path: Path) -> None:
    write_section(tmp_path / "new.md", "text")
    assert (tmp_path / "new.md").read_text() == f"{BEGIN}\ntext\n{END}\n"


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_broken_markers_are_refused_and_the_file_is_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.md"
    path.write_text(text)
    with pytest.raises(ConfigError, match="ablation:begin --> once"):
        check_document(path)
    assert path.read_text() == text


def test_a_missing_folder_is_said_before_hours_go_into_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        check_document(tmp_path / "nowhere" / "results.md")


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
