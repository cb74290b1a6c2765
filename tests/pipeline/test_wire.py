import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.records import ActionEvent, EventType, Flag

MakeEvent = Callable[..., ActionEvent]


def test_an_event_survives_the_trip_through_redis_fields_and_json(make_event: MakeEvent) -> None:
    event = make_event(
        3, type=EventType.END, end_pts_s=14.0, flags=(Flag.GAP, Flag.PARTIAL), latency_ms=81.5
    )
    assert wire.from_fields(wire.to_fields(event)) == event
    assert wire.from_json(wire.to_json(event)) == event


def test_the_stored_entry_is_the_one_that_is_documented(make_event: MakeEvent) -> None:
    stored = wire.to_fields(make_event())
    plain = ["schema_version", "event_id", "seq", "type", "stream_id", "label", "data"]
    assert list(stored) == plain
    assert (
        list(json.loads(stored["data"]))
        == (
            "source_kind session_id label_id score peak_score mean_score start_pts_s end_pts_s "
            "start_time end_time clock first_window last_window model_name model_digest "
            "flags published_at latency_ms"
        ).split()
    )


def test_the_time_of_arrival_is_not_stored(make_event: MakeEvent) -> None:
    event = make_event(arrived_s=1.0)
    assert wire.from_fields(wire.to_fields(event)) == replace(event, arrived_s=None)


def test_fields_of_a_newer_writer_are_ignored(make_event: MakeEvent) -> None:
    stored = wire.to_fields(make_event())
    stored["colour"] = "blue"
    stored["data"] = json.dumps({**json.loads(stored["data"]), "depth": [1, 2]})
    assert wire.from_fields(stored) == make_event()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seq", "-1", "'seq' is not a whole number"),
        ("seq", "9" * 5000, "'seq' is not a whole number"),
        ("schema_version", "2", "update actionstream"),
        ("type", "middle", "'type' is not one of start, update, end"),
        ("data", "{", "not JSON"),
        ("data", "[" * 100_000, "not JSON"),
        ("data", "[]", "not a JSON object"),
        ("data", '{"score": NaN}', "not JSON"),
    ],
)
def test_a_malformed_field_is_named(
    make_event: MakeEvent, name: str, value: str, said: str
) -> None:
    stored = {**wire.to_fields(make_event()), name: value}
    with pytest.raises(ValueError, match=said):
        wire.from_fields(stored)


@pytest.mark.parametrize("name", ["schema_version", "event_id", "seq", "label", "data"])
def test_a_missing_field_is_named(make_event: MakeEvent, name: str) -> None:
    stored = wire.to_fields(make_event())
    del stored[name]
    with pytest.raises(ValueError, match=f"no field '{name}'"):
        wire.from_fields(stored)


def _records() -> st.SearchStrategy[dict[str, object]]:
    names = st.sampled_from(
        "score label_id flags clock end_time source_kind model_name first_window".split()
    )
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=2),
        max_leaves=3,
    )
    return st.dictionaries(names, values, max_size=4)


# A busy machine may take a second for the first example; that says nothing about the reader.
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(wrong=_records())
def test_whatever_the_fields_hold_the_answer_is_an_event_or_a_value_error(
    wrong: dict[str, object],
) -> None:
    flat: dict[str, object] = {
        "schema_version": 1, "event_id": "e", "seq": 0, "type": "start", "stream_id": "s",
        "label": "l", "source_kind": "file", "session_id": "f", "label_id": 0, "score": 0.5,
        "peak_score": 0.5, "mean_score": 0.5, "start_pts_s": 0.0, "end_pts_s": None,
        "start_time": None, "end_time": None, "clock": "container", "first_window": 0,
        "last_window": 0, "model_name": "m", "model_digest": "d", "flags": [],
        "published_at": None, "latency_ms": None,
    }  # fmt: skip
    try:
        event = wire.from_record({**flat, **wrong})
    except ValueError:
        return
    assert wire.from_json(wire.to_json(event)) == event


def test_a_change_of_state_survives_the_trip() -> None:
    line = wire.StatusLine(stream_id="door", state="failed", detail="no such host", at=12.125)
    assert wire.from_status_fields(wire.to_status_fields(line)) == line
    with pytest.raises(ValueError, match="'at'"):
        wire.from_status_fields({**wire.to_status_fields(line), "at": "noon"})
