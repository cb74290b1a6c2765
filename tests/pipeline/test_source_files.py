"""Which files are meant, what their streams are called, and which files are opened at all."""

import os
from pathlib import Path

import pytest

from pipeline.errors import (
    ConfigError,
    NotAVideo,
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceUnauthorized,
)
from pipeline.source import FileSource, find_files
from tests.clips import joined, write_clip, write_sound

SECOND_PROGRAM = {
    "tables_version": "1",
    "mpegts_service_id": "5",
    "mpegts_start_pid": "300",
    "mpegts_pmt_start_pid": "4000",
}


def names(sources: list[FileSource]) -> list[str]:
    return [source.stream_id for source in sources]


def refusal(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        FileSource(path=path, stream_id="clip").open().close()
    message = str(caught.value)
    assert "\n" not in message
    assert path.name.isprintable() is False or path.name in message
    return caught.value


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two days of one door, and a file that is no video."""
    for name in ("mon/door.mp4", "tue/door.mp4", "tue/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_are_searched_and_patterns_expanded(archive: Path) -> None:
    both = ["mon/door.mp4", "tue/door.mp4"]
    assert names(find_files(["."])) == both
    assert names(find_files(["*/door.mp4"])) == both
    assert names(find_files(["**/*.mp4", "mon", "./mon/door.mp4"])) == both
    assert names(find_files([str(archive)], root=archive)) == both
    assert names(find_files(["tue/notes.txt"])) == ["tue/notes.txt"]


def test_what_is_no_file_in_a_folder_is_said_when_it_is_opened(archive: Path) -> None:
    os.mkfifo(archive / "mon" / "pipe.mp4")
    (archive / "tue" / "lost.mp4").symlink_to("nowhere.mp4")
    (archive / "tue" / "folder.mp4").mkdir()
    found = find_files(["."])
    wanted = ["mon/door.mp4", "mon/pipe.mp4", "tue/door.mp4", "tue/lost.mp4"]
    assert names(found) == wanted
    assert isinstance(refusal(found[1].path), SourceForbidden)
    assert isinstance(refusal(found[3].path), SourceNotFound)


def test_a_stream_can_be_named(archive: Path) -> None:
    assert names(find_files(["mon/door.mp4"], name="door")) == ["door"]
    with pytest.raises(ConfigError, match="2 files were given"):
        find_files(["."], name="door")


def test_two_files_of_one_name_are_refused(archive: Path) -> None:
    (archive / "tue" / "link.mp4").symlink_to(archive / "mon" / "door.mp4")
    with pytest.raises(ConfigError, match="would both be the stream"):
        find_files(["."], root=archive)
    with pytest.raises(ConfigError, match="is not under --root"):
        find_files(["mon/door.mp4"], root=archive / "tue")


def test_the_session_of_a_file_hangs_on_its_name_alone(archive: Path) -> None:
    [one], [other] = find_files(["mon/door.mp4"]), find_files(["tue/door.mp4"])
    assert one.session_id == find_files(["mon/door.mp4"])[0].session_id != other.session_id


@pytest.mark.parametrize(
    "pattern", ["no.mp4", "*.mkv", "no[1].mp4", "x" * 300 + ".mp4", "no/../../no.mp4"]
)
def test_what_does_not_exist_is_kept_and_said_when_it_is_opened(
    pattern: str, archive: Path
) -> None:
    [source] = find_files([pattern])
    with pytest.raises(SourceError):
        source.open()


def test_refusals_say_what_is_wrong(archive: Path) -> None:
    assert isinstance(refusal(archive / "no.mp4"), SourceNotFound)
    (archive / "folder.mp4").mkdir()
    assert "a folder without videos" in str(refusal(archive / "folder.mp4"))
    os.mkfifo(archive / "pipe.mp4")
    assert isinstance(refusal(archive / "pipe.mp4"), SourceForbidden)
    assert isinstance(refusal(Path("/dev/null")), SourceForbidden)
    assert isinstance(refusal(archive / ("x" * 300 + ".mp4")), SourceUnauthorized)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    assert "only sound" in str(refusal(write_sound(tmp_path / "sound.mp4")))


def test_a_stream_that_appears_late_does_no_harm(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.ts", count=300)
    sound = write_sound(tmp_path / "sound.ts", muxing=SECOND_PROGRAM)
    glued = joined(tmp_path / "glued.ts", path, sound, path)
    [source] = find_files([str(glued)])
    with source.open() as feed:
        assert sum(packet.size > 0 for packet in feed.packets()) == 600


def test_an_unknown_codec_is_named_as_the_trouble(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    assert "no decoder" in str(refusal(path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{path}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "\ufeff#EXTM3U\n#EXTINF:2,\n{path}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile '{path}'\n"),
        ("list.txt", "file '{path}'\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 9 RTP/AVP 96\n"),
        ("list.mpd", "<?xml version='1.0'?><MPD><BaseURL>{path}</BaseURL></MPD>"),
        ("list.pls", "[playlist]\nFile1={path}\n"),
        ("list.avs", 'FFMpegSource2("{path}")\n'),
        ("list.mp4", "concat:{path}|{path}"),
        ("list.mp4", "subfile,,start,0,end,0,,:{path}"),
    ],
)
def test_a_file_that_names_another_does_not_open_it(name: str, text: str, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts")
    listing = tmp_path / name
    listing.write_text(text.format(path=clip))
    assert isinstance(refusal(listing), NotAVideo)


@pytest.mark.parametrize(
    "name",
    ["concat:clip.ts|clip.ts", "-", "-i.mp4", "pipe:0", "a:b.mp4", "data:text", "clip.ts,x", "%d"],
)
def test_a_path_is_never_read_as_a_protocol(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("clip.ts"))
    [source] = find_files([name])
    with pytest.raises(SourceNotFound):
        source.open()
    write_clip(tmp_path / "other.ts", count=30).rename(name)
    [source] = find_files([name])
    assert source.stream_id == name
    with source.open() as feed:
        assert sum(packet.size > 0 for packet in feed.packets()) == 30


def test_names_that_are_no_text_are_opened_and_shown_escaped(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/d\xffr\n\x1b[31m.mp4"))
    [source] = find_files([str(path)], root=tmp_path)
    assert source.stream_id == r"d\xffr\n\x1b[31m.mp4"
    assert source.session_id
    with pytest.raises(SourceNotFound, match=r"d\\xffr\\n\\x1b"):
        source.open()
    write_clip(tmp_path / "clip.mp4").rename(path)
    assert [s.stream_id for s in find_files([str(tmp_path)], root=tmp_path)] == [source.stream_id]
    with source.open() as feed:
        assert feed.promised_pictures == 50
    [named] = find_files([str(path)], name=os.fsdecode(b"d\xff"))
    assert named.stream_id == r"d\xff"


@pytest.mark.parametrize("tag", ["", "soon", "1:2", "1/0:0:0", "nan:0:0"])
def test_a_duration_that_is_none_is_not_believed(tag: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv")
    stated = b"00:00:02.000000000"
    assert stated in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(stated, tag.encode().ljust(len(stated), b"\0")))
    [source] = find_files([str(path)])
    with source.open() as feed:
        assert feed.promised_end == 2  # the container says so as well
