"""Every setting of the service: one frozen ``Config``, read from a file, the environment and flags.

Each field of ``Config`` is the only place where its setting is declared: name, type, default, range, meaning
and unit. The README's table is made from it (``settings_table``), and so are the sentences for a wrong value.

- Sources in rising priority: defaults, ``gatehouse.toml``, ``GATEHOUSE_<NAME>`` variables, flags.
- A wrong value, an unknown name or two settings that contradict each other raise ConfigError: one sentence
  that says where the value stands, what it is and what is allowed. A password in a URL is not repeated.
- The environment is read once, by the caller; nothing here keeps state.
"""

import difflib
import ipaddress
import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import msgspec.inspect
from msgspec import Meta, Struct

from service.errors import ConfigError

ENVIRONMENT_PREFIX: Final = "GATEHOUSE_"
DEFAULT_FILE: Final = Path("gatehouse.toml")
CONFIG_FILE_VARIABLE: Final = "GATEHOUSE_CONFIG"
"""Names the file, as ``--config`` does; it is no setting."""

LOOPBACK_AND_PRIVATE: Final = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
)

IP_VERDICTS: Final = ("dc_ip", "threat_ip", "anonymous_vpn_ip")
"""What a list of addresses can say of them."""

MEBIBYTE: Final = 1024 * 1024
LONGEST_VALUE_SHOWN: Final = 80

ClickhouseUrl = Annotated[str, Meta(pattern=r"^clickhouses?://[^\s/?#]+(/[^\s/?#]*)?(\?\S*)?$")]
ClusterName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.{}-]+$")]
HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+(/\S*)?$")]

# Kubernetes gives every container such variables for each Service, also for one that is called "gatehouse".
SERVICE_LINK = re.compile(
    r"GATEHOUSE_(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
PASSWORD_IN_URL = re.compile(r"(//[^:/@\s]*:)\S*@")


def split_address(text: str) -> tuple[str, int]:
    """Split ``host:port``; an IPv6 host stands in brackets, port 0 asks the system for a free one.

    Raises ValueError when the text is no such address.
    """
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(text)
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", host):
        raise ValueError(text)
    return host, int(port)


def _check_address(text: str) -> str:
    split_address(text)
    return text


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(network.strip(), strict=False)) for network in networks)


def _check_ip_lists(entries: tuple[str, ...]) -> tuple[str, ...]:
    for entry in entries:
        file, _, verdict = entry.rpartition("=")
        if not file.strip() or "\0" in file or verdict not in IP_VERDICTS:
            raise ValueError(entry)
    return entries


class About(Struct, frozen=True):
    """What a setting means, for people.

    ``allowed`` is derived from the type where the type says it all. ``check`` gives the value in canonical
    form or raises ValueError; it sees values that already have the right type.
    """

    help: str
    unit: str = ""
    allowed: str = ""
    check: Callable[[Any], object] | None = None


