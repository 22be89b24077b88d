"""What is fuzzed: functions that take any bytes and raise when a promise of the service is broken.

Each has examples to begin with (``seeds``). What is behind a checksum is given a right one, or no fuzzer
would ever get there.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.messages import BuildResult
from benchmarks.traffic import make_requests
from service.errors import JournalCorrupt
from service.http.answers import Answers
from service.http.intake import EventIntake, Refusal
from service.http.lean.heads import Heads
from service.http.lean.replies import ReplyBytes
from service.http.lean.request import FOREIGN, INCOMPLETE, REQUEST_LINE, PlainReader
from service.http.settings import Build, PublicSettings
from service.ingestion.event import Context, Event, run_steps, to_row
from service.ingestion.gate import RateLimit
from service.ingestion.request import Request
from service.ingestion.rows import Entry
from service.ingestion.session import open_session
from service.ingestion.verdict import BUFFERED, Dropped, DropReason, Verdict
from service.journal import Journal
from service.progress import Progress
from service.segment import decode_records, inspect
from service.session_log import MAGIC as LOG_MAGIC
from service.session_log import SESSION_LOG, SessionLog
from service.session_recovery import recover_memories
from service.snapshot import take_snapshot, write_snapshot
from service.wire import record
from service.wire.batch import MAX_ITEMS, Invalid, batch_reply, decode_batch
from service.wire.entry import encode_entries, encode_records
from service.wire.forwarded import TrustedProxies
from service.wire.record import RecordError
from service.wire.refused_row import RefusedRow, decode_refused, encode_refused
from service.wire.reply import Reply
from service.wire.snapshot import Memory, decode_memory, encode_memory
from service.wire.traceparent import format_traceparent, parse_traceparent
from tests.fuzz import heads, recovery
from tests.support.entries import make_entry
from tests.support.events import NOON, make_context, make_tables

NOW: Final = float(NOON)
PROXIES: Final = TrustedProxies(("127.0.0.0/8",))
PEER: Final = "127.0.0.1"
SEPARATOR: Final = b"\0\0"
"""Between the parts of an input that has several."""
CONTENT_TYPES: Final = (
    "text/plain",
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/x-ndjson",
    None,
)
HEAD: Final = re.compile(rb"HTTP/1\.1 \d{3} [A-Za-z ]+(\r\n[A-Za-z0-9-]+: [^\r\n]*)*")
BOOT: Final = b"one start of it."
SEGMENT: Final = "0000000000000001-" + "ab" * 16 + ".gh"

EVENT_BODIES: Final = (
    b'{"n":"pageview","u":"https://example.com/a?utm_source=x&gclid=1","d":"example.com","r":"https://t.co/","v":24}',
    b'{"n":"Purchase","u":"https://example.com/","d":"example.com,b.example","p":{"a":"b","c":1},'
    b'"$":{"amount":"12.30","currency":"EUR"},"w":390,"h":1}',
    b'{"name":"engagement","url":"app://x/y","domain":"example.com","sd":50,"e":3000,"i":false}',
    b"n=pageview&u=https%3A%2F%2Fexample.com%2F&d=example.com&p[a]=b",
    b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\npageview\r\n--x--\r\n',
)


def fuzz_connection(data: bytes) -> None:
    """Requests off a stream: cut anywhere they are the same, and each gets one well-formed answer."""
    stream, cut = data[1:], data[0] if data else 0
    heads = Heads()
    whole, piecewise = (_read_stream(stream, end, heads) for end in (len(stream), cut * len(stream) // 255))
    assert whole == piecewise, "where the stream was cut tells, or whether its heads are known"
    assert whole == _read_stream(stream, len(stream), Heads()), "what was read before tells"
    intake, replies = _intake()
    for headers, body in whole:
        understood = intake.understand(intake.meet(headers.get, PEER), body)
        given_id = headers.get("x-request-id")
        if isinstance(understood, Refusal):
            answer = replies.encode(understood.reply, given_id=given_id, cors=understood.cors)
        else:
            # The last domain is dropped: its name is told in a header.
            verdicts: list[Verdict] = [BUFFERED] * len(understood.domains)
            verdicts[-1] = Dropped(DropReason.BOT)
            result = BuildResult(tuple(zip(understood.domains, verdicts, strict=True)))
            answer = replies.encode(intake.reply(result), given_id=given_id)
        head, _, _ = answer.partition(b"\r\n\r\n")
        assert HEAD.fullmatch(head), "the answer has a head that is none"


def fuzz_event(data: bytes) -> None:
    """A body of any content type and three headers: a verdict, and a row that the journal gives back."""
    kind, body, user_agent, forwarded, accept = _parts(data, 5)
    content_type = CONTENT_TYPES[kind[0] % len(CONTENT_TYPES)] if kind[:1] else kind.decode("latin-1")
    headers = {
        "content-type": content_type,
        "user-agent": user_agent.decode("utf-8", "surrogateescape"),
        "x-forwarded-for": forwarded.decode("utf-8", "surrogateescape"),
        "accept": accept.decode("utf-8", "surrogateescape") or None,
    }
    intake = _intake()[0]
    sender = intake.meet(headers.get, PEER)
    understood = intake.understand(sender, body)
    assert understood == intake.understand(replace(sender, is_usual=False), body), "the short way tells"
    if isinstance(understood, Request):
        _judge(understood)


def fuzz_batch(data: bytes) -> None:
    """A batch: a verdict for each item, or one answer for all."""
    kind, body = _parts(data, 2)
    content_type = CONTENT_TYPES[kind[0] % len(CONTENT_TYPES)] if kind else None
    items = decode_batch(body, content_type=content_type, now=NOW, remote_ip=PEER, user_agent=None)
    if isinstance(items, Reply):
        return
    assert len(items) <= MAX_ITEMS
    for item in items:
        if isinstance(item, Request):
            assert NOW - 72 * 3600 - 1 <= item.timestamp <= NOW
            _judge(item)
    outcomes = [
        item if isinstance(item, Invalid) else [(domain, BUFFERED) for domain in item.domains]
        for item in items
    ]
    assert batch_reply(outcomes).status == 202


def fuzz_records(data: bytes) -> None:
    """Any bytes behind a segment's header: what can be read is read the same when it is written again."""
    entries, end, problem = decode_records(data)
    assert 0 <= end <= len(data)
    assert bool(problem) is (end < len(data))
    _check_round_trip(entries)


