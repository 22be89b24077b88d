"""What a site remembers between two lives of the service: its sessions and its rate limit, as bytes.

A memory is one MessagePack array of the site's rate limit, its live sessions, and its back-dated ones with
the time of their last change. It is written when the service stops and read when the site's actor starts
again, so that a restart splits no visit and opens no window twice. Nothing in it names a visitor but the
day's hash (design.md, section 4).
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from service.ingestion.gate import RateLimit
from service.ingestion.rows import ClickhouseSession
from service.wire.entry import decode_session
from service.wire.record import RecordError

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(
    tuple[tuple[int, int, int], list[msgspec.Raw], list[tuple[float, list[msgspec.Raw]]]]
).decode
_decode_any: Final = msgspec.msgpack.Decoder().decode


class Memory(msgspec.Struct, frozen=True):
    """What one site remembers; times are UTC epoch seconds."""

    rate_limit: RateLimit
    live: tuple[ClickhouseSession, ...]
    past: tuple[tuple[float, tuple[ClickhouseSession, ...]], ...]
    """The back-dated sessions of each visitor, with when they last changed."""


def encode_memory(memory: Memory) -> bytes:
    """Give the bytes of a memory."""
    limit = memory.rate_limit
    return _encode(((limit.scale_s, limit.window, limit.count), memory.live, memory.past))


def encode_states(live: Sequence[msgspec.Raw]) -> bytes:
    """Give the memory of live sessions that are bytes already; nothing else of the site is known."""
    limit = RateLimit()
    return _encode(((limit.scale_s, limit.window, limit.count), live, ()))


def decode_memory(payload: bytes) -> Memory:
    """Give back the memory of the bytes, equal to the one that was encoded. Raises RecordError."""
    try:
        limit, live, past = _decode(payload)
        return Memory(
            RateLimit(*limit),
            tuple(decode_session(_decode_any(session)) for session in live),
            tuple(
                (changed_at, tuple(decode_session(_decode_any(session)) for session in sessions))
                for changed_at, sessions in past
            ),
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"the memory of a site cannot be read: {error}") from error
