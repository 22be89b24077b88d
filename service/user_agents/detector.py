"""Takes a user agent apart as Matomo's device-detector does: bot, system, client, device, in its order.

One scan names the candidates of all lists; within a list the first that is confirmed wins. Reference 15.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from service.ingestion.user_agent import BROWSER, Detection, MatchedRule
from service.user_agents.device import HINT_PLACES, HINTS, TV, Hint, Sighting, find_type
from service.user_agents.patterns import (
    HINT,
    RULE,
    Match,
    Pattern,
    as_bytes_seen,
    compile_pattern,
    fill,
    fill_version,
)
from service.user_agents.rules import Make, Model, Rule, Rules
from service.user_agents.scanners import Scanner

UNTRUSTED_MAKE: Final = "Apple"
UNDETECTED: Final = Detection()
BOT: Final = Detection(is_bot=True)
_LETTER: Final = re.compile("[A-Za-z]")
APPLE_SYSTEMS: Final = frozenset({"iPadOS", "tvOS", "watchOS", "iOS", "Mac"})


class TooSlow(Exception):
    """The user agent was given up at the deadline."""


class Section:
    """A list of rules within all that is scanned for: its expressions, from the number ``start`` on.

    Each expression is a pair of a frame with one ``%s`` and what stands in it.
    """

    __slots__ = ("_expressions", "_patterns", "end", "name", "start")

    def __init__(self, name: str, start: int, expressions: Sequence[tuple[str, str]]) -> None:
        self.name = name
        self._expressions = expressions
        self._patterns: list[Pattern | None] = [None] * len(expressions)
        self.start = start
        self.end = start + len(expressions)

    def __len__(self) -> int:
        return len(self._expressions)

    def pattern(self, place: int) -> Pattern:
        """Give the compiled expression; it is compiled when it is first asked for, in whatever thread."""
        known = self._patterns[place]
        if known is None:
            frame, regex = self._expressions[place]
            known = self._patterns[place] = compile_pattern(frame % regex)
        return known

    def rule(self, place: int) -> MatchedRule:
        """Name one rule."""
        return MatchedRule(self.name, place, self._expressions[place][1])


class Plan:
    """Everything that is scanned for, numbered: the lists of rules, and in a second space the models."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.expressions: list[tuple[str, str]] = []
        self.models: list[tuple[str, str]] = []
        self.bots = self._add("bots", rules.bots)
        self.systems = self._add("systems", rules.systems)
        self.system_versions = [
            self._add(f"versions of {rule.name}", rule.versions) for rule in rules.systems
        ]
        self.clients = [
            (kind, self._add(f"clients: {kind}", listed), listed) for kind, listed in rules.clients
        ]
        self.makes = [(kind, self._add(f"devices: {kind}", listed), listed) for kind, listed in rules.makes]
        self.hints = _extend("steps", self.expressions, [(_frame(hint), hint.regex) for hint in HINTS])
        self.make_models = [
            [self._add_models(make) if make.models else None for make in listed] for _, listed in rules.makes
        ]

    def sections(self) -> Iterator[Section]:
        """Give all sections, those that every user agent asks first."""
        yield from (self.bots, self.systems, self.hints)
        yield from (section for _, section, _ in self.clients)
        yield from self.system_versions
        yield from (section for _, section, _ in self.makes)
        yield from (section for models in self.make_models for section in models if section is not None)

    def _add(self, name: str, listed: Sequence[Rule] | Sequence[Make]) -> Section:
        return _extend(name, self.expressions, [(RULE, rule.regex) for rule in listed])

    def _add_models(self, make: Make) -> Section:
        return _extend(f"models of {make.brand}", self.models, [(RULE, model.regex) for model in make.models])


def _extend(name: str, space: list[tuple[str, str]], expressions: list[tuple[str, str]]) -> Section:
    """Number some expressions after those that are there."""
    section = Section(name, len(space), expressions)
    space += expressions
    return section


def _frame(hint: Hint) -> str:
    return RULE if hint.as_rule else HINT


