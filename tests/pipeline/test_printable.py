import pytest

from pipeline.printable import without_passwords


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("rtsp://u:pw@cam/1: refused", "rtsp://***@cam/1: refused"),
        ("rtsp:/u:pw@cam/1: can't read", "rtsp:/***@cam/1: can't read"),
        ("rtsp://u:ab***@cam/1: refused", "rtsp://***@cam/1: refused"),
        ("no redis://:p@s w@h/0", "no redis://***@h/0"),
        ("at redis://app:***@h/0, now", "at redis://app:***@h/0, now"),
        ("at redis://h/0 and a@b.mp4:", "at redis://***@b.mp4:"),  # rather too much than too little
        ("/videos/day:1/me@home.mp4: no video", "/videos/day:1/me@home.mp4: no video"),
        ("rtsp://cam/1: refused", "rtsp://cam/1: refused"),
        ("a rtsp:// address with an @ or # in it", "a rtsp:// address with an @ or # in it"),
    ],
)
def test_what_stands_before_an_address_is_not_shown(said: str, shown: str) -> None:
    assert without_passwords(said) == shown
