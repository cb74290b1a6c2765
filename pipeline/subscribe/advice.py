"""What a reader of the event stream is told when Redis refuses."""

from redis.exceptions import RedisError

from pipeline.broker import code, explain


def explained(error: RedisError) -> str:
    """What went wrong, and what to do."""
    return advice(error, explain(error))


def advice(error: RedisError, verdict: str) -> str:
    """The verdict, in words that name a setting where one is at fault."""
    if code(error) == "WRONGTYPE":
        return "the key holds something else than a stream; choose another redis.prefix"
    return verdict