class Config(Struct, frozen=True, kw_only=True):
    """All settings, valid each and together."""

    listen: Annotated[
        str,
        About(
            "Where trackers send their events.",
            allowed="host:port, for example 127.0.0.1:8000 or [::]:8000; port 0 takes a free one",
            check=_check_address,
        ),
    ] = "127.0.0.1:8000"
    admin_listen: Annotated[
        str,
        About(
            "Where the admin API answers; it always wants a token (`gatehouse token`).",
            allowed="host:port, for example 127.0.0.1:8001; port 0 takes a free one",
            check=_check_address,
        ),
    ] = "127.0.0.1:8001"
    data_dir: Annotated[
        Path, About("Folder for sites, journal, tokens and the embedded store; only its owner may read it.")
    ] = Path("data")
    trusted_proxies: Annotated[
        tuple[str, ...],
        About(
            "Who may say in a header which address a visitor has. Default: loopback and private networks.",
            allowed="a list of addresses or CIDR networks, in a variable separated by commas",
            check=_check_networks,
        ),
    ] = LOOPBACK_AND_PRIVATE
    drop_reasons_header: Annotated[
        bool, About("Say in `x-gatehouse-dropped` why an event was dropped, not only in how many domains.")
    ] = True

    store: Annotated[
        Literal["embedded", "native"],
        About(
            "`embedded`: ClickHouse inside the process (chDB), in `data_dir`; `native`: a ClickHouse server."
        ),
    ] = "embedded"
    clickhouse_url: Annotated[
        ClickhouseUrl | None,
        About(
            "The ClickHouse server and its database; `clickhouses://` for TLS, commas between several hosts.",
            allowed="clickhouse://user:password@host:9000/database",
        ),
    ] = None
    clickhouse_cluster: Annotated[
        ClusterName | None,
        About(
            "Make replicated tables `ON CLUSTER` of this name.",
            allowed="the name of a cluster: letters, digits and _ . - { }",
        ),
    ] = None
    migrate_on_start: Annotated[
        bool, About("Make missing tables and columns at start; if false, run `gatehouse migrate`.")
    ] = True

    durability: Annotated[
        Literal["memory", "os", "fsync"],
        About(
            "What an acknowledged event survives: `memory` nothing, `os` the death of the process, "
            "`fsync` the loss of power."
        ),
    ] = "os"
    journal_max_bytes: Annotated[
        int,
        Meta(ge=MEBIBYTE, le=2**50),
        About("How much may wait on disk for ClickHouse; when full, events get 503.", unit="bytes"),
    ] = 10 * 1024 * MEBIBYTE
    quarantine_max_bytes: Annotated[
        int,
        Meta(ge=1024, le=2**50),
        About(
            "How much of what ClickHouse refuses may lie in the quarantine; when full, refused rows wait in "
            "the journal.",
            unit="bytes",
        ),
    ] = 256 * MEBIBYTE
    block_max_rows: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        About("A block is inserted when it holds so many events.", unit="events"),
    ] = 10_000
    block_max_bytes: Annotated[
        int,
        Meta(ge=1024, le=1024 * MEBIBYTE),
        About("A block is inserted when it is so large in the journal.", unit="bytes"),
    ] = 16 * MEBIBYTE
    block_max_age_s: Annotated[
        float,
        Meta(ge=0.01, le=3600),
        About("A block is inserted when its first event is so old.", unit="seconds"),
    ] = 1.0
    drain_max_events_per_s: Annotated[
        float,
        Meta(ge=100, le=1_000_000_000),
        About(
            "How fast what waited on disk is inserted once ClickHouse takes it again; must be more than "
            "comes in, or the journal never gets empty.",
            unit="events per second",
        ),
    ] = 20_000.0

    max_in_flight: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        About("Requests that may be at work at once; more get 503 and may try again.", unit="requests"),
    ] = 2_000
    ask_timeout_s: Annotated[
        float, Meta(ge=0.01, le=60), About("How long a request may wait for its verdict.", unit="seconds")
    ] = 1.0
    max_connections: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        About(
            "Connections of senders that may be open at once; beyond, those that were quiet longest go.",
            unit="connections",
        ),
    ] = 16_384
    max_wait_s: Annotated[
        float,
        Meta(ge=0.001, le=60),
        About(
            "How long a site's line of events may be, and half of it (under overload a fifth) "
            "the one at the door; else it is 503.",
            unit="seconds",
        ),
    ] = 0.1
    site_idle_s: Annotated[
        float,
        Meta(ge=1, le=86_400),
        About("A site without events and live sessions leaves memory after this time.", unit="seconds"),
    ] = 300.0
    site_refresh_s: Annotated[
        float,
        Meta(ge=1, le=86_400),
        About("How often sites are read again; changes by the admin API act at once.", unit="seconds"),
    ] = 900.0
    max_sessions: Annotated[
        int,
        Meta(ge=1, le=100_000_000),
        About("Live sessions of all sites in memory; when full, the oldest are forgotten.", unit="sessions"),
    ] = 1_000_000

    idempotency_max_keys: Annotated[
        int,
        Meta(ge=1_000, le=100_000_000),
        About(
            "Keys of senders (`x-idempotency-key`, `id` in a batch) that are remembered for 24 hours; when "
            "full, the oldest are forgotten.",
            unit="keys",
        ),
    ] = 500_000

    geo_database: Annotated[
        Path | None,
        About(
            "MaxMind-format file (`.mmdb`, `.mmdb.gz`) for countries, regions and cities, followed while "
            "running; without it the one that `gatehouse geo update` fetched, else built-in countries."
        ),
    ] = None
    geo_database_url: Annotated[
        HttpUrl | None,
        About(
            "Where `gatehouse geo update` fetches a database (`.mmdb`, `.mmdb.gz` or `.tar.gz`).",
            allowed="https://host/path or https://account:key@host/path",
        ),
    ] = None
    exchange_rates: Annotated[
        Path | None, About("File with exchange rates for revenue in other currencies than a goal's.")
    ] = None
    sources: Annotated[
        Path | None,
        About(
            "Table of sources (TOML) that adds to the built-in one, or puts right what it says; "
            "see [docs/sources.md](docs/sources.md)."
        ),
    ] = None
    spam_list: Annotated[
        Path | None,
        About("File with one host of referrer spam a line, instead of the list that is built in."),
    ] = None
    spam_list_url: Annotated[
        HttpUrl | None,
        About(
            "Where a newer list of referrer spam is to be had, one host a line; fetched every week and by "
            "`gatehouse spam update`.",
            allowed="https://host/path",
        ),
    ] = None

    ip_lists: Annotated[
        tuple[str, ...],
        About(
            "Files of address ranges, addresses or AS numbers, one a line, and what each says of them: "
            "`dc_ip` and `threat_ip` drop, `anonymous_vpn_ip` gives the country A1; the first file that has "
            "an address decides.",
            allowed="a list of file=verdict, for example datacentres.txt=dc_ip; in a variable with commas",
            check=_check_ip_lists,
        ),
    ] = ()
    asn_database: Annotated[
        Path | None,
        About("MaxMind-format file that knows the AS number of an address, for AS numbers in `ip_lists`."),
    ] = None

    otlp_endpoint: Annotated[
        HttpUrl | None,
        About(
            "OpenTelemetry collector for traces and metrics (OTLP); without it none are sent.",
            allowed="http://host:4318",
        ),
    ] = None
    trace_ratio: Annotated[
        float,
        Meta(ge=0, le=1),
        About(
            "Requests that are traced, where no trusted sender has decided (`traceparent`).",
            unit="share of all",
        ),
    ] = 0.01
    trace_slow_s: Annotated[
        float,
        Meta(ge=0.001, le=3600),
        About(
            "Requests and inserts that take longer are traced whatever the ratio, as are those that fail.",
            unit="seconds",
        ),
    ] = 0.5
    otlp_protocol: Annotated[
        Literal["http/protobuf", "grpc"],
        About(
            "How the collector is spoken to; `grpc`, mostly at port 4317, needs "
            '`pip install "gatehouse[grpc]"`.'
        ),
    ] = "http/protobuf"
    metrics_listen: Annotated[
        str | None,
        About(
            "Where `GET /metrics` answers in Prometheus' text form; it asks for no password.",
            allowed="host:port, for example 127.0.0.1:9464; port 0 takes a free one",
            check=_check_address,
        ),
    ] = None
    otlp_logs: Annotated[
        bool, About("Send log lines to the collector too; they are written to standard error in any case.")
    ] = False
    shutdown_deadline_s: Annotated[
        float,
        Meta(ge=0.1, le=3600),
        About("How long a stop may take; what is not inserted by then waits in the journal.", unit="seconds"),
    ] = 25.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], About("The least important lines to log.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "pretty"], About("`auto`: pretty on a terminal, else one JSON object a line.")
    ] = "auto"


