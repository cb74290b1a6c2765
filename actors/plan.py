"""How many actors a deployment has, and how many streams each works on.

Cameras all run at once, so their actors share them out evenly. Of files some wait: a CPU core
decodes one while another's windows are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.cpus import usable_cpus
from pipeline.source import Source

MANY_FILES = 4  # fewer don't fill a batch, and would wait for nothing
FILES_PER_CAMERA = 2  # one decodes while the other waits for its windows; larger batches, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a deployment begins with; cameras that are attached later may ask for more actors."""

    live: bool
    """Are there cameras, now or later?"""
    cameras: int
    """Camera actors."""
    most_cameras: int
    """So many there may be."""
    streams_each: int
    """Streams that a camera actor has at once."""
    waits_for_company: bool
    """Is a batch worth a moment's wait for others' windows?"""

    @classmethod
    def of(cls, sources: Sequence[Source], *, stays: bool) -> Plan:
        """For these; with ``stays`` cameras may be attached."""
        live = stays or any(source.kind == "live" for source in sources)
        cores = usable_cpus()
        cameras = min(len(sources), cores)
        if not stays:
            cameras = max(1, cameras)
        streams_each = -(-len(sources) // cameras) if live and cameras else FILES_PER_CAMERA
        return cls(
            live=live,
            cameras=cameras,
            most_cameras=cores if stays else cameras,
            streams_each=streams_each,
            waits_for_company=not live and min(len(sources), cameras * streams_each) >= MANY_FILES,
        )
