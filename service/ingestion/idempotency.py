"""Keys by which senders mark what they send, so that sending it again does not count twice. Gatehouse's own.

A key belongs to a site: the same text at another site is another key. What is remembered of it is a digest,
of one size whatever was sent.
"""

import re
from hashlib import blake2b
from typing import Final

MAX_KEY_CHARS: Final = 200
KEY_MESSAGE: Final = f"should be 1 to {MAX_KEY_CHARS} visible ASCII character(s)"
DIGEST_BYTES: Final = 16

_KEY: Final = re.compile(f"[!-~]{{1,{MAX_KEY_CHARS}}}")


def is_key(text: str) -> bool:
    """Whether this can be a key: visible ASCII, so that headers and JSON carry it unchanged."""
    return _KEY.fullmatch(text) is not None


def digest_key(site_id: int, key: str) -> bytes:
    """Give what is remembered of a site's key: 16 bytes that no two keys share by chance."""
    return blake2b(b"%d %b" % (site_id, key.encode()), digest_size=DIGEST_BYTES).digest()
