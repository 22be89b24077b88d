"""The traffic of the benchmark: what 500 visitors' trackers would send, as ready-made HTTP requests.

Each visitor looks at pages, tells how far they scrolled, and now and then does something with properties.
A visitor's own events lie one round apart, further than there are connections, so they arrive in their order.
"""

import json
from collections.abc import Iterator
from itertools import count, cycle, islice
from random import Random

VISITORS = 500
PAGES = 40

_BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_LINUX = "Mozilla/5.0 (X11; Linux x86_64)"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X)"
_ANDROID = "Mozilla/5.0 (Linux; Android 10; K)"

USER_AGENTS = (
    f"{_WINDOWS} {_BLINK} Chrome/141.0.0.0 Safari/537.36",
    f"{_WINDOWS} {_BLINK} Chrome/140.0.0.0 Safari/537.36",
    f"{_WINDOWS} {_BLINK} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
    f"{_WINDOWS} {_BLINK} Chrome/140.0.0.0 Safari/537.36 OPR/124.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    f"{_MAC} {_BLINK} Chrome/141.0.0.0 Safari/537.36",
    f"{_MAC} {_WEBKIT} Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:144.0) Gecko/20100101 Firefox/144.0",
    f"{_LINUX} {_BLINK} Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    f"{_IPHONE} {_WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1",
    f"{_IPHONE} {_WEBKIT} CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) {_WEBKIT} Version/18.5 Mobile/15E148 Safari/604.1",
    f"{_ANDROID} {_BLINK} Chrome/141.0.0.0 Mobile Safari/537.36",
    f"{_ANDROID} {_BLINK} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0",
    f"Mozilla/5.0 (Linux; Android 14; SM-X510) {_BLINK} Chrome/140.0.0.0 Safari/537.36",
)

REFERRERS = (
    None,
    "https://www.google.com/",
    "https://duckduckgo.com/",
    "https://news.ycombinator.com/item?id=41000000",
    "https://www.reddit.com/r/selfhosted/",
    "https://blog.partner.example/weekly-links",
)

# The networks that are kept for documentation: 3 x 254 addresses that belong to nobody.
NETWORKS = ("192.0.2", "198.51.100", "203.0.113")

ROUNDS = ("pageview", "engagement", "pageview", "Signup", "engagement", "pageview", "engagement", "Download")
TRACKER_VERSION = 24
BATCH_EVENTS = 500
NEW_USER_AGENTS = 2_000


def make_requests(*, host: str, domain: str) -> list[bytes]:
    """Give all requests, one round of all visitors after the other; they can be sent over and over."""
    return [
        _request(host=host, visitor=visitor, body=body)
        for round_number, name in enumerate(ROUNDS)
        for visitor, body in _bodies(name, round_number, domain)
    ]


def make_new_visitors(*, host: str, domain: str) -> Iterator[bytes]:
    """Give page views without end, each of a visitor never seen, with one of 2,000 user agents."""
    agents = [_made_up_user_agent(number) for number in range(NEW_USER_AGENTS)]
    chance = Random(0)
    for visitor in count():
        page = visitor % PAGES
        event = {
            "n": "pageview",
            "u": f"https://{domain}/articles/{page}",
            "d": domain,
            "r": REFERRERS[visitor % len(REFERRERS)],
            "v": TRACKER_VERSION,
        }
        address = f"10.{visitor >> 16 & 255}.{visitor >> 8 & 255}.{visitor & 255}"
        body = json.dumps(event, separators=(",", ":")).encode()
        yield _head(host, agents[chance.randrange(NEW_USER_AGENTS)], address, len(body)) + body


def make_spread(*, host: str, sites: int, visitors: int) -> Iterator[bytes]:
    """Give page views without end: one of a visitor of each site in turn, then of the next one of each.

    Every site has the same visitors, so only the number of sites and sessions makes a difference.
    """
    heads: dict[tuple[int, int], bytes] = {}
    for visitor in cycle(range(visitors)):
        for site in range(sites):
            body = _spread_body(site, visitor)
            head = heads.get((visitor, len(body)))
            if head is None:
                agent = USER_AGENTS[visitor % len(USER_AGENTS)]
                head = heads[visitor, len(body)] = _head(host, agent, _address(visitor), len(body))
            yield head + body


def make_spread_batches(*, host: str, sites: int, visitors: int, token: str) -> Iterator[bytes]:
    """Give one page view of each visitor of each site, as batches."""
    senders = [
        f',"ip":"{_address(visitor)}","user_agent":"{USER_AGENTS[visitor % len(USER_AGENTS)]}"}}'.encode()
        for visitor in range(visitors)
    ]
    items = (
        _spread_body(site, visitor)[:-1] + senders[visitor]
        for site in range(sites)
        for visitor in range(visitors)
    )
    return _cut_batches(items, host=host, token=token)


def make_first_engagements(*, host: str, sites: int, token: str) -> Iterator[bytes]:
    """Give an engagement for each site, which finds no session there, as batches."""
    sender = f',"sd":50,"e":2000,"ip":"{_address(0)}","user_agent":"{USER_AGENTS[0]}"}}'.encode()
    items = (_spread_body(site, 0, name="engagement")[:-1] + sender for site in range(sites))
    return _cut_batches(items, host=host, token=token)


def spread_domain(site: int) -> str:
    """Give the domain of one of many sites."""
    return f"site-{site}.bench.example"


def make_batches(*, host: str, domain: str, token: str) -> list[bytes]:
    """Give all events of the visitors as batches of a trusted sender."""
    requests: list[bytes] = []
    for round_number, name in enumerate(ROUNDS):
        items = [
            json.loads(body)
            | {"ip": _address(visitor), "user_agent": USER_AGENTS[visitor % len(USER_AGENTS)]}
            for visitor, body in _bodies(name, round_number, domain)
        ]
        encoded = (json.dumps(item, separators=(",", ":")).encode() for item in items)
        requests += _cut_batches(encoded, host=host, token=token)
    return requests


def _cut_batches(items: Iterator[bytes], *, host: str, token: str) -> Iterator[bytes]:
    while part := list(islice(items, BATCH_EVENTS)):
        body = b"[" + b",".join(part) + b"]"
        head = (
            "POST /api/events HTTP/1.1\r\n"
            f"Host: {host}\r\n"
            f"Authorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "\r\n"
        )
        yield head.encode() + body


def _spread_body(site: int, visitor: int, *, name: str = "pageview") -> bytes:
    domain = spread_domain(site)
    referrer = REFERRERS[visitor % len(REFERRERS)]
    url = f"https://{domain}/articles/{visitor % PAGES}"
    text = f'{{"n":"{name}","u":"{url}","d":"{domain}","v":{TRACKER_VERSION}'
    return (text + ("}" if referrer is None else f',"r":"{referrer}"}}')).encode()


def _made_up_user_agent(number: int) -> str:
    """Give one of many that are as long and as odd as real ones."""
    model = f"SM-{chr(65 + number % 23)}{100 + number // 23}"
    system = f"Mozilla/5.0 (Linux; Android {9 + number % 7}; {model})"
    return f"{system} {_BLINK} Chrome/{90 + number % 51}.0.{number}.0 Mobile Safari/537.36"


def _bodies(name: str, round_number: int, domain: str) -> Iterator[tuple[int, bytes]]:
    for visitor in range(VISITORS):
        page = (visitor * 7 + round_number // 2) % PAGES
        event: dict[str, object] = {
            "n": name,
            "u": f"https://{domain}/articles/{page}?utm_source=newsletter&page={page}",
            "d": domain,
            "r": REFERRERS[visitor % len(REFERRERS)],
            "v": TRACKER_VERSION,
        }
        if name == "engagement":
            event |= {"sd": 10 + visitor % 90, "e": 1_000 + visitor * 13}
        elif name != "pageview":
            event["p"] = {"plan": "team" if visitor % 3 else "personal", "logged_in": "false"}
        yield visitor, json.dumps(event, separators=(",", ":")).encode()


def _request(*, host: str, visitor: int, body: bytes) -> bytes:
    return _head(host, USER_AGENTS[visitor % len(USER_AGENTS)], _address(visitor), len(body)) + body


def _address(visitor: int) -> str:
    return f"{NETWORKS[visitor % len(NETWORKS)]}.{1 + visitor // len(NETWORKS)}"


def _head(host: str, user_agent: str, address: str, length: int) -> bytes:
    head = (
        "POST /api/event HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        f"User-Agent: {user_agent}\r\n"
        f"X-Forwarded-For: {address}\r\n"
        "Content-Type: text/plain\r\n"
        "Accept: */*\r\n"
        f"Content-Length: {length}\r\n"
        "\r\n"
    )
    return head.encode()
