"""The other end: programs that react to action events.

``Subscriber`` is a member of a consumer group and misses nothing, ``follow`` watches along,
``latest_status`` tells what the sources are doing.
"""

from pipeline.broker import Patience
from pipeline.subscribe.follow import follow
from pipeline.subscribe.rules import Rules
from pipeline.subscribe.status import latest_status
from pipeline.subscribe.subscriber import Subscriber

__all__ = ["Patience", "Rules", "Subscriber", "follow", "latest_status"]
