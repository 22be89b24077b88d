"""Long lists in parts: opaque cursors that name an item by its sort key. Source: reference 17.2.

A cursor stays good when items come and go, because it says "after this key", not "after so many items".
"""

import base64
import binascii
from collections.abc import Callable
from typing import TypeVar

import msgspec

from service.errors import SiteInvalid
from service.sites.records import MAX_PAGE_ITEMS, Page, PageRequest

T = TypeVar("T")
K = TypeVar("K", str, int)


def encode_cursor(key: str | int) -> str:
    """Give the cursor of the item with this key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode()


def decode_cursor(field: str, cursor: str | None, type_: type[K]) -> K | None:
    """Give the key that a cursor names; None for none. Raises SiteInvalid when it is not one of this list."""
    if cursor is None:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=type_)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise SiteInvalid(field, "is invalid") from error


def check_limit(limit: int) -> int:
    """Give the number of items of a part, at most 1000. Raises SiteInvalid when it is less than one."""
    if limit < 1:
        raise SiteInvalid("limit", "must be at least 1")
    return min(limit, MAX_PAGE_ITEMS)


def cut_page(found: list[T], request: PageRequest, *, limit: int, key: Callable[[T], str | int]) -> Page[T]:
    """Make a part of up to ``limit`` items of ``found``, which holds one more when the list goes on."""
    more = len(found) > limit
    if request.before is not None:
        items, has_previous, has_next = found[-limit:], more, True
    else:
        items, has_previous, has_next = found[:limit], request.after is not None, more
    return Page(
        items=items,
        after=encode_cursor(key(items[-1])) if items and has_next else None,
        before=encode_cursor(key(items[0])) if items and has_previous else None,
        limit=limit,
    )
