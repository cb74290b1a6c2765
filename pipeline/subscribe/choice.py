"""Which events a reader wants."""

from collections.abc import Collection
from dataclasses import dataclass

from pipeline.records import ActionEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """By stream and label; an empty collection stands for all."""

    streams: Collection[str] = ()
    labels: Collection[str] = ()

    def wants(self, event: ActionEvent) -> bool:
        """Whether the event is among them."""
        return (not self.streams or event.stream_id in self.streams) and (
            not self.labels or event.label in self.labels
        )
