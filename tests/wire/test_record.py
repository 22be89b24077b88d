"""The journal's file format: what is written comes back, and what is not whole never does."""

import itertools
import struct
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from service.ingestion.rows import Entry
from service.wire import record
from service.wire.record import Header, Problem, RecordError
from tests.support.entries import entries, make_entry

PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), max_size=8)
HEADER = Header(id="0123456789abcdef0123456789abcdef", created_ms=1_795_000_000_123)


class TestEntry:
    @given(entries())
    def test_round_trip(self, entry: Entry) -> None:
        """An entry comes back equal, texts as str or bytes as they were."""
        assert record.decode_entry(record.encode_entry(entry)) == entry

    def test_types_survive(self) -> None:
        """A text that is no Unicode comes back as bytes, arrays as tuples, NULL as None."""
        event = record.decode_entry(record.encode_entry(make_entry(pathname=b"/\xff"))).event

        assert event.pathname == b"/\xff"
        assert type(event.meta_keys) is tuple
        assert event.revenue_source_amount is None

    @given(st.binary(max_size=200))
    def test_any_bytes(self, payload: bytes) -> None:
        """Bytes that are no entry are refused with RecordError and nothing else."""
        with pytest.raises(RecordError):
            record.decode_entry(payload)

    @given(st.lists(entries(), max_size=5))
    def test_entries_of_a_segment(self, found: list[Entry]) -> None:
        """One reader for all gives what each alone gives, also where a state replaces the one before it."""
        chained = [
            structs.replace(entry, replaced=before.session) for before, entry in itertools.pairwise(found)
        ]
        read = record.EntryReader().read
        for entry in [*found, *chained, *chained]:
            assert read(record.encode_entry(entry)) == entry

    @given(entries(), st.data())
    def test_a_reader_is_as_strict(self, entry: Entry, data: st.DataObject) -> None:
        """Whatever takes the place of a field, a reader takes it exactly where ``decode_entry`` does."""
        values = msgspec.msgpack.decode(record.encode_entry(entry))
        part = data.draw(st.sampled_from([part for part in values if part is not None]))
        fields = data.draw(st.sampled_from([part, part[-1]]))
        field = data.draw(st.integers(0, len(fields) - 1))
        odd: st.SearchStrategy[object] = st.sampled_from(
            [None, True, 1, -1, 1.0, "text", b"bytes", [], ["text"], [1], {}, [[]]]
        )
        if data.draw(st.booleans()):
            fields[field] = data.draw(odd)
        elif data.draw(st.booleans()):
            fields.append(data.draw(odd))
        else:
            del fields[field]
        payload = msgspec.msgpack.encode(values)

        try:
            expected: Entry | None = record.decode_entry(payload)
        except RecordError:
            expected = None
        try:
            found: Entry | None = record.EntryReader().read(payload)
        except RecordError:
            found = None

        assert found == expected

    @given(entries(), st.data())
    def test_damaged_payload(self, entry: Entry, data: st.DataObject) -> None:
        """A payload with one changed byte gives an entry or RecordError, never another exception."""
        payload = bytearray(record.encode_entry(entry))
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

        try:
            found: Entry | None = record.decode_entry(bytes(payload))
        except RecordError:
            found = None

        assert found is None or isinstance(found, Entry)

    @pytest.mark.parametrize(
        ("payload", "sentence"),
        [
            pytest.param(b"\x93\xc0\xc0\xc0", "ClickhouseEvent: not an array of 16 fields", id="no event"),
            pytest.param(b"\x92\xc0\xc0", "an entry is an event", id="two instead of three"),
            pytest.param(b"\xc1", "not MessagePack", id="a byte that MessagePack never uses"),
            pytest.param(b"\x91" * 5000, "not MessagePack", id="nested deeper than Python can go"),
        ],
    )
    def test_sentences(self, payload: bytes, sentence: str) -> None:
        """The error says what is wrong."""
        with pytest.raises(RecordError, match=sentence):
            record.decode_entry(payload)


KEYS = st.none() | st.binary(min_size=16, max_size=16)


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

        assert found[:3] == (payloads[:complete], clean_end, None if clean_end == cut else Problem.TORN)

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

        assert record.read_records(whole + bytes(64))[:3] == ([b"kept"], len(whole), Problem.DAMAGED)

    def test_unknown_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A whole record of a later version is told apart from damage."""
        with monkeypatch.context() as later:
            later.setattr(record, "_VERSION", b"\x03")
            written = record.frame(b"later")

        assert record.read_records(written)[:3] == ([], 0, Problem.UNKNOWN_VERSION)

    @given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), KEYS), max_size=8))
    def test_keys(self, records: list[tuple[bytes, bytes | None]]) -> None:
        """Records with and without a key are read as they were written, and so are the keys."""
        found = record.read_records(b"".join(record.frame(payload, key) for payload, key in records))

        assert found.problem is None
        assert found.payloads == [payload for payload, _ in records]
        assert found.keys == [key for _, key in records if key is not None]

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
