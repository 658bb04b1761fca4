"""The gateway under test: a process of its own, which is started, killed and started again."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

STARTS_WITHIN = 60.0  # seconds, on a machine with other things to do
STOPS_WITHIN = 30.0
COMMAND = (sys.executable, "-m", "wattbridge", "run")

CONFIGURATION = """\
gateway: {{drain: 2s, unknown: accept, reload: no{public_url}}}
listeners:
  field:
    bind: "127.0.0.1:{port}"
    paths: [/ocpp/cs, "/ocpp/{{charger}}"]
    limits: {{connections: 10000, connections_per_source: 10000, handshake_rate: 1000/s}}
upstreams:
  main:
{upstream}
    call_timeout: 1s
    connect: {{timeout: 1s, rate: 1000/s, backoff: {{first: 50ms, max: 500ms}}}}
routes:
  - {{name: hold, match: {{charger: "HOLD-*"}}, upstream: main, offline: {{start_transaction: hold}}}}
  - {{name: provisional, match: any, upstream: main, offline: {{start_transaction: provisional}}}}
offline: {{hold: 2s, retry: 500ms}}
store: {{url: "{store}", history: {{size: 8MiB}}}}
callbacks: {{networks: [127.0.0.0/8], timeout: 3s, connect_timeout: 2s}}
websocket: {{call_timeout: 3s, takeover: 1s}}
sessions: {{heartbeat: 5s}}
metrics: {{bind: "127.0.0.1:{metrics}"}}
logging: {{format: json}}
"""

JSON_UPSTREAM = """\
    url: ws://127.0.0.1:{port}/ocpp
    ping: {{every: 5s, timeout: 5s}}"""

# It is looked for as often as a WebSocket is opened anew.
SOAP_UPSTREAM = """\
    url: http://127.0.0.1:{port}/ocpp
    soap: {{networks: [127.0.0.0/8], answer_within: 5s}}
    probe: {{every: 500ms, timeout: 1s}}"""


class Died(Exception):
    """The gateway ended by itself, or did not get ready: a sentence that says so."""


class Gateway:
    """Charge points come in at ``port``; the central system is behind the port *central_system*. One that
    speaks SOAP calls at the port *calls*, which leads to ``port``."""

    def __init__(
        self,
        folder: Path,
        port: int,
        metrics: int,
        central_system: int,
        store: str,
        command: Sequence[str] = COMMAND,
        calls: int | None = None,
    ) -> None:
        self._command = command
        self.port = port
        self.metrics = metrics
        self.log = folder / "gateway.log"
        self.file = folder / "gateway.yaml"
        self.file.write_text(
            CONFIGURATION.format(
                port=port,
                metrics=metrics,
                upstream=(JSON_UPSTREAM if calls is None else SOAP_UPSTREAM).format(port=central_system),
                public_url="" if calls is None else f', public_url: "http://127.0.0.1:{calls}"',
                store=store,
            )
        )
        self.starts = 0
        self.works = False  # from when it was ready until somebody ends it
        self._process: asyncio.subprocess.Process | None = None
        self._log_began = 0

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.returncode is not None

    async def spawn(self) -> None:
        """Start it, without waiting until it is ready."""
        self.starts += 1
        with self.log.open("ab") as log:
            self._log_began = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *(*self._command, "-c", str(self.file)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
            )

    async def until_ready(self, within: float = STARTS_WITHIN) -> None:
        """Raises Died."""
        try:
            async with asyncio.timeout(within):
                while not self._says_ready():
                    if self.ended:
                        raise Died("the gateway ended before it was ready")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Died(f"the gateway was not ready in {within} s") from None
        self.works = True

    def _says_ready(self) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            return b'"event":"ready"' in log.read().replace(b": ", b":")

    async def kill(self) -> None:
        """SIGKILL; the process is gone when this returns."""
        self.works = False
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def stop(self) -> bool:
        """SIGTERM; returns whether it ended in time and well, and kills it otherwise."""
        assert self._process is not None
        self.works = False
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOPS_WITHIN):
                return await self._process.wait() == 0
        except TimeoutError:
            await self.kill()
            return False

    async def readiness(self) -> int:
        """The status of ``/readyz``; 0 when there is no answer."""
        try:
            async with asyncio.timeout(5.0):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.metrics)
                try:
                    writer.write(b"GET /readyz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
                    answer = await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return 0
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0

    def last_lines(self, count: int, about: str = "") -> list[str]:
        """The end of its log, of lines with *about* in them."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 4_000_000))
            lines = log.read().decode(errors="replace").splitlines()
        return [line for line in lines if about in line][-count:]


def _end_with_parent() -> None:
    """In the child: SIGKILL when the parent is gone, so that no gateway is left over (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
