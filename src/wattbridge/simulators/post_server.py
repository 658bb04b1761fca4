"""A small HTTP/1.1 server for POST requests to one path, in threads of its own, for the SOAP simulators.

Knows HTTP and nothing of what is posted. Connections are kept as long as the peer likes.
"""

from __future__ import annotations

import contextlib
import email.message
import functools
import http.server
import socket
import socketserver
import sys
import threading
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LARGEST_REQUEST = 1 << 20  # bytes
# Content-Encoding → what zlib calls it; OCPP-S 1.5, 8.6.
INFLATED = {"gzip": 31, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True)
class Post:
    """One request: its headers, and its body as it was before any Content-Encoding.

    ``belongs_to`` notes whose connection it came on, for ``PostServer.cut``.
    """

    headers: email.message.Message
    body: bytes
    belongs_to: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class PostServer:
    """Serves ``http://{host}:{port}{path}`` until it is closed; ``port`` 0 is a free one.

    ``respond`` is called in a thread for each connection; it may block, and gives None to hang up without an
    answer. ``note`` hears what is against the rules. ``inflates``: whether compressed bodies are accepted;
    the answer to one is compressed alike.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        path: str,
        respond: Callable[[Post], Response | None],
        note: Callable[[str], None],
        *,
        party: str,
        inflates: bool = False,
    ) -> None:
        self.path = path
        self.respond = respond
        self.note = note
        self.party = party
        self.inflates = inflates
        self._server = _Server(host, port, self)
        self._address = (host, int(self._server.server_address[1]))
        self.port = self._address[1]
        self.url = f"http://{host}:{self.port}{path}"
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        # Unlike serve_forever it sleeps until somebody connects, however many charge points there are.
        while not self._closing.is_set():
            self._server.handle_request()

    def close(self) -> None:
        """Stop serving and close every connection. Blocking, for a moment."""
        if self._closing.is_set():
            return
        self._closing.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._address, timeout=1).close()  # wakes it
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    def cut(self, whose: str) -> None:
        """Break the open connections that belong to somebody."""
        self._server.close_connections(whose)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer on a kept connection waits for the peer's delayed ACK
    wbufsize = -1  # head and body in one write
    timeout = 60  # seconds a kept connection may be idle

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection, "")

    def finish(self) -> None:
        self.server.ended(self.connection)
        with contextlib.suppress(OSError):  # the peer, or close_connections, was faster
            super().finish()

    def do_POST(self) -> None:
        here = self.server.here
        if self.path != here.path:
            here.note(f"POST to {self.path!r}; this {here.party} is at {here.path!r}")
            return self._plain(404)
        encoding = self.headers.get("Content-Encoding")
        if "Transfer-Encoding" in self.headers or (encoding is not None and not here.inflates):
            name, status = ("Content-Encoding", 415) if encoding else ("Transfer-Encoding", 411)
            # Many charge points read nothing but a body of Content-Length bytes.
            here.note(f"{name}: {self.headers[name]}; expected a plain body with Content-Length")
            return self._plain(status)
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            here.note(f"Content-Length {length!r} is not a number")
            return self._plain(411)
        if int(length) > LARGEST_REQUEST:
            here.note(f"Content-Length {length} is more than {LARGEST_REQUEST}")
            return self._plain(413)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            here.note(f"the connection ended after {len(body)} of {length} bytes")
            self.close_connection = True
            return None
        if encoding is not None:
            if encoding.lower() not in INFLATED:
                here.note(f"Content-Encoding: {encoding}; expected gzip or deflate")
                return self._plain(415)
            try:
                body = zlib.decompressobj(INFLATED[encoding.lower()]).decompress(body, LARGEST_REQUEST)
            except zlib.error as error:
                here.note(f"Content-Encoding: {encoding}, but the body is not ({error})")
                return self._plain(400)
        belongs_to = functools.partial(self.server.opened, self.connection)
        response = here.respond(Post(self.headers, body, belongs_to))
        if response is None:
            self.close_connection = True
            return None
        return self._send(response, encoding)

    def do_GET(self) -> None:
        self.server.here.note(f"GET {self.path!r}; expected POST")
        self._plain(405)

    def _plain(self, status: int) -> None:
        self.close_connection = True  # the body, if any, was not read
        self._send(Response(status, "text/plain; charset=utf-8", f"{status}\n".encode()), None)

    def _send(self, response: Response, encoding: str | None) -> None:
        body = response.body
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        if encoding is not None:
            deflating = zlib.compressobj(wbits=INFLATED[encoding.lower()])
            body = deflating.compress(body) + deflating.flush()
            self.send_header("Content-Encoding", encoding)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """What matters is in the witness's problems."""


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024  # several hundred charge points may come at the same moment

    def __init__(self, host: str, port: int, here: PostServer) -> None:
        self.here = here
        self._open: dict[socket.socket, str] = {}  # whose each is, as far as that is known
        self._counting = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the host's name, which may wait for a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def opened(self, connection: socket.socket, whose: str) -> None:
        with self._counting:
            self._open[connection] = whose

    def ended(self, connection: socket.socket) -> None:
        with self._counting:
            self._open.pop(connection, None)

    def close_connections(self, whose: str | None = None) -> None:
        with self._counting:
            for connection, owner in self._open.items():
                if whose in (None, owner):
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that goes away in the middle is no news; anything else is a fault of ours, and loud."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.here.note("".join(traceback.format_exception(error)))
