"""Settings: their sources, their priority, and what is said about a wrong one."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.generate import GENERATED, fill_in
from service.config import (
    Config,
    load_config,
    settings,
    settings_table,
    split_address,
)
from service.errors import ConfigError

NAMES = sorted(settings())


def load(
    toml: str = "", environ: dict[str, str] | None = None, flags: dict[str, object] | None = None, *, at: Path
) -> Config:
    """Load with the text as configuration file."""
    file = at / "gatehouse.toml"
    file.write_text(toml, encoding="utf-8")
    return load_config(file=file, environ=environ or {}, flags=flags or {})


def refusal(
    toml: str = "", environ: dict[str, str] | None = None, flags: dict[str, object] | None = None, *, at: Path
) -> str:
    """Give the sentence with which the sources are refused, with the folder left out."""
    with pytest.raises(ConfigError) as caught:
        load(toml, environ, flags, at=at)
    return str(caught.value).replace(f"{at}/", "")


def config_or_sentence(flags: dict[str, object]) -> Config | str:
    """Give the Config, or the sentence with which the flags are refused."""
    try:
        return load_config(file=Path(os.devnull), environ={}, flags=flags)
    except ConfigError as error:
        return str(error)


class TestSources:
    def test_without_any_source_all_settings_have_their_defaults(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No file, no variable, no flag: the defaults."""
        monkeypatch.chdir(tmp_path)

        assert load_config(file=None, environ={}, flags={}) == Config()

    def test_file_of_the_working_folder_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``gatehouse.toml`` counts without being named."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "gatehouse.toml").write_text("max_in_flight = 7")

        assert load_config(file=None, environ={}, flags={}).max_in_flight == 7

    @pytest.mark.parametrize(
        ("toml", "environ", "flags", "expected"),
        [
            ('durability = "fsync"', {}, {}, "fsync"),
            ('durability = "fsync"', {"GATEHOUSE_DURABILITY": "memory"}, {}, "memory"),
            ('durability = "fsync"', {"GATEHOUSE_DURABILITY": "memory"}, {"durability": "os"}, "os"),
            ("", {"GATEHOUSE_DURABILITY": "memory"}, {}, "memory"),
            ("", {}, {"durability": "memory"}, "memory"),
        ],
    )
    def test_flag_beats_variable_beats_file(
        self, tmp_path: Path, toml: str, environ: dict[str, str], flags: dict[str, object], expected: str
    ) -> None:
        """The priority of the sources rises from file to variable to flag."""
        assert load(toml, environ, flags, at=tmp_path).durability == expected

    @pytest.mark.parametrize(
        ("variable", "text", "name", "expected"),
        [
            ("GATEHOUSE_MAX_IN_FLIGHT", "12", "max_in_flight", 12),
            ("GATEHOUSE_BLOCK_MAX_AGE_S", "2.5", "block_max_age_s", 2.5),
            ("GATEHOUSE_BLOCK_MAX_AGE_S", "3", "block_max_age_s", 3.0),
            ("GATEHOUSE_MIGRATE_ON_START", "false", "migrate_on_start", False),
            ("GATEHOUSE_MIGRATE_ON_START", "1", "migrate_on_start", True),
            ("GATEHOUSE_DATA_DIR", "/var/lib/gatehouse", "data_dir", Path("/var/lib/gatehouse")),
            (
                "GATEHOUSE_TRUSTED_PROXIES",
                "10.1.2.3, fd00::/8",
                "trusted_proxies",
                ("10.1.2.3/32", "fd00::/8"),
            ),
            ("GATEHOUSE_LISTEN", "[::1]:80", "listen", "[::1]:80"),
        ],
    )
    def test_variable_is_read_as_the_settings_type(
        self, tmp_path: Path, variable: str, text: str, name: str, expected: object
    ) -> None:
        """The text of a variable becomes a number, a switch, a path or a list."""
        assert getattr(load(environ={variable: text}, at=tmp_path), name) == expected

    def test_empty_variable_counts_as_not_set(self, tmp_path: Path) -> None:
        """Compose files hand on empty variables for what nobody set."""
        assert load(environ={"GATEHOUSE_GEO_DATABASE": ""}, at=tmp_path).geo_database is None

    @pytest.mark.parametrize(
        ("variable", "text"),
        [
            ("GATEHOUSE_CONFIG", "gatehouse.toml"),
            ("GATEHOUSE_SERVICE_HOST", "10.0.0.1"),
            ("GATEHOUSE_SERVICE_PORT", "8000"),
            ("GATEHOUSE_SERVICE_PORT_HTTP", "8000"),
            ("GATEHOUSE_PORT", "tcp://10.0.0.1:8000"),
            ("GATEHOUSE_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
            ("GATEHOUSE_PORT_8000_TCP_ADDR", "10.0.0.1"),
            ("GATEHOUSE_ADMIN_SERVICE_HOST", "10.0.0.2"),
            ("LISTEN", "elsewhere"),
        ],
    )
    def test_variables_that_others_set_are_left_alone(self, tmp_path: Path, variable: str, text: str) -> None:
        """Kubernetes announces a Service called "gatehouse" in variables that are no settings."""
        assert load(environ={variable: text}, at=tmp_path) == Config()


class TestRefusals:
    @pytest.mark.parametrize(
        ("toml", "sentence"),
        [
            (
                'max_in_flight = "many"',
                'gatehouse.toml: max_in_flight is "many"; '
                "allowed: a whole number from 1 to 1,000,000 (requests).",
            ),
            (
                "max_in_flight = 0",
                "gatehouse.toml: max_in_flight is 0; allowed: a whole number from 1 to 1,000,000 (requests).",
            ),
            (
                "ask_timeout_s = nan",
                "gatehouse.toml: ask_timeout_s is nan; allowed: a number from 0.01 to 60 (seconds).",
            ),
            (
                'migrate_on_start = "yes"',
                'gatehouse.toml: migrate_on_start is "yes"; allowed: `true` or `false`.',
            ),
            (
                'store = "nativ"',
                'gatehouse.toml: store is "nativ"; allowed: `embedded` or `native`; did you mean "native"?',
            ),
            ("data_dir = 5", "gatehouse.toml: data_dir is 5; allowed: a path."),
            ('geo_database = ""', 'gatehouse.toml: geo_database is ""; allowed: a path.'),
            (
                'otlp_endpoint = "collector:4318"',
                'gatehouse.toml: otlp_endpoint is "collector:4318"; allowed: http://host:4318.',
            ),
            ("stor = 1", 'gatehouse.toml: there is no setting "stor"; did you mean "store"?'),
            (
                '[clickhouse]\nurl = "x"',
                'gatehouse.toml: there is no setting "clickhouse"; did you mean "clickhouse_url"?',
            ),
            ("zzz = 1", 'gatehouse.toml: there is no setting "zzz".'),
            (
                "store",
                "gatehouse.toml: is no valid TOML: Expected '=' after a key in a key/value pair "
                "(at end of document).",
            ),
        ],
    )
    def test_wrong_file_is_refused_in_one_sentence(self, tmp_path: Path, toml: str, sentence: str) -> None:
        """The sentence names the file, the setting, the value and what is allowed."""
        assert refusal(toml, at=tmp_path) == sentence

    @pytest.mark.parametrize(
        ("environ", "sentence"),
        [
            (
                {"GATEHOUSE_LOG_LEVEL": "loud"},
                'environment variable GATEHOUSE_LOG_LEVEL is "loud"; '
                "allowed: `debug` or `error` or `info` or `warning`.",
            ),
            (
                {"GATEHOUSE_LISTN": "x"},
                'environment variable GATEHOUSE_LISTN: there is no setting "listn"; did you mean "listen"?',
            ),
            (
                {"GATEHOUSE_PORT": "8000"},
                'environment variable GATEHOUSE_PORT: there is no setting "port".',
            ),
            (
                {"GATEHOUSE_TRUSTED_PROXIES": "10.0.0.0/8,nonsense"},
                'environment variable GATEHOUSE_TRUSTED_PROXIES is "10.0.0.0/8,nonsense"; '
                "allowed: a list of addresses or CIDR networks, in a variable separated by commas.",
            ),
        ],
    )
    def test_wrong_variable_is_refused_by_its_name(
        self, tmp_path: Path, environ: dict[str, str], sentence: str
    ) -> None:
        """A variable that begins with ``GATEHOUSE_`` is meant for us, so a wrong one stops the start."""
        assert refusal(environ=environ, at=tmp_path) == sentence

    def test_wrong_flag_is_refused_as_it_was_typed(self, tmp_path: Path) -> None:
        """The sentence says ``--block-max-rows``, not ``block_max_rows``."""
        sentence = refusal(flags={"block_max_rows": "-1"}, at=tmp_path)

        assert sentence.startswith('--block-max-rows is "-1"; allowed: a whole number from 1')

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "8000",
            ":8000",
            "localhost:",
            "localhost:70000",
            "localhost:-1",
            "::1:80",
            "[::1]",
            "[x]:80",
            "a b:80",
        ],
    )
    def test_address_without_host_or_port_is_refused(self, tmp_path: Path, address: str) -> None:
        """An address to listen at is host:port with a port up to 65535."""
        assert "allowed: host:port" in refusal(flags={"listen": address}, at=tmp_path)

    def test_password_is_not_repeated(self, tmp_path: Path) -> None:
        """A wrong ClickHouse URL may be logged; its password may not."""
        sentence = refusal('clickhouse_url = "http://me:se:c/r@et@db:8123/x"', at=tmp_path)

        assert "et" not in sentence.split(";")[0]
        assert "me:***@db" in sentence

    def test_named_file_that_is_missing_is_refused(self, tmp_path: Path) -> None:
        """Who names a file wants it read."""
        with pytest.raises(ConfigError, match=r"no\.toml: there is no such configuration file\."):
            load_config(file=tmp_path / "no.toml", environ={}, flags={})

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            ({"store": "native"}, "needs clickhouse_url"),
            ({"clickhouse_url": "clickhouse://db/x"}, 'store is "embedded"'),
            ({"clickhouse_cluster": "main"}, "clickhouse_cluster is set"),
            ({"admin_listen": "127.0.0.1:8000"}, "listen and admin_listen are both"),
            ({"metrics_listen": "127.0.0.1:8000"}, "listen and metrics_listen are both"),
            (
                {"block_max_bytes": "2097152", "journal_max_bytes": "1048576"},
                "is more than journal_max_bytes",
            ),
        ],
    )
    def test_settings_that_contradict_each_other_are_refused(
        self, tmp_path: Path, flags: dict[str, object], words: str
    ) -> None:
        """Settings that are right alone can be wrong together."""
        assert words in refusal(flags=flags, at=tmp_path)

    def test_free_ports_may_be_asked_for_twice(self, tmp_path: Path) -> None:
        """Port 0 is a different port each time."""
        flags: dict[str, object] = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}

        assert load(flags=flags, at=tmp_path).listen == "127.0.0.1:0"

    @given(
        name=st.sampled_from(NAMES),
        value=st.one_of(
            st.integers(),
            st.floats(),
            st.booleans(),
            st.text(),
            st.datetimes(),
            st.dates(),
            st.times(),
            st.lists(st.integers() | st.text()),
            st.dictionaries(st.text(), st.integers()),
        ),
    )
    def test_any_value_gives_a_config_or_a_sentence_with_the_name(self, name: str, value: object) -> None:
        """Whatever TOML can say for a setting is taken, or refused by the setting's name."""
        outcome = config_or_sentence({name: value})

        assert isinstance(outcome, Config) or (name in outcome.replace("-", "_") and "\n" not in outcome)


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("127.0.0.1:8000", ("127.0.0.1", 8000)),
            ("localhost:0", ("localhost", 0)),
            ("[::]:80", ("::", 80)),
            ("[fd00::1]:65535", ("fd00::1", 65535)),
        ],
    )
    def test_address_splits_into_host_and_port(self, text: str, expected: tuple[str, int]) -> None:
        """An IPv6 host leaves its brackets behind."""
        assert split_address(text) == expected


class TestDocumentation:
    @pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
    def test_tables_are_those_of_the_code(self, path: Path) -> None:
        """README.md has every setting, docs/telemetry.md every metric; ``make docs`` renews them."""
        assert fill_in(path) == path.read_text(encoding="utf-8")

    @pytest.mark.parametrize("name", NAMES)
    def test_every_setting_says_what_it_means(self, name: str) -> None:
        """Each setting has a sentence, what is allowed, a row in the table and a unit if it is a figure."""
        setting = settings()[name]

        assert setting.about.help.endswith(".")
        assert setting.allowed
        assert f"| `{name}` |" in settings_table()
        if type(setting.default) in (int, float):
            assert setting.about.unit

    def test_defaults_obey_their_own_rules(self) -> None:
        """Each default would be taken if somebody wrote it down."""
        flags = {name: setting.default for name, setting in settings().items() if setting.default is not None}

        assert load_config(file=Path(os.devnull), environ={}, flags=flags) == Config()
