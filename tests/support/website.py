"""A small website on localhost for browser tests: pages with a tracker, files to download, and a way out.

Pages are the files of ``tests/e2e/pages``; in them ``{{endpoint}}``, ``{{domain}}`` and ``{{elsewhere}}``
become the events address, the site's domain and another host's address. Under ``/modules/`` are the installed
npm packages.
"""

import functools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.support.prerequisites import E2E, trackers_folder

PAGES: Final = E2E / "pages"
MODULES: Final = "/modules/"
PDF: Final = b"%PDF-1.4\n%%EOF\n"


@contextmanager
def website(values: Mapping[str, str]) -> Iterator[str]:
    """Serve the pages with these values; gives the site's address, ``http://localhost:PORT``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, values))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, values: Mapping[str, str], *connection: Any) -> None:
        self._values = values
        super().__init__(*connection)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        # The same server under another name: to a browser that is another host.
        elsewhere = f"http://127.0.0.1:{self.connection.getsockname()[1]}"
        content = _content(path, {**self._values, "elsewhere": elsewhere})
        self.send_response(HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK)
        self.send_header("content-type", _content_type(path))
        if path.endswith(".pdf"):
            self.send_header("content-disposition", "attachment")
        self.send_header("content-length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: a test's output is for its failures."""


def _content_type(path: str) -> str:
    if path.startswith(MODULES):
        return "text/javascript; charset=utf-8"
    return "application/pdf" if path.endswith(".pdf") else "text/html; charset=utf-8"


def _content(path: str, values: Mapping[str, str]) -> bytes | None:
    if path.startswith(MODULES):
        return _module(trackers_folder() / path.removeprefix(MODULES))
    if path.endswith(".pdf"):
        return PDF
    page = PAGES / f"{path.strip('/') or 'index'}.html"
    if not page.is_file():
        return None
    text = page.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text.encode()


def _module(path: Path) -> bytes | None:
    # An import of npm's may leave the extension to a bundler; here there is none.
    found = path if path.is_file() else path.with_name(path.name + ".js")
    return found.read_bytes() if found.is_file() else None
