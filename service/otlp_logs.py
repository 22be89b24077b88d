"""Log lines on their way to the collector, beside the stream that they always go to.

OpenTelemetry's logs for Python are not final (their modules begin with an underscore): all that is used of
them is in this file.
"""

import logging
from typing import Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter

from service.errors import ConfigError
from service.logs import extras
from service.telemetry.origin import describe_origin
from service.tracing.export import stop_within
from service.tracing.senders import OtlpProtocol

STOP_S: Final = 2.0
EXPORT_TIMEOUT_S: Final = 5.0
EXPORT_INTERVAL_MS: Final = 2_000
MAX_QUEUED_LINES: Final = 2_048
BATCH_LINES: Final = 512

SENDERS: Final = ("opentelemetry", "urllib3", "requests", "grpc")
"""Loggers of what sends the lines: a line about a line that was not sent would never end."""

TRACE_FIELDS: Final = frozenset({"trace_id", "span_id"})

SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
)


class OtlpHandler(logging.Handler):
    """Puts lines into a bounded queue, which a thread of its own sends."""

    def __init__(self, exporter: LogRecordExporter, *, version: str, instance: str) -> None:
        super().__init__()
        self._exporter = exporter
        self._provider = LoggerProvider(
            describe_origin(version=version, instance=instance), shutdown_on_exit=False
        )
        self._provider.add_log_record_processor(
            BatchLogRecordProcessor(
                exporter,
                schedule_delay_millis=EXPORT_INTERVAL_MS,
                max_queue_size=MAX_QUEUED_LINES,
                max_export_batch_size=BATCH_LINES,
            )
        )
        self._closed_for_good = False

    def emit(self, record: logging.LogRecord) -> None:
        """Put one line into the queue; the trace it belongs to goes along."""
        if self._closed_for_good or record.name.startswith(SENDERS):
            return
        # The ids go along by themselves, from the current context.
        attributes = {name: _value(value) for name, value in extras(record) if name not in TRACE_FIELDS}
        if record.exc_info and record.exc_info[0] is not None:
            attributes["exception.type"] = record.exc_info[0].__name__
            attributes["exception.stacktrace"] = logging.Formatter().formatException(record.exc_info)
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                severity_number=_severity(record.levelno),
                severity_text=record.levelname,
                body=_value(record.getMessage()),
                attributes=attributes,
            )
        )

    def close(self) -> None:
        """Send what is left, within a moment; safe to call twice."""
        if not self._closed_for_good:
            self._closed_for_good = True
            stop_within(self._provider.shutdown, self._exporter.shutdown, timeout_s=STOP_S)
        super().close()


def open_otlp_logs(endpoint: str, protocol: OtlpProtocol, *, version: str, instance: str) -> OtlpHandler:
    """Give a handler that sends lines to the collector at ``endpoint``, a URL without a path.

    Raises ConfigError when gRPC is asked for and its package is not installed.
    """
    return OtlpHandler(_open_exporter(endpoint, protocol), version=version, instance=instance)


def _open_exporter(endpoint: str, protocol: OtlpProtocol) -> LogRecordExporter:
    if protocol == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
        except ImportError:
            raise ConfigError(
                'otlp_protocol is "grpc", which needs a package: pip install "gatehouse[grpc]".'
            ) from None
        return GrpcExporter(
            endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=EXPORT_TIMEOUT_S
        )
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter

    return HttpExporter(endpoint=f"{endpoint.rstrip('/')}/v1/logs", timeout=EXPORT_TIMEOUT_S)


def _severity(level: int) -> SeverityNumber:
    return next((severity for least, severity in SEVERITIES if level >= least), SeverityNumber.DEBUG)


def _value(value: object) -> str | int | float | bool:
    if isinstance(value, (int, float)):
        return value
    # Text that is no Unicode would cost all lines that travel with it.
    return str(value).encode(errors="replace").decode()
