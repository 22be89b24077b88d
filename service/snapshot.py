"""The file that carries what sites remember from one life of the service to the next.

Constraints:

- The header is magic ``GATEHSNP``, u16 version and u64 creation time in milliseconds since 1970 (UTC). Behind
  it comes for each site u64 id, u32 length and u32 CRC-32 of its memory, and the memory itself
  (``service.wire.snapshot``). Numbers are little-endian.
- It is written whole beside its place and renamed into it, and it is taken away when it is read: an old one
  would continue sessions from a state that is not the stored one any more.
- One of another version, or a damaged one, is set aside with a message. Sessions are then put together
  from the journal, as after a kill (``service.session_recovery``).
"""

import logging
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from zlib import crc32

MAGIC: Final = b"GATEHSNP"
VERSION: Final = 1
MAX_AGE_S: Final = 31 * 60
"""What is older holds no session that could go on."""

_HEADER: Final = struct.Struct("<8sHQ")
_SITE: Final = struct.Struct("<QII")
_FILE_MODE: Final = 0o600

log = logging.getLogger(__name__)


def write_snapshot(path: Path, memories: Mapping[int, bytes], *, now: float) -> None:
    """Write the memories of sites by their ids; ``now`` is UTC epoch seconds. Raises OSError."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_HEADER.pack(MAGIC, VERSION, int(now * 1000)))
        for site_id, memory in memories.items():
            file.write(_SITE.pack(site_id, len(memory), crc32(memory)))
            file.write(memory)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def take_snapshot(path: Path, *, now: float) -> dict[int, bytes]:
    """Give the memories by site id and take the file away; empty when there is none that is good and fresh.

    Raises OSError when the file is there and cannot be read or taken away.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        created_ms, memories = _decode(data)
    except ValueError as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.warning(
            "%s: %s; it was moved to %s, and sessions are put together from the journal",
            path,
            error,
            aside.name,
        )
        return {}
    path.unlink()
    return memories if now - created_ms / 1000 <= MAX_AGE_S else {}


def read_snapshot(path: Path, *, now: float) -> dict[int, bytes]:
    """Give the memories and leave the file as it is; empty when there is none that is good and fresh.

    For whoever wants to know and not to go on from there. Raises OSError when the file cannot be read.
    """
    try:
        created_ms, memories = _decode(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return memories if now - created_ms / 1000 <= MAX_AGE_S else {}


def _decode(data: bytes) -> tuple[int, dict[int, bytes]]:
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        raise ValueError("this is no snapshot")
    _, version, created_ms = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"it has version {version}, and this Gatehouse reads version {VERSION}")
    memories: dict[int, bytes] = {}
    offset = _HEADER.size
    while offset < len(data):
        begin = offset + _SITE.size
        if begin > len(data):
            raise ValueError("it is torn")
        site_id, length, checksum = _SITE.unpack_from(data, offset)
        memory = data[begin : begin + length]
        if len(memory) != length or crc32(memory) != checksum:
            raise ValueError("it is damaged")
        memories[site_id] = memory
        offset = begin + length
    return created_ms, memories
