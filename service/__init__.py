"""Gatehouse, the ingestion server of web analytics: from a tracker's POST to rows in ClickHouse.

- ``wire``: bytes to values and back; no I/O, no clock.
- ``ingestion``: the rules, pure functions over plain values.
- ``sites``: where sites, goals, shields and salts are kept.
- ``clickhouse``: where rows go.
- ``journal``: the write-ahead journal on disk.
- ``http``: the public and the admin listener; the only user of aiohttp.
- ``telemetry``, ``clock``, ``config``, ``cli``: one concern each.

The actors that own all changing state live beside it, in the package ``actors``.
"""

__version__ = "0.1.0"
