"""Names of consumers that nobody chose, and how those of killed processes go.

A subscriber that was given no name makes one up, and takes it off the group's list when it leaves.
A process that is killed doesn't, and the next one has another name. So members take off the list
what has a name of this form, holds no entry, and wasn't heard of for ``GONE_S``; a member that
lives is heard of at each of its sweeps.

The rule that is easy to get wrong: Redis deletes a consumer together with what is pending for it,
so one script asks and deletes. A living one that is hit all the same (it paused for longer, or
somebody chose a name of this form) loses nothing: its next read puts it on the list again.
"""

import os
import secrets
import socket

GONE_S = 3600.0  # longer than anybody pauses between two sweeps; kept are the restarts of an hour
MADE_UP = "^.+%-%d+%-" + "%x" * 8 + "$"  # as Lua writes patterns: door-pc-4711-9f86d081

FORGET_GONE = """
for _, said in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #said, 2 do consumer[said[i]] = said[i + 1] end
  if consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2])
      and string.match(consumer.name, ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
  end
end
"""


def make_up_name() -> str:
    """One that no other consumer has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
