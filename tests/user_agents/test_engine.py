"""The engine serves at once, survives whatever lies in its folder, and gives up in time."""

import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import RulesMissing
from service.ingestion.user_agent import MAX_READ_CHARS, Detection
from service.user_agents import rules, scanners
from service.user_agents.build import build
from service.user_agents.detector import Detector, Plan, TooSlow
from service.user_agents.engine import LIMIT_S, UserAgentEngine
from service.user_agents.scanners import (
    HyperscanScanner,
    HyperscanUnavailable,
    Re2Scanner,
    build_hyperscan,
    hyperscan_version,
)
from service.user_agents.store import database_path, load_scanners, read_databases, write_databases
from tests.support.user_agents import engine

CHROME = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
CHROME_TOLD = Detection(
    client_type="browser",
    client="Chrome",
    client_version="141.0",
    os="Windows",
    os_version="10",
    device="desktop",
)
EXPRESSIONS = [("(?:%s)", "abc"), ("(?:%s)", "a(?!b)"), ("(?:%s)", r"\d+$"), ("(?:%s)", "é")]

needs_hyperscan = pytest.mark.skipif(hyperscan_version() is None, reason="no Hyperscan for this machine")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The real rules."""
    return Plan(rules.load_rules())


@pytest.fixture(scope="module")
def few(plan: Plan) -> rules.Rules:
    """Two real rules of each list, whose databases are built in a moment."""
    real = plan.rules
    return msgspec.structs.replace(
        real,
        bots=real.bots[:2],
        systems=real.systems[:2],
        clients=tuple((kind, listed[:2]) for kind, listed in real.clients),
        makes=tuple((kind, [make for make in listed if make.models][:2]) for kind, listed in real.makes),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, few: rules.Rules) -> Path:
    """A file of databases as it should be."""
    return build(tmp_path_factory.mktemp("whole"), few)


class TestScanners:
    @pytest.mark.parametrize(
        ("text", "candidates"), [("ABC1", [0, 1, 2]), ("xyz", []), ("é", [3]), ("É", []), ("a", [1])]
    )
    def test_candidates(self, text: str, candidates: list[int]) -> None:
        """A scan names all that match, and of look-around what matches without it."""
        seen = text.encode().decode("latin-1")
        assert Re2Scanner(EXPRESSIONS).scan(seen, 0, 4) == candidates
        if hyperscan_version() is not None:
            assert HyperscanScanner(build_hyperscan(EXPRESSIONS)).scan(seen, 0, 4) == candidates

    def test_an_expression_that_re2_refuses_is_always_a_candidate(self) -> None:
        """So that none is missed."""
        assert Re2Scanner([("%s", "a{1001}"), ("%s", "b")]).scan("x", 0, 2) == [0]

    @needs_hyperscan
    def test_what_hyperscan_refuses(self) -> None:
        """A wrong expression or database is an error with the reason."""
        with pytest.raises(HyperscanUnavailable, match="cannot build"):
            build_hyperscan([("%s", "(")])
        with pytest.raises(HyperscanUnavailable, match="cannot load"):
            HyperscanScanner(b"no database")

    def test_no_hyperscan(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine without it is told by its missing version."""
        monkeypatch.setitem(sys.modules, "hyperscan", None)
        assert scanners.hyperscan_version() is None


class TestStore:
    def test_what_is_written_is_read(self, tmp_path: Path, plan: Plan) -> None:
        """Both databases come back; only the owner may read the file; older ones are removed."""
        path = database_path(tmp_path / "cache", plan, "1")
        write_databases(database_path(tmp_path / "cache", plan, "0"), b"old", b"older")
        write_databases(path, b"lists", b"models")
        assert read_databases(path) == (b"lists", b"models")
        assert list(path.parent.iterdir()) == [path]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("damage", ["cut", "flip", "empty", "missing"])
    def test_what_is_damaged_is_not_read(self, tmp_path: Path, damage: str) -> None:
        """A file that is not whole is as good as none."""
        path = tmp_path / "user-agents-1.hs"
        write_databases(path, b"lists", b"models")
        content = path.read_bytes()
        match damage:
            case "cut":
                path.write_bytes(content[:-1])
            case "flip":
                path.write_bytes(content[:-1] + b"x")
            case "empty":
                path.write_bytes(b"")
            case _:
                path.unlink()
        assert read_databases(path) is None


