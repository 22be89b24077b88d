"""Matomo's device-detector as an engine: its rules as data, a scan that names candidates, its order of steps.

- ``rules``: reads the rules out of the package ``device_detector``, whose code is never imported.
- ``patterns``: a rule's regular expression as Matomo applies it.
- ``scanners``: which rules may match a text, by Hyperscan or by RE2.
- ``detector`` and ``device``: the steps around them.
- ``store``: built databases on disk, which ``build`` builds; ``engine`` puts everything together.
"""
