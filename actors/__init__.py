"""State and messages: every piece of changing state has exactly one owner. Knows no HTTP, SQL or JSON.

- ``mailbox``, ``runtime``, ``supervision``: the kernel; knows nothing of analytics.
- ``messages``: the protocol of the system on one page.
- ``front``, ``site``, ``buffer``, ``counters``, ``salts``: the actors.
- ``system``: builds the tree in order, finds or starts a site's actor, passivates, drains.
"""
