"""The stream of events in Redis, into which an event goes once however often it is sent.

In: events in order. Out: entries of ``<prefix>:events``, written by one script that for each event
asks whether its ``event_id, seq`` was stored, and adds it if not. What was stored last of an event
stands in a key of its own, ``{<prefix>:events}:last:<event_id>``: on a Redis cluster the braces put
it where the stream is.

The rule that is easy to get wrong: an event is a repeat only **while the entry that it repeats is
in the stream**. So a stream that was deleted, trimmed or restored from an old copy is filled again,
and a forgotten key never keeps an event out.

An ``end`` that is flagged ``interrupted`` is provisional: a file that was stopped is analysed
again, by anybody anywhere, and the action goes on. So it is stored beside the numbering, and what
follows it is stored with a ``seq`` of one more than it was sent with: none is missing, none comes
twice.

    first run, stopped    0 start   1 update   2 end, interrupted
    second run            0 start   1 update                        2 update   3 end     as sent
    in the stream         0         1          2                    3          4         as stored
    third run             0         1                               2          3         all known

Whoever sends one may know less than the stream: an outbox that a loss of power set back, a second
run that was stopped sooner than the first. Its end is stored all the same, after what is there, as
long as that is open; or the event would stay open for ever.

The key holds ``<last> <entry's id> <shift> <cut>``: the last number sent but for interrupted ends,
the entry that was added last, how many interrupted ends there are, and the last one's number as
sent (-1 for none).

A batch is stored whole or not at all: what may refuse it (memory, rights, the kind of a key, a
replica) does so before the first entry; SET, which comes after it, is tried on nothing first. Cost:
14 us per event in Redis (a plain XADD takes 4), and about 250 bytes per event_id for a day, or for
a month where it was interrupted.
"""

import hashlib
import time
from collections.abc import Callable, Sequence

import redis
from redis.exceptions import NoScriptError

from pipeline import wire
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.sink.stamp import stamped

BATCH = 250  # entries per call: Redis serves nobody else for about 4 ms
REMEMBER_S = 86_400  # a repeat that comes later than a day is stored again, for readers to tell
REMEMBER_CUT_S = 30 * 86_400  # and what comes after an interrupted end by then has its numbers

STORE = """
local function refusal(reply)  -- Redis 6.2 writes in front of an error in which line it arose
  return {err = string.gsub(reply.err, '^@user_script: ?%d+: %-?', '')}
end
local function is_end(entry)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'type' then return fields[i + 1] == 'end' end
  end
  return false
end
local at, stored = 4, 0
for n = 2, #KEYS do
  local seq, width, cuts = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2] == '1'
  local known = redis.pcall('GET', KEYS[n])
  if type(known) == 'table' then return refusal(known) end
  local last, shift, cut, there = -1, 0, -1, {}
  if known then
    local l, id, s, c = string.match(known, '^(%-?%d+) (%S+) ?(%d*) ?(%-?%d*)$')
    if l then
      last, shift, cut = tonumber(l), tonumber(s) or 0, tonumber(c) or -1
      if seq <= last or (cuts and seq <= cut) then
        there = redis.pcall('XRANGE', KEYS[1], id, id)
        if there.err then return refusal(there) end
        if #there == 0 then last, shift, cut = -1, 0, -1
        elseif cuts and not is_end(there[1]) then there = {} end
      end
    end
  end
  if #there == 0 then
    if stored == 0 then  -- a SET that changes nothing: refused after XADD, each retry would add one
      local refused = redis.pcall('SET', KEYS[n], '', known and 'NX' or 'XX')
      if refused then return refusal(refused) end
    end
    for i = at + 3, at + 2 + width, 2 do
      if ARGV[i] == 'seq' then
        ARGV[i + 1] = tostring((cuts and math.max(seq, last + 1) or seq) + shift)
      end
    end
    local id = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
                           unpack(ARGV, at + 3, at + 2 + width))
    if type(id) == 'table' then return refusal(id) end
    if cuts then shift, cut = shift + 1, seq else last = seq end
    local state = last .. ' ' .. id .. ' ' .. shift .. ' ' .. cut
    local kept = redis.pcall('SET', KEYS[n], state, 'EX', ARGV[shift > 0 and 3 or 2])
    if kept.err then return refusal(kept) end
    stored = stored + 1
  end
  at = at + 3 + width
end
return stored
"""
_SHA = hashlib.sha1(STORE.encode()).hexdigest()


class EventStream:
    """``<prefix>:events`` of one Redis, kept at about ``maxlen`` entries."""

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = wire.DEFAULT_PREFIX,
        *,
        maxlen: int = 1_000_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        self.key = wire.events_key(prefix)
        self.repeats = 0
        """Events that were there already."""
        self._prefix = prefix
        self._maxlen = maxlen
        self._now = now

    def store(self, events: Sequence[ActionEvent]) -> int:
        """Store them, at most ``BATCH``, in order and stamped; how many were new.

        Raises:
            RedisError: none is stored, or all are and the answer was lost.
        """
        keys = [self.key, *(wire.last_key(event.event_id, self._prefix) for event in events)]
        arguments: list[str | bytes] = [str(self._maxlen), str(REMEMBER_S), str(REMEMBER_CUT_S)]
        for event in events:
            fields = wire.to_fields(stamped(event, self._now()))
            flat = [_bytes(text) for pair in fields.items() for text in pair]
            cuts = event.type is EventType.END and Flag.INTERRUPTED in event.flags
            arguments += [str(event.seq), str(len(flat)), str(int(cuts)), *flat]
        reply = self._call(len(keys), [*keys, *arguments])
        stored = int(str(reply))
        self.repeats += len(events) - stored
        return stored

    def _call(self, count: int, words: Sequence[str | bytes]) -> object:
        try:
            return self.client.evalsha(_SHA, count, *words)
        except NoScriptError:  # a new server, or one that was restarted
            return self.client.eval(STORE, count, *words)


def _bytes(text: str) -> bytes:
    """As UTF-8; bytes that were no text come back as they were, and nothing makes it fail."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, as JSON can spell it
        return text.encode("utf-8", "replace")
