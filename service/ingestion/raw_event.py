"""An event as it stands on the wire: every field a tracker may send, unchecked.

Source: reference section 3.2.
"""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

MAX_USUAL_NAME_CHARS: Final = 120
MAX_USUAL_URL_CHARS: Final = 500
MAX_USUAL_DOMAIN_CHARS: Final = 128
MAX_USUAL_REFERRER_CHARS: Final = 2000
"""What is longer is rare; within these lengths a text is within its limit, whatever it holds."""


class RawEvent(Struct, kw_only=True, gc=False):
    """The known fields of one JSON object or form; None where a field is missing or null.

    All are of any type, because the reference is lenient about most: ``build_request`` judges them.
    """

    # Those that trackers send, in their order: so they are found in one go.
    n: Any = None
    v: Any = None
    u: Any = None
    d: Any = None
    r: Any = None
    p: Any = None
    h: Any = None
    i: Any = None
    sd: Any = None
    e: Any = None
    dollar: Any = field(name="$", default=None)
    m: Any = None
    name: Any = None
    url: Any = None
    domain: Any = None
    referrer: Any = None
    meta: Any = None
    props: Any = None
    hash_mode: Any = field(name="hashMode", default=None)
    interactive: Any = None
    revenue: Any = None
    method: Any = field(name="_method", default=None)
    """Not of the event: a POST with PUT, PATCH or DELETE here is taken for such a request (reference 1.2)."""
    format: Any = field(name="_format", default=None)
    """Not of the event: the form of answer that the sender wants (reference 1.2)."""


class UsualEvent(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An event as nearly every tracker sends it: types and lengths are checked while it is decoded.

    Fields as in ``RawEvent``. What has others, or others' types, is no usual event, which says nothing of
    whether it is valid.
    """

    n: Annotated[str, Meta(max_length=MAX_USUAL_NAME_CHARS)]
    v: int = 0
    u: Annotated[str, Meta(max_length=MAX_USUAL_URL_CHARS)]
    d: Annotated[str, Meta(max_length=MAX_USUAL_DOMAIN_CHARS)]
    r: Annotated[str, Meta(max_length=MAX_USUAL_REFERRER_CHARS)] | None = None
    p: dict[str, Any] | None = None
    h: int = 0
    i: bool = True
    sd: int | None = None
    e: int | None = None


def choose(short: Any, long: Any) -> Any:
    """Give the short field unless it is missing, null or false; then the long one (reference 3.2)."""
    return long if short is None or short is False else short
