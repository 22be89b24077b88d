"""How a visit came, all at once, is what the steps find one by one."""

from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.channel import find_channel
from service.ingestion.event import Tables
from service.ingestion.origin import MAX_REMEMBERED_CHARS, find_origin
from service.ingestion.source import PARAMETERS, find_source, infer_medium
from tests.support.events import make_request

NAMES = st.sampled_from([*PARAMETERS, "page", "UTM_SOURCE", ""])
VALUES = st.one_of(
    st.sampled_from(
        ["", "google", "fb", "cpc", "Paid Social", "bing", "newsletter", "x" * MAX_REMEMBERED_CHARS]
    ),
    st.text(max_size=20),
)
REFERRERS = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "https://www.google.com/",
            "https://example.com/a",
            "https://news.ycombinator.com/item?id=1",
            "android-app://com.reddit.frontpage",
            "https://t.co/" + "x" * MAX_REMEMBERED_CHARS,
        ]
    ),
    st.text(max_size=40),
)


@given(referrer=REFERRERS, query=st.one_of(st.none(), st.dictionaries(NAMES, VALUES, max_size=6)))
def test_is_what_the_steps_find(tables: Tables, referrer: str | None, query: dict[str, str] | None) -> None:
    """Whatever was sent, and whether it is remembered or too long for that; asked twice it is the same."""
    request = make_request(referrer=referrer, query=query)
    source = infer_medium(find_source(request, tables.sources))

    first, second = (find_origin(request, tables.sources) for _ in range(2))

    assert first == second
    assert (first.source, first.channel) == (source, find_channel(source, tables.sources))


def test_only_what_counts_is_looked_at(tables: Tables) -> None:
    """Visits with different pages, and parameters that mean nothing, came the same way."""
    one = find_origin(make_request(referrer="https://www.bing.com/", query={"page": "1"}), tables.sources)
    other = find_origin(make_request(referrer="https://www.bing.com/", query={"page": "2"}), tables.sources)

    assert one is other
    assert one.source.referrer_source == "Bing"
