"""The journal's file format: what is written comes back, and what is not whole never does."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.wire import record
from service.wire.record import Header, Problem, RecordError
from tests.support.entries import encode_alone, make_entry

PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), max_size=8)
KEYS = st.binary(min_size=16, max_size=16)
HEADER = Header(id="0123456789abcdef0123456789abcdef", created_ms=1_795_000_000_123)


class TestRecords:
    @given(PAYLOADS)
    def test_round_trip(self, payloads: list[bytes]) -> None:
        """Records written back to back are read in order, up to the last byte."""
        buffer = b"".join(map(record.frame, payloads))

        found = record.read_records(buffer)

        assert (found.payloads, found.clean_end, found.problem, found.keys) == (
            payloads,
            len(buffer),
            None,
            [],
        )

    @given(PAYLOADS, st.data())
    def test_cut(self, payloads: list[bytes], data: st.DataObject) -> None:
        """Bytes cut anywhere give the complete records before the cut, and TORN if there is a rest."""
        frames = [record.frame(payload) for payload in payloads]
        buffer = b"".join(frames)
        cut = data.draw(st.integers(0, len(buffer)))
        complete, clean_end = 0, 0
        while complete < len(frames) and clean_end + len(frames[complete]) <= cut:
            clean_end += len(frames[complete])
            complete += 1

        found = record.read_records(buffer[:cut])

        problem = None if clean_end == cut else Problem.TORN
        assert (found.payloads, found.clean_end, found.problem) == (payloads[:complete], clean_end, problem)

    @given(PAYLOADS.filter(bool), st.data())
    def test_changed_byte(self, payloads: list[bytes], data: st.DataObject) -> None:
        """A changed byte costs its record and those behind it; those before it are read, and no wrong one."""
        buffer = bytearray(b"".join(map(record.frame, payloads)))
        at = data.draw(st.integers(0, len(buffer) - 1))
        buffer[at] ^= data.draw(st.integers(1, 255))

        found = record.read_records(bytes(buffer))

        assert found.payloads == payloads[: len(found.payloads)]
        assert found.clean_end <= at < found.clean_end + len(record.frame(payloads[len(found.payloads)]))
        assert found.problem is not None

    @given(st.binary(max_size=300))
    def test_any_bytes(self, buffer: bytes) -> None:
        """Any bytes can be read: what is no record stops the reader, with a reason."""
        found = record.read_records(buffer)

        assert (found.clean_end == len(buffer)) == (found.problem is None)

    def test_zeros(self) -> None:
        """A stretch of zeros, as a crashed file system leaves it, is damage and no record."""
        whole = record.frame(b"kept")

        found = record.read_records(whole + bytes(64))

        assert (found.payloads, found.clean_end, found.problem) == ([b"kept"], len(whole), Problem.DAMAGED)

    def test_unknown_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A whole record of a later version is told apart from damage."""
        with monkeypatch.context() as later:
            later.setattr(record, "_VERSION", b"\x04")
            written = record.frame(b"later")

        assert record.read_records(written)[:3] == ([], 0, Problem.UNKNOWN_VERSION)

    @given(
        st.lists(st.tuples(st.integers(1, 9), st.lists(KEYS, max_size=9), st.binary(min_size=9, max_size=40)))
    )
    def test_batches(self, batches: list[tuple[int, list[bytes], bytes]]) -> None:
        """Records of appends are read as they were written: how many entries, their keys, their bytes."""
        written = [(entries, keys[:entries], payload) for entries, keys, payload in batches]

        found = record.read_records(
            b"".join(record.frame_batch(p, entries, keys) for entries, keys, p in written)
        )

        assert found.problem is None
        assert [(one.entries, one.keys, one.payload) for one in found.records] == written
        assert found.entries == sum(entries for entries, _, _ in written)
        assert found.keys == [key for _, keys, _ in written for key in keys]

    @pytest.mark.parametrize(
        ("entries", "keys", "payload"),
        [
            pytest.param(0, 0, b"x", id="no entries"),
            pytest.param(1, 2, b"x", id="more keys than entries"),
            pytest.param(3, 0, b"xx", id="more entries than bytes"),
        ],
    )
    def test_batch_that_cannot_be(self, entries: int, keys: int, payload: bytes) -> None:
        """A record whose numbers do not go together is of no version that is known."""
        written = record.frame_batch(payload, entries, [bytes(16)] * keys)

        assert record.read_records(written)[:] == ([], 0, Problem.UNKNOWN_VERSION)

    def test_batch_whose_keys_are_not_there(self) -> None:
        """Keys that would lie behind the end are not read."""
        body = struct.pack("<BII", record.BATCH_VERSION, 2**32 - 1, 2**32 - 1) + bytes(100)
        written = struct.pack("<II", len(body), zlib.crc32(body, len(body))) + body

        assert record.read_records(written).problem is Problem.UNKNOWN_VERSION

    def test_records_of_before(self) -> None:
        """An entry on its own is read with and without a key."""
        key = bytes(range(16))

        found = record.read_records(encode_alone(make_entry()) + encode_alone(make_entry(), key))

        assert (found.problem, found.entries, found.keys) == (None, 2, [key])

    def test_record_with_a_key_and_nothing_else(self) -> None:
        """Too short for a key and a payload: no version that is known."""
        body = bytes([record.KEYED_VERSION]) + bytes(record.KEYED_BYTES - 1)
        written = struct.pack("<II", len(body), zlib.crc32(body, len(body))) + body

        assert record.read_records(written)[:3] == ([], 0, Problem.UNKNOWN_VERSION)

    @pytest.mark.parametrize("size", [0, record.MAX_BODY_BYTES])
    def test_size_limits(self, size: int) -> None:
        """A payload that could not be read again is not written."""
        with pytest.raises(RecordError, match=r"outside 2\.\.8388608"):
            record.frame(bytes(size))


class TestHeader:
    def test_round_trip(self) -> None:
        """A header comes back equal, whatever follows it."""
        buffer = record.encode_header(HEADER)

        assert len(buffer) == record.HEADER_BYTES
        assert record.decode_header(buffer + b"records") == HEADER

    @given(st.integers(0, record.HEADER_BYTES - 1), st.integers(1, 255))
    def test_changed_byte(self, at: int, bits: int) -> None:
        """A header with one changed byte is refused."""
        buffer = bytearray(record.encode_header(HEADER))
        buffer[at] ^= bits

        with pytest.raises(RecordError):
            record.decode_header(bytes(buffer))

    def test_later_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A header of a later format says so."""
        with monkeypatch.context() as later:
            later.setattr(record, "FORMAT_VERSION", 9)
            written = record.encode_header(HEADER)

        with pytest.raises(RecordError, match="format version 9, this Gatehouse reads version 1"):
            record.decode_header(written)

    def test_short(self) -> None:
        """A file cut inside the header is refused with both lengths."""
        with pytest.raises(RecordError, match="38 bytes long, but there are only 3"):
            record.decode_header(b"GAT")
