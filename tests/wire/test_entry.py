"""Entries of the journal: what is written comes back equal, and bytes that are none are refused."""

from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.ingestion.rows import ClickhouseSession, Entry, SessionAttributes
from service.wire import entry as wire
from service.wire.entry import EntryReader, decode_entry, encode_entries, encode_records
from service.wire.record import Record, RecordError, read_records
from tests.support.entries import encode_alone, entries, make_entry

BATCHES = st.lists(entries(), min_size=1, max_size=5)


def read(data: bytes) -> list[Entry]:
    """Read records that are all good."""
    found = read_records(data)
    assert found.problem is None
    reader = EntryReader()
    return [entry for record in found.records for entry in reader.read(record)]


def skim(record: Record) -> list[Entry]:
    """Skim a record, and then read all that was left unread."""
    return [
        entry if isinstance(entry, Entry) else Entry(entry.event, entry.read_replaced(), entry.read_session())
        for entry in EntryReader().skim(record)
    ]


def of_a_visit(entry: Entry) -> Entry:
    """Give the entry with one object as the attributes of its rows, as the pipeline makes them."""
    shared = entry.event.attributes

    def told(state: ClickhouseSession | None) -> ClickhouseSession | None:
        return None if state is None else replace(state, attributes=shared)

    return Entry(entry.event, told(entry.replaced), told(entry.session))


def _with_attributes(fields: list[int]) -> bytes:
    event, *states = msgspec.msgpack.decode(msgspec.msgpack.encode(make_entry()))
    return msgspec.msgpack.encode([[[*event[:-1], fields], *states]])


class TestBatch:
    @given(BATCHES)
    def test_round_trip(self, batch: list[Entry]) -> None:
        """Any entries come back equal, texts as str or bytes as they were, also without a visit."""
        assert read(encode_records(batch)) == batch

    @given(BATCHES)
    def test_round_trip_of_visits(self, batch: list[Entry]) -> None:
        """So do those of visits, whose attributes are written once."""
        batch = [of_a_visit(entry) for entry in batch]

        assert read(encode_records(batch)) == batch

    def test_attributes_are_written_once(self) -> None:
        """What the rows of an entry share is in its bytes once, and is one object again."""
        attributes = SessionAttributes(utm_campaign="only once")
        entry = make_entry()
        assert entry.session is not None
        session = replace(entry.session, attributes=attributes)
        entry = Entry(replace(entry.event, attributes=attributes), session, session)

        data = encode_records([entry, entry])
        first, second = read(data)

        assert data.count(b"only once") == 2
        assert first.session is not None
        assert first.session.attributes is first.event.attributes is second.event.attributes

    def test_types_survive(self) -> None:
        """A text that is no Unicode comes back as bytes, arrays as tuples, NULL as None."""
        plain, odd = read(encode_records([make_entry(), make_entry(pathname=b"/\xff")]))

        assert odd.event.pathname == b"/\xff"
        assert plain == make_entry()
        assert type(odd.event.meta_keys) is type(plain.event.meta_keys) is tuple
        assert odd.event.revenue_source_amount is None

    @given(BATCHES, st.data())
    def test_long_append(self, batch: list[Entry], data: st.DataObject) -> None:
        """What would be too long for one record goes in several, in its order, each key with its entry."""
        key = st.binary(min_size=16, max_size=16)
        keys = data.draw(st.dictionaries(st.integers(0, len(batch) - 1), key))

        with patch.object(wire, "BATCH_BYTES", 1):
            found = read_records(encode_records(batch, keys))

        assert [record.entries for record in found.records] == [1] * len(batch)
        assert [list(record.keys) for record in found.records] == [
            [keys[place]] if place in keys else [] for place in range(len(batch))
        ]
        reader = EntryReader()
        assert [entry for record in found.records for entry in reader.read(record)] == batch

    @given(BATCHES, st.data())
    def test_damaged_payload(self, batch: list[Entry], data: st.DataObject) -> None:
        """A payload with one changed byte gives entries or RecordError, never another exception."""
        payload = bytearray(encode_entries(batch))
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

        try:
            found = EntryReader().read(Record(bytes(payload), len(batch), (), 0))
        except RecordError:
            found = [make_entry()] * len(batch)

        assert [type(entry) for entry in found] == [Entry] * len(batch)

    @pytest.mark.parametrize(
        ("payload", "sentence"),
        [
            pytest.param(
                encode_entries([make_entry()]), "of 2 entries, but 1 are in it", id="fewer than it says"
            ),
            pytest.param(b"\xc1", "not MessagePack", id="a byte that MessagePack never uses"),
            pytest.param(b"\x91\x93\xc0\xc0\xc0", "ClickhouseEvent: not an array", id="no event"),
            pytest.param(b"\x91\xc0", "an entry is an event", id="no entry"),
            pytest.param(_with_attributes([1, 2]), "SessionAttributes: not an array", id="other attributes"),
        ],
    )
    def test_sentences(self, payload: bytes, sentence: str) -> None:
        """The error says what is wrong."""
        with pytest.raises(RecordError, match=sentence):
            EntryReader().read(Record(payload, 2, (), 0))


class TestStrictness:
    @given(entries(), st.booleans(), st.data())
    def test_a_reader_is_as_strict(self, entry: Entry, brief: bool, data: st.DataObject) -> None:
        """Whatever takes the place of a field, a reader takes it exactly where ``decode_entry`` does."""
        [values] = msgspec.msgpack.decode(encode_entries([of_a_visit(entry) if brief else entry]))
        part = data.draw(st.sampled_from([part for part in values if part is not None]))
        fields = data.draw(
            st.sampled_from([part, part[-1]] if part[-1] and isinstance(part[-1], list) else [part])
        )
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
            expected = [decode_entry(payload)]
        except RecordError:
            expected = []

        for record in (Record(payload, None, (), 0), Record(b"\x91" + payload, 1, (), 0)):
            for read_record in (EntryReader().read, skim):
                try:
                    found = read_record(record)
                except RecordError:
                    found = []
                assert found == expected


class TestEntryOnItsOwn:
    @given(BATCHES)
    def test_entries_of_a_segment(self, batch: list[Entry]) -> None:
        """One reader for all gives what each alone gives."""
        assert read(b"".join(map(encode_alone, [*batch, *batch]))) == [*batch, *batch]

    @given(entries())
    def test_round_trip(self, entry: Entry) -> None:
        """An entry comes back equal, as versions of before wrote it."""
        assert read(encode_alone(entry)) == [entry]

    @given(st.binary(max_size=200))
    def test_any_bytes(self, payload: bytes) -> None:
        """Bytes that are no entry are refused with RecordError and nothing else."""
        with pytest.raises(RecordError):
            decode_entry(payload)

    @given(entries(), st.data())
    def test_damaged_payload(self, entry: Entry, data: st.DataObject) -> None:
        """A payload with one changed byte gives an entry or RecordError, never another exception."""
        payload = bytearray(msgspec.msgpack.encode(entry))
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

        try:
            found: Entry | None = decode_entry(bytes(payload))
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
            decode_entry(payload)
