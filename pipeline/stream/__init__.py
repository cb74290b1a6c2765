"""stream: one source from its packets to its windows; source, decode and window joined.

file     opened once, to its end
camera   opened again, with backoff, whenever it is lost; each connection begins a new session

The rule that is easy to get wrong: nothing here may wait for FFmpeg, which may never come back.
"""

from pipeline.stream.connection import Stop, file_windows, windows
from pipeline.stream.life import CameraLife, CameraState, Fault, fault_of
from pipeline.stream.live import Report, live_windows, nobody

__all__ = [
    "CameraLife",
    "CameraState",
    "Fault",
    "Report",
    "Stop",
    "fault_of",
    "file_windows",
    "live_windows",
    "nobody",
    "windows",
]
