"""The other end: programs that react to action events.

``Subscriber`` is a member of a consumer group and misses nothing, ``follow`` watches along,
``latest_status`` tells what the sources are doing, ``group_states`` how far consumers have come,
and ``DeadLetters`` what they gave up on.
"""

from pipeline.broker import Patience
from pipeline.subscribe.dead import DeadLetters, Letter
from pipeline.subscribe.follow import follow
from pipeline.subscribe.groups import GroupState, group_states
from pipeline.subscribe.rules import Rules
from pipeline.subscribe.status import gone_silent, latest_status
from pipeline.subscribe.subscriber import Subscriber

__all__ = [
    "DeadLetters",
    "GroupState",
    "Letter",
    "Patience",
    "Rules",
    "Subscriber",
    "follow",
    "gone_silent",
    "group_states",
    "latest_status",
]
