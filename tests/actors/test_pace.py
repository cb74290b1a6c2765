"""Parts that die again and again."""

from actors.pace import Pace


def test_a_part_is_left_alone_for_longer_each_time_until_it_answers() -> None:
    now_s = [100.0]
    pace = Pace(lambda: now_s[0])
    assert not pace.rests, "the first time at once"
    waits = []
    for _ in range(6):
        pace.lost()
        began_s = now_s[0]
        while pace.rests:
            now_s[0] += 0.5
        waits.append(now_s[0] - began_s)
    assert waits == [1, 2, 4, 8, 10, 10]
    pace.well()
    pace.lost()
    now_s[0] += 1
    assert not pace.rests