class Setting(Struct, frozen=True):
    """One field of Config with everything that is known about it. ``kind`` is its annotated type."""

    name: str
    kind: object
    default: object
    about: About
    allowed: str
    choices: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def takes_list(self) -> bool:
        """Whether a text for it is a list separated by commas."""
        return isinstance(self.default, tuple)


def settings() -> dict[str, Setting]:
    """Give every setting by name, in the order in which they are declared."""
    hints = typing.get_type_hints(Config, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(Config):
        kind = hints[field.name]
        about = next(part for part in kind.__metadata__ if isinstance(part, About))
        shape = msgspec.inspect.type_info(kind)
        allowed = (about.allowed or _describe(shape)) + (f" ({about.unit})" if about.unit else "")
        choices = shape.values if isinstance(shape, msgspec.inspect.LiteralType) else ()
        found[field.name] = Setting(field.name, kind, field.default, about, allowed, tuple(map(str, choices)))
    return found


def load_config(*, file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Read all sources into one Config.

    ``file`` is the one the user named; None takes ``gatehouse.toml`` of the working folder if there is one.
    ``flags`` are by setting name; their texts are read like those of the environment, other values must have
    the right type.

    Raises ConfigError.
    """
    known = settings()
    values: dict[str, Any] = {}
    for name, value in _read_file(file).items():
        where = str(file or DEFAULT_FILE)
        values[name] = _read_value(_find(known, name, where), value, f"{where}: {name}", strict=True)
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text or _is_foreign(variable, text):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        setting = _find(known, name, f"environment variable {variable}")
        values[name] = _read_value(setting, text, f"environment variable {variable}", strict=False)
    for name, flag in flags.items():
        where = "--" + name.replace("_", "-")
        values[name] = _read_value(_find(known, name, where), flag, where, strict=not isinstance(flag, str))
    config = Config(**values)
    _check_together(config)
    return config


def settings_table() -> str:
    """Give all settings as a Markdown table, for the README."""
    lines = ["| Setting | Default | Meaning | Allowed |", "|---|---|---|---|"]
    for setting in settings().values():
        default = "" if setting.default in (None, ()) else f"`{_show_default(setting.default)}`"
        lines.append(f"| `{setting.name}` | {default} | {setting.about.help} | {setting.allowed} |")
    return "\n".join(lines) + "\n"


def _show_default(default: object) -> str:
    if isinstance(default, tuple):
        return ", ".join(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def _read_file(file: Path | None) -> dict[str, object]:
    path = file or DEFAULT_FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file is None:
            return {}
        raise ConfigError(f"{path}: there is no such configuration file.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise ConfigError(f"{path}: is no valid TOML: {error}.") from error


def _is_foreign(variable: str, text: str) -> bool:
    if variable == CONFIG_FILE_VARIABLE or SERVICE_LINK.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and "://" in text


def _find(known: Mapping[str, Setting], name: str, where: str) -> Setting:
    if name in known:
        return known[name]
    raise ConfigError(f"{where}: there is no setting {_show(name)}{_did_you_mean(name, known)}")


def _did_you_mean(word: str, words: Iterable[str]) -> str:
    """End a sentence, with the word that was probably meant when there is one."""
    words = list(words)
    near = difflib.get_close_matches(word.lower(), words, n=1)
    near = near or [other for other in words if len(word) > 2 and other.startswith(word.lower())]
    return f'; did you mean "{near[0]}"?' if near else "."


def _read_value(setting: Setting, value: object, where: str, *, strict: bool) -> object:
    parts: object = value
    if not strict and setting.takes_list and isinstance(value, str):
        parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        read = msgspec.convert(parts, setting.kind, strict=strict, dec_hook=_decode_path)
        return setting.about.check(read) if setting.about.check else read
    except ValueError:  # msgspec.ValidationError is one
        likely = _did_you_mean(value, setting.choices) if isinstance(value, str) else "."
        raise ConfigError(f"{where} is {_show(value)}; allowed: {setting.allowed}{likely}") from None


def _decode_path(kind: type, value: object) -> Path:
    if not isinstance(value, (str, Path)):
        raise TypeError(f"a path is text, not {type(value).__name__}")
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("a path is not empty")
    return Path(value)


def _show(value: object) -> str:
    text = PASSWORD_IN_URL.sub(r"\1***@", value) if isinstance(value, str) else str(value)
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    if len(text) > LONGEST_VALUE_SHOWN:
        text = text[:LONGEST_VALUE_SHOWN] + "…"
    return f'"{text}"' if isinstance(value, str) else text


def _describe(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            return _describe(inner)
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(
                _describe(part) for part in types if not isinstance(part, msgspec.inspect.NoneType)
            )
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in values)
        case msgspec.inspect.BoolType():
            return "`true` or `false`"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"a whole number from {low:,} to {high:,}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return f"a number from {low:g} to {high:,g}"
        case _:
            return "a path"


def _check_together(config: Config) -> None:
    """Refuse settings that are right alone and contradict each other."""
    if config.store == "native" and config.clickhouse_url is None:
        raise ConfigError('store is "native", which needs clickhouse_url (clickhouse://host:9000/database).')
    if config.store == "embedded" and config.clickhouse_url is not None:
        raise ConfigError(
            'clickhouse_url is set, but store is "embedded"; set store to "native" or remove the URL.'
        )
    if config.store == "embedded" and config.clickhouse_cluster is not None:
        raise ConfigError(
            'clickhouse_cluster is set, but store is "embedded", which has no cluster; remove one.'
        )
    if config.spam_list is not None and config.spam_list_url is not None:
        raise ConfigError("spam_list and spam_list_url are both set, and only one list is used; remove one.")
    if config.geo_database is not None and config.geo_database_url is not None:
        raise ConfigError(
            "geo_database and geo_database_url are both set, and only one database is used; remove one."
        )
    if config.otlp_logs and config.otlp_endpoint is None:
        raise ConfigError("otlp_logs is set, but not otlp_endpoint, where they would go; set it too.")
    _refuse_shared_addresses(config)
    if config.block_max_bytes > config.journal_max_bytes:
        raise ConfigError(
            f"block_max_bytes ({config.block_max_bytes:,}) is more than journal_max_bytes "
            f"({config.journal_max_bytes:,}), so that no block could become full."
        )


def _refuse_shared_addresses(config: Config) -> None:
    settings: dict[str, str] = {}
    for name in ("listen", "admin_listen", "metrics_listen"):
        address = getattr(config, name)
        if address is None or split_address(address)[1] == 0:
            continue
        other = settings.setdefault(address, name)
        if other != name:
            raise ConfigError(f"{other} and {name} are both {address}; give them different ports.")
