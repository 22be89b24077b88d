"""How a visit came, all of it at once: source, medium and channel, found once for all that came alike.

Of a request nothing else counts for it than the referrer, and the host and a handful of parameters of its
URL, and most visits share these with others. The steps that the reference has for it do the same one by one
(``event``).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from service.ingestion.channel import find_channel
from service.ingestion.request import Request
from service.ingestion.rows import Text, to_text
from service.ingestion.source import PARAMETERS, Source, infer_medium, source_of
from service.ingestion.source_table import SourceTable

MAX_REMEMBERED: Final = 4096
MAX_REMEMBERED_CHARS: Final = 512
"""Of the referrer, and of all parameters together."""


Texts = tuple[Text, Text, str, Text, Text, Text, Text, Text]


class Origin(NamedTuple):
    """How a visit came."""

    source: Source
    """Its medium inferred where none was sent."""
    channel: str
    texts: Texts
    """The source as it is stored: the first fields of ``SessionAttributes``, in their order."""


def find_origin(request: Request, table: SourceTable) -> Origin:
    """Give what the steps ``put_source_info`` to ``put_acquisition_channel`` would find."""
    query, referrer = request.query, request.referrer
    values = tuple(map(query.get, PARAMETERS)) if query else ()
    is_short = (referrer is None or len(referrer) <= MAX_REMEMBERED_CHARS) and (
        not values or sum(map(len, filter(None, values))) <= MAX_REMEMBERED_CHARS
    )
    find = _find_remembered if is_short else _find
    return find(table, referrer, request.url_host, values)


def _find(
    table: SourceTable, referrer: str | None, url_host: str | None, values: tuple[str | None, ...]
) -> Origin:
    query: Mapping[str, str] = {
        name: value for name, value in zip(PARAMETERS, values, strict=False) if value is not None
    }
    source = infer_medium(source_of(referrer, url_host, query, table))
    return Origin(source, find_channel(source, table), _texts_of(source))


def _texts_of(source: Source) -> Texts:
    return (
        to_text(source.referrer),
        to_text(source.referrer_source),
        source.click_id_param,
        to_text(source.utm_medium or ""),
        to_text(source.utm_source),
        to_text(source.utm_campaign),
        to_text(source.utm_content),
        to_text(source.utm_term),
    )


_find_remembered: Final = lru_cache(MAX_REMEMBERED)(_find)
