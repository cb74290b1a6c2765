"""What every sink does to an event on its way out: the two fields that only it can know."""

from dataclasses import replace

from pipeline.records import ActionEvent


def stamped(event: ActionEvent, now_s: float) -> ActionEvent:
    """The event with ``published_at``, and with ``latency_ms`` where its pictures are live."""
    if event.source_kind != "live" or event.arrived_s is None:
        return replace(event, published_at=now_s)
    latency_ms = max(0.0, now_s - event.arrived_s) * 1000  # a clock may be set back
    return replace(event, published_at=now_s, latency_ms=latency_ms)
