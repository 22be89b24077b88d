"""Lost messages and crashes in the log: all counted, few written, no contents."""

import pytest

from actors.reports import LINES_PER_MINUTE, MINUTE_S, CrashLog, DeadLetters
from actors.runtime import Undelivered


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def crash(text: str, cause: Exception | None = None) -> LookupError:
    """An error as it comes out of a handler, always from the same place."""
    try:
        raise LookupError(text) from cause
    except LookupError as error:
        return error


def test_dead_letters_are_counted_by_kind_and_reason() -> None:
    """Each kind of actor and each reason has a counter of its own."""
    letters = DeadLetters()
    letters.record("site", Undelivered.FULL, "x")
    letters.record("site", Undelivered.FULL, "x")
    letters.record("site", Undelivered.STOPPED, "x")
    letters.record("buffer", Undelivered.FULL, "x")

    expected = {
        ("site", Undelivered.FULL): 2,
        ("site", Undelivered.STOPPED): 1,
        ("buffer", Undelivered.FULL): 1,
    }
    assert expected == letters.statistics()


def test_dead_letter_line_names_the_type_only(caplog: pytest.LogCaptureFixture) -> None:
    """The log gets the type of a lost message, never its contents."""
    DeadLetters().record("site", Undelivered.STOPPED, "203.0.113.7")

    assert [record.getMessage() for record in caplog.records] == ["dead letter: str to site (stopped)"]


def test_lines_are_limited_and_the_rest_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """So many lines a minute; the first one of the next minute says how many were held back."""
    clock = Clock()
    letters = DeadLetters(clock=clock)
    for _ in range(LINES_PER_MINUTE + 5):
        letters.record("site", Undelivered.FULL, "x")
    in_the_first_minute = len(caplog.records)
    clock.now += MINUTE_S
    letters.record("site", Undelivered.FULL, "x")

    assert in_the_first_minute == LINES_PER_MINUTE
    assert caplog.records[-1].getMessage() == "dead letter: str to site (full) [5 lines like this held back]"
    assert letters.statistics() == {("site", Undelivered.FULL): LINES_PER_MINUTE + 6}


def test_call_stack_comes_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first crash at a place brings the call stack, the next ones a line, within the limit."""
    crashes = CrashLog(clock=Clock())
    for _ in range(LINES_PER_MINUTE + 5):
        crashes.record("site 'site-1'", "Offer", crash("secret"))
    messages = [record.getMessage() for record in caplog.records]

    assert [message.count("\n") > 0 for message in messages] == [True] + [False] * LINES_PER_MINUTE
    assert all(message.startswith("site 'site-1' crashed on Offer: LookupError at ") for message in messages)


def test_causes_are_named_without_their_texts(caplog: pytest.LogCaptureFixture) -> None:
    """The causes of an error are named with their types and places, in the same silence about contents."""
    CrashLog().record("site", "Offer", crash("secret", cause=KeyError("secret too")))

    text = caplog.records[0].getMessage()
    assert "caused by:\nKeyError" in text
    assert "secret" not in text.replace('crash("secret', "")


def test_error_without_a_place(caplog: pytest.LogCaptureFixture) -> None:
    """An error that was never raised is logged as well."""
    CrashLog().record("site", "Offer", LookupError())

    assert "LookupError at an unknown place" in caplog.records[0].getMessage()