@needs_hyperscan
class TestBuild:
    @pytest.mark.parametrize(
        "damage", ["corrupted", "cut", "empty", "foreign", "of other rules", "refused", "half refused"]
    )
    def test_what_cannot_be_used_is_built_again(
        self, tmp_path: Path, few: rules.Rules, whole: Path, damage: str
    ) -> None:
        """It does not stay for ever: the file is as good as new afterwards."""
        path, content = tmp_path / whole.name, whole.read_bytes()
        match damage:
            case "corrupted":
                path.write_bytes(content[:-9] + b"?" + content[-8:])
            case "cut":
                path.write_bytes(content[: len(content) // 2])
            case "empty":
                path.touch()
            case "foreign":
                path.write_bytes(b"another program's file")
            case "of other rules":
                other = build(tmp_path, msgspec.structs.replace(few, hash="other"))
                other.rename(path)
            case "refused":
                write_databases(path, b"no", b"database")
            case "half refused":
                write_databases(path, (read_databases(whole) or (b"",))[0], b"")
        assert load_scanners(path) is None
        assert build(tmp_path, few) == path
        scanners, again = load_scanners(whole), load_scanners(path)
        assert scanners is not None
        assert again is not None
        for before, after in zip(scanners, again, strict=True):
            assert after.scan(CHROME, 0, 1000) == before.scan(CHROME, 0, 1000)

    def test_what_is_whole_stays(self, few: rules.Rules, whole: Path) -> None:
        """A second build finds it."""
        before = whole.stat()
        assert build(whole.parent, few) == whole
        assert whole.stat() == before

    def test_databases_of_other_rules_go(self, tmp_path: Path, few: rules.Rules) -> None:
        """Newer rules have a file of their own, and take the older one's place."""
        older = build(tmp_path, msgspec.structs.replace(few, hash="older"))
        newer = build(tmp_path, few)
        assert (list(tmp_path.iterdir()), newer != older) == ([newer], True)


class TestStart:
    def test_it_serves_at_once(self, tmp_path: Path) -> None:
        """Without databases it scans with RE2."""
        fresh = UserAgentEngine(tmp_path)
        assert fresh.scans_with == "RE2"
        assert fresh.take_apart(CHROME) == CHROME_TOLD

    @needs_hyperscan
    def test_it_serves_while_databases_are_built(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing waits for the building: with a process that never comes to an end all is the same."""
        never_ends = tmp_path / "never-ends"
        never_ends.write_text("#!/bin/sh\nexec cat\n")  # its input is held open
        never_ends.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(never_ends))
        fresh = UserAgentEngine(tmp_path / "cache")
        fresh.start(delay_s=0)
        while fresh._child is None:
            time.sleep(0.001)
        assert fresh.take_apart(CHROME) == CHROME_TOLD
        assert fresh.scans_with == "RE2"
        assert fresh._child.poll() is None
        fresh.close()
        assert fresh._child.poll() is not None

    @needs_hyperscan
    @pytest.mark.parametrize("content", [None, b"", b"another program's file"])
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, plan: Plan, content: bytes | None) -> None:
        """RE2 serves, and the building begins."""
        path = database_path(tmp_path, plan, hyperscan_version() or "")
        if content is None:
            write_databases(path, b"no", b"database")
        else:
            path.write_bytes(content)
        fresh = UserAgentEngine(tmp_path)
        assert fresh.scans_with == "RE2"
        fresh.start()
        assert fresh._waiter is not None
        fresh.close()

    @needs_hyperscan
    def test_closing_ends_the_building(self, tmp_path: Path) -> None:
        """A service that stops leaves no process behind."""
        fresh = UserAgentEngine(tmp_path)
        fresh.start(delay_s=0)
        while fresh._child is None:
            time.sleep(0.001)
        fresh.close()
        assert fresh._child.poll() is not None
        assert list(tmp_path.iterdir()) == []

    @needs_hyperscan
    def test_closing_before_the_building(self, tmp_path: Path) -> None:
        """A service that ends at once has begun nothing."""
        fresh = UserAgentEngine(tmp_path)
        fresh.start()
        fresh.close()
        assert fresh._child is None

    def test_the_child_ends_with_its_parent(self, tmp_path: Path) -> None:
        """What holds its standard input was killed: nobody needs the databases any more."""
        command = [sys.executable, "-m", "service.user_agents.build", "--supervised", str(tmp_path)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(30) == 1
        assert list(tmp_path.iterdir()) == []

    @needs_hyperscan
    def test_a_failed_build_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """When the databases cannot be built, RE2 stays, and the log says why."""
        monkeypatch.setattr(sys, "executable", "/bin/false")
        fresh = UserAgentEngine(tmp_path)
        fresh.start(delay_s=0)
        fresh.wait(30)
        assert "cannot be built" in caplog.text
        assert fresh.scans_with == "RE2"

    def test_expressions_are_compiled_ahead(self, monkeypatch: pytest.MonkeyPatch, few: rules.Rules) -> None:
        """When the start is over no rule has to be compiled while an event waits for it."""
        monkeypatch.setattr("service.user_agents.engine.load_rules", lambda: few)
        fresh = UserAgentEngine(None)
        fresh.start(delay_s=0)
        assert fresh._compiler is not None
        fresh._compiler.join(30)
        assert len(list(fresh._plan.sections())) > 10
        assert all(None not in section._patterns for section in fresh._plan.sections())

    def test_closing_ends_the_compiling(self) -> None:
        """A service that stops waits for no expression."""
        fresh = UserAgentEngine(None)
        fresh.start(delay_s=60)
        fresh.close()
        assert fresh._compiler is not None
        assert not fresh._compiler.is_alive()

    def test_sections_cover_the_plan(self, plan: Plan) -> None:
        """Each expression is in one of the sections that are compiled."""
        assert sum(map(len, plan.sections())) == len(plan.expressions) + len(plan.models)

    def test_nothing_to_build(self) -> None:
        """Without a folder nothing is started, and nothing has to be ended."""
        engine().start()
        engine().close()

    def test_missing_rules(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A package that is not there, or not as it should be, is named."""
        monkeypatch.setattr(rules, "PACKAGE", "no-such-package")
        with pytest.raises(RulesMissing, match="no-such-package is not installed"):
            rules.load_rules()

    def test_rules_of_another_layout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So is one whose files have moved."""
        monkeypatch.setattr(rules, "RULES_FOLDER", "elsewhere")
        with pytest.raises(RulesMissing, match="cannot be read"):
            rules.load_rules()


class TestLimits:
    def test_it_gives_up(self, plan: Plan) -> None:
        """After the limit no further rule is begun."""
        times = iter([0.0, LIMIT_S, LIMIT_S + 1])
        lists, models = Re2Scanner(plan.expressions), Re2Scanner(plan.models)
        detector = Detector(plan, lists, models, timer=lambda: next(times), limit_s=LIMIT_S)
        with pytest.raises(TooSlow):
            detector.detect(CHROME)

    def test_the_engine_gives_nothing_then(self) -> None:
        """The event goes on without what the user agent would have said."""
        times = iter(range(1000))
        slow = UserAgentEngine(None, timer=lambda: float(next(times)))
        assert slow.take_apart(CHROME) is None
        assert slow.explain(CHROME) == ()

    @given(st.text(max_size=MAX_READ_CHARS))
    def test_any_text_gives_a_verdict(self, text: str) -> None:
        """No text is an error."""
        engine().take_apart(text.encode("utf-8", "replace").decode())

    def test_without_a_letter_nothing_is_known(self) -> None:
        """Matomo does not look at such texts (reference 15.1)."""
        assert engine().take_apart("1.2.3 (4)") == Detection()

    def test_a_line_break_is_a_blank(self) -> None:
        """It can come in a batch; a rule's dot stops there and would try again from every place."""
        assert engine().take_apart(CHROME.replace(" ", "\n")) == engine().take_apart(CHROME)


@pytest.mark.parametrize(
    ("user_agent", "lists"),
    [
        (CHROME, ["systems", "clients: browser", "steps"]),
        ("Googlebot/2.1", ["bots"]),
        ("nothing known", []),
    ],
)
def test_what_matched(user_agent: str, lists: list[str]) -> None:
    """The rules that told are named, each with its list, its place there and its expression."""
    matched = engine().explain(user_agent)
    assert [rule.list for rule in matched] == lists
    assert all(rule.regex and rule.place >= 0 for rule in matched)


def test_the_version_fence_keeps_what_is_matched(plan: Plan) -> None:
    """Versions are matched with a shorter expression, which takes the same text."""
    for text in ("1", "1.2", "12.34.5", "..1.", "1.a", "0" * 30):
        for quantifier in "+*":
            slow, fast = re.compile(rf"(\d+[.\d]{quantifier})"), re.compile(rf"(\d[.\d]{quantifier})")
            assert slow.findall(text) == fast.findall(text)