def fuzz_payloads(data: bytes) -> None:
    """Records with right checksums and any content, with one byte of them changed or not."""
    at, *payloads = data.split(SEPARATOR)
    frames = [recovery.frame_any(payload) for payload in payloads if payload]
    content = bytearray().join(frames)
    good, _, _ = decode_records(bytes(content))
    _check_round_trip(good)
    if len(at) < 3 or not content:
        return
    place = int.from_bytes(at[:2], "big") % len(content)
    content[place] ^= at[2]
    entries, end, _ = decode_records(bytes(content))
    before = 0
    for frame in frames:
        if before + len(frame) > place:
            break
        before += len(frame)
    if at[2]:
        assert end <= before, "a changed record was taken for a good one"
    assert entries == good[: len(entries)], "what lies before the change is something else"


def fuzz_segment(data: bytes) -> None:
    """A file in the journal's folder: a segment, or JournalCorrupt."""
    with _file(SEGMENT, data) as path, contextlib.suppress(JournalCorrupt):
        _, content = inspect(path)
        decode_records(content)


def fuzz_progress(data: bytes) -> None:
    """The file of a block that was refused: decisions, or JournalCorrupt; half a line is none."""
    with _file("a.progress", data) as path, contextlib.suppress(JournalCorrupt):
        Progress.load(path, sync=False)


def fuzz_snapshot(data: bytes) -> None:
    """The file of an orderly stop: memories by site, or none; and the memory of a site, or RecordError."""
    with _file("sessions.snapshot", data) as path:
        for memory in (*take_snapshot(path, now=NOW).values(), data):
            with contextlib.suppress(RecordError):
                assert decode_memory(encode_memory(decode_memory(memory))) == decode_memory(memory)


def fuzz_session_log(data: bytes) -> None:
    """The log of session states, whole or as one record behind a right checksum: sessions, or none."""
    with _file(SESSION_LOG, data if data.startswith(LOG_MAGIC) else _log_of(data)) as path:
        log = SessionLog.open(path, since=0.0, now=lambda: NOW, sync=False, boot=BOOT)
        journal = Journal.open(path.parent / "journal", durability="memory", max_bytes=1)
        journal.sessions = log
        for memory in recover_memories(journal, path.parent, now=NOW, limit=10).values():
            with contextlib.suppress(RecordError):
                decode_memory(memory)
        log.note([], [(1, 1)])
        assert list(SessionLog.open(path, since=0.0, now=lambda: NOW, sync=False, boot=BOOT).read())
        journal.close()


def _log_of(payload: bytes) -> bytes:
    with _file(SESSION_LOG, b"") as path:
        path.unlink()
        SessionLog.open(path, since=0.0, now=lambda: NOW, sync=False, boot=BOOT)
        return path.read_bytes() + (record.frame(payload) if payload else b"")


def fuzz_refused_row(data: bytes) -> None:
    """A row of the quarantine, or RecordError."""
    with contextlib.suppress(RecordError):
        row = decode_refused(data)
        assert decode_refused(encode_refused(row)) == row


def fuzz_traceparent(data: bytes) -> None:
    """A header that others send: ids that can be sent on, or nothing."""
    found = parse_traceparent(data.decode("utf-8", "surrogateescape"))
    if found is not None:
        assert parse_traceparent(format_traceparent(found)) == found


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "connection": fuzz_connection,
    "event": fuzz_event,
    "batch": fuzz_batch,
    "records": fuzz_records,
    "payloads": fuzz_payloads,
    "segment": fuzz_segment,
    "progress": fuzz_progress,
    "snapshot": fuzz_snapshot,
    "session_log": fuzz_session_log,
    "refused_row": fuzz_refused_row,
    "traceparent": fuzz_traceparent,
    "head": heads.fuzz_head,
    "forwarded": heads.fuzz_forwarded,
    "journal": recovery.fuzz_journal,
    "block": recovery.fuzz_block,
    "quarantine": recovery.fuzz_quarantine,
}


