"""The keys of idempotent senders: what can be one, and what is remembered of it."""

import pytest

from service.ingestion.idempotency import DIGEST_BYTES, MAX_KEY_CHARS, digest_key, is_key


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("7b0e2f6c-8b52-4b8e-9d0e-3b7f6f1f2a11", True),
        ("!", True),
        ("~" * MAX_KEY_CHARS, True),
        ("", False),
        ("~" * (MAX_KEY_CHARS + 1), False),
        ("a key", False),
        ("key\n", False),
        ("schlüssel", False),
        ("\udc80", False),
    ],
)
def test_keys(text: str, good: bool) -> None:
    """Visible ASCII, not empty, not long."""
    assert is_key(text) is good


def test_a_key_belongs_to_a_site() -> None:
    """Another site's key is another key, and no two texts run together."""
    digests = {
        digest_key(1, "a"),
        digest_key(1, "b"),
        digest_key(2, "a"),
        digest_key(11, "1"),
        digest_key(1, "11"),
    }

    assert len(digests) == 5
    assert {len(digest) for digest in digests} == {DIGEST_BYTES}
    assert digest_key(1, "a") in digests