class Detector:
    """Takes user agents apart; ``lists`` and ``models`` scan for what the plan numbers."""

    def __init__(
        self, plan: Plan, lists: Scanner, models: Scanner, *, timer: Callable[[], float], limit_s: float
    ) -> None:
        self._plan = plan
        self._lists = lists
        self._models = models
        self._timer = timer
        self._limit_s = limit_s

    def use(self, lists: Scanner, models: Scanner) -> None:
        """Scan with these from now on."""
        self._lists, self._models = lists, models

    def detect(self, user_agent: str) -> Detection:
        """Take it apart. Raises TooSlow after the limit; a rule that was begun is finished."""
        return self._detect(user_agent, [])

    def explain(self, user_agent: str) -> tuple[MatchedRule, ...]:
        """Give the rules that matched, in the order they were asked. Raises TooSlow after the limit."""
        matched: list[tuple[Section, int]] = []
        self._detect(user_agent, matched)
        return tuple(section.rule(place) for section, place in matched)

    def _detect(self, user_agent: str, matched: list[tuple[Section, int]]) -> Detection:
        # A line break cannot come in a header, only in a batch; rules that look beyond none would take long.
        seen = as_bytes_seen(user_agent).replace("\n", " ")
        if not _LETTER.search(seen):
            return UNDETECTED
        plan = self._plan
        end = self._timer() + self._limit_s
        numbers = self._lists.scan(seen, 0, len(plan.expressions))
        candidates = Candidates(seen, numbers, self._timer, end, matched)
        if candidates.first(plan.bots) is not None:
            return BOT
        system, version = self._find_system(candidates)
        kind, client, client_version = self._find_client(candidates)
        return Detection(
            client_type=kind,
            client=client,
            client_version=client_version,
            os=system,
            os_version=version,
            device=self._find_device(candidates, user_agent, (system, version), (kind, client)),
        )

    def _find_system(self, candidates: "Candidates") -> tuple[str, str]:
        plan = self._plan
        found = candidates.first(plan.systems)
        if found is None:
            return "", ""
        place, match = found
        rule = plan.rules.systems[place]
        name = fill(rule.name or "", match)
        version = fill_version(rule.version or "", match)
        finer = candidates.first(plan.system_versions[place])
        if finer is not None:
            place, match = finer
            rule = rule.versions[place]
            name = name if rule.name is None else fill(rule.name, match)
            version = version if rule.version is None else fill_version(rule.version, match)
        return plan.rules.system_names.get(name.lower(), name), version

    def _find_client(self, candidates: "Candidates") -> tuple[str, str, str]:
        for kind, section, listed in self._plan.clients:
            found = candidates.first(section)
            if found is not None:
                place, match = found
                name = fill(listed[place].name or "", match)
                if kind == BROWSER:
                    name = self._plan.rules.browser_names.get(name.lower(), name)
                return kind, name, fill_version(listed[place].version or "", match)
        return "", "", ""

    def _find_device(
        self, candidates: "Candidates", user_agent: str, system: tuple[str, str], client: tuple[str, str]
    ) -> str:
        rules = self._plan.rules

        def says(hint: str) -> bool:
            return candidates.confirms(self._plan.hints, HINT_PLACES[hint])

        kind, brand = self._find_make(candidates, says)
        if brand == UNTRUSTED_MAKE and system[0] not in APPLE_SYSTEMS:
            kind = ""
        family = rules.families.get(system[0], "")
        sighting = Sighting(
            user_agent=user_agent,
            system=system[0],
            family=family,
            version=system[1],
            on_tv=client[1] in rules.tv_clients,
            on_desktop=family in rules.desktop_families
            and not (client[0] == BROWSER and client[1] in rules.mobile_only_browsers),
        )
        return find_type(kind, sighting, says)

    def _find_make(self, candidates: "Candidates", says: Callable[[str], bool]) -> tuple[str, str]:
        if says("hbbtv") or says("shell tv"):
            return TV, ""
        if says("desktop system") and not says("no desktop after all"):
            return "", ""
        for (kind, section, listed), models in zip(self._plan.makes, self._plan.make_models, strict=True):
            if kind == "notebook" and not says("facebook device"):
                continue
            found = candidates.first(section)
            if found is not None:
                make = listed[found[0]]
                model = self._find_model(candidates, make, models[found[0]])
                device = model.device if model is not None and model.device else make.device
                return device or "", (model.brand if model is not None else None) or make.brand
        return "", ""

    def _find_model(self, candidates: "Candidates", make: Make, section: "Section | None") -> Model | None:
        if section is None:
            return None
        found = candidates.scanned_by(self._models, section).first(section)
        return None if found is None else make.models[found[0]]


class Candidates:
    """One text, and the numbers of the expressions that may match it."""

    __slots__ = ("_end", "_matched", "_numbers", "_seen", "_timer")

    def __init__(
        self,
        seen: str,
        numbers: list[int],
        timer: Callable[[], float],
        end: float,
        matched: list[tuple[Section, int]],
    ) -> None:
        """``matched`` is where the rules that match are noted."""
        self._seen = seen
        self._numbers = numbers
        self._timer = timer
        self._end = end
        self._matched = matched

    def scanned_by(self, scanner: Scanner, section: Section) -> "Candidates":
        """Give the candidates of a section that another scanner names."""
        numbers = scanner.scan(self._seen, section.start, section.end)
        return Candidates(self._seen, numbers, self._timer, self._end, self._matched)

    def first(self, section: Section) -> tuple[int, Match] | None:
        """Give the first rule of the section that matches, by its place, and the match. Raises TooSlow."""
        numbers = self._numbers
        place = bisect_left(numbers, section.start)
        while place < len(numbers) and numbers[place] < section.end:
            if self._timer() > self._end:
                raise TooSlow
            rule = numbers[place] - section.start
            match = section.pattern(rule).search(self._seen)
            if match is not None:
                self._matched.append((section, rule))
                return rule, match
            place += 1
        return None

    def confirms(self, section: Section, place: int) -> bool:
        """Tell whether one rule matches."""
        number = section.start + place
        at = bisect_left(self._numbers, number)
        if at == len(self._numbers) or self._numbers[at] != number:
            return False
        if section.pattern(place).search(self._seen) is None:
            return False
        self._matched.append((section, place))
        return True