def seeds(name: str) -> list[bytes]:
    """Give good inputs of a target, to be changed."""
    entries = [make_entry(session_id=1), make_entry(session_id=2, pathname=b"/\xff")]
    payloads = [msgspec.msgpack.encode(entry) for entry in entries]
    batch = b"b\x02\x01" + encode_entries(entries)
    header = record.encode_header(record.Header("ab" * 16, 1_795_000_000_000))
    frames = [*map(record.frame, payloads), encode_records(entries, {1: bytes(16)})]
    match name:
        case "connection":
            requests = make_requests(host="x", domain="example.com")[::997]
            return [b"\x80" + request * 2 for request in requests]
        case "event":
            agent = b"Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"
            return [
                SEPARATOR.join((bytes([kind]), body, agent, b"203.0.113.7, 10.0.0.1", b"application/json"))
                for kind, body in zip((0, 1, 0, 2, 3), EVENT_BODIES, strict=True)
            ]
        case "batch":
            body = EVENT_BODIES[0]
            dated = body[:-1] + b',"timestamp":"2026-11-18T11:00:00Z","ip":"::1","user_agent":"x"}'
            return [
                b"\x01" + SEPARATOR + b"[%b,%b]" % (body, dated),
                b"\x04" + SEPARATOR + body + b"\n" + dated,
            ]
        case "records":
            return [*frames, b"".join(frames)]
        case "payloads":
            return [SEPARATOR.join((at, *payloads, batch)) for at in (b"\0\x10\x01", b"\x03\0\x01", b"")]
        case "segment":
            return [header + b"".join(frames)]
        case "progress":
            return [
                b'gatehouse progress 1\nsplit events 0 10 ""\nfinished events 0 5 ""\n'
                b'given-up events 5 6 "Code: 469. \\u00e9"\nfinished sessions 0 7 ""\n'
            ]
        case "snapshot":
            session = entries[0].session
            assert session is not None
            memory = encode_memory(Memory(RateLimit(3600, 7, 1), (session,), ((NOW, (session,)),)))
            with _file("sessions.snapshot", b"") as path:
                write_snapshot(path, {1: memory}, now=NOW)
                return [path.read_bytes(), memory]
        case "session_log":
            session = entries[0].session
            assert session is not None
            session = replace(session, timestamp=int(NOW), start=int(NOW))
            payload = msgspec.msgpack.encode(((session,), ((1, int(NOW) + 1), (2, 0))))
            return [_log_of(payload), payload]
        case "refused_row":
            row = RefusedRow("ab" * 16, "events", 3, 1_795_000_000_000, "Code: 469.", 0, entries[0].event)
            return [encode_refused(row)]
        case "head":
            return heads.HEAD_SEEDS
        case "forwarded":
            return heads.FORWARDED_SEEDS
        case "journal" | "block":
            return recovery.JOURNAL_SEEDS
        case "quarantine":
            return recovery.QUARANTINE_SEEDS
        case _:
            return [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]


def _parts(data: bytes, count: int) -> list[bytes]:
    """Cut an input into so many parts; the last ones may be empty."""
    parts = data.split(SEPARATOR, count - 1)
    return parts + [b""] * (count - len(parts))


def _read_stream(stream: bytes, cut: int, heads: Heads) -> list[tuple[Mapping[str, str], bytes]]:
    """Read all plain requests of a stream that comes in two pieces; also checks where each one ends."""
    reader, found, position = PlainReader(heads), [], 0
    for seen in (stream[:cut], stream):
        while (taken := reader.read(seen, position)) > INCOMPLETE:
            request = stream[position : position + taken]
            assert request.startswith(REQUEST_LINE)
            assert request.endswith(b"\r\n\r\n" + reader.body)
            assert len(reader.body) == reader.head.length
            found.append((reader.head.headers, reader.body))
            position += taken
        if taken == FOREIGN:
            break
    return found


def _judge(request: Request) -> None:
    """Take a request through the pipeline for each domain; what is to be stored can be read again."""
    for domain in request.domains[:3]:
        event = Event(domain=domain, request=request)
        if run_steps(event, _context()) is None:
            session = open_session(event, 1)
            entry = Entry(to_row(event, session), None, session)
            _check_round_trip([entry])


def _check_round_trip(entries: list[Entry]) -> None:
    frames = encode_records(entries) if entries else b""
    assert decode_records(frames) == (entries, len(frames), ""), "an entry is read as another"


@contextlib.contextmanager
def _file(name: str, content: bytes) -> Iterator[Path]:
    """Give a file of this content in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


@cache
def _scratch() -> str | None:
    """Give a folder in memory where there is one: there may be a million files."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@cache
def _context() -> Context:
    return make_context(make_tables())


@cache
def _intake() -> tuple[EventIntake, ReplyBytes]:
    settings = PublicSettings(
        trusted_proxies=PROXIES, sender_token="", build=Build(version="0"), geo_database=lambda: ""
    )
    return EventIntake(settings, lambda: NOW), ReplyBytes(Answers(), lambda: NOW)
