"""Processes of the benchmark: started on a core, watched, and ended by their id whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parent.parent
PATIENCE = 30.0  # seconds for a process to start
PR_SET_PDEATHSIG = 1  # prctl(2): a signal to the child when its parent dies


class ProcessFailed(Exception):
    """A process of the benchmark did not start, or ended before its time."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the gateway runs and where the load: the same with one core, empty when none can be set."""

    gateway: frozenset[int]
    load: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> Cores:
        if not hasattr(os, "sched_getaffinity"):
            return cls(frozenset(), frozenset())
        available = sorted(os.sched_getaffinity(0))
        return cls(frozenset(available[-1:]), frozenset(available[:-1] or available))

    @property
    def shared(self) -> bool:
        return bool(self.gateway & self.load) or not self.gateway


class Process:
    """A child on given cores, with what it writes to standard error kept for the case that it fails."""

    def __init__(
        self, name: str, command: Sequence[str], cores: frozenset[int], *, answers: bool = False
    ) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by stop()
        self._popen = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if answers else subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is for us, who then end it
            preexec_fn=_child_setup(cores),
        )
        self.pid = self._popen.pid

    def ask(self, command: dict[str, Any], patience: float) -> dict[str, Any]:
        """Send one line of JSON and read the line that answers it. Raises ProcessFailed."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        try:
            self._popen.stdin.write(json.dumps(command).encode() + b"\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise ProcessFailed(f"{self.name} has ended: {self.said()}") from None
        ready, _, _ = select.select([self._popen.stdout], [], [], patience)
        line = self._popen.stdout.readline() if ready else b""
        if not line:
            raise ProcessFailed(f"{self.name} gave no answer to {command}: {self.said()}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise ProcessFailed(f"{self.name}: {command}: {answer['failed']}")
        return answer

    def wait_for_port(self, port: int) -> None:
        """Wait until it accepts connections. Raises ProcessFailed."""

        def accepts() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return True
            return False

        self._wait(accepts, f"port {port}")

    def wait_for_page(self, url: str) -> None:
        """Wait until a page is there. Raises ProcessFailed."""

        def there() -> bool:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1.0) as page:
                return bool(page.status == 200)
            return False

        self._wait(there, url)

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if self._popen.poll() is not None:
                raise ProcessFailed(f"{self.name} ended with {self._popen.returncode}: {self.said()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} is not ready ({what}) after {PATIENCE:g} s: {self.said()}")
            time.sleep(0.05)

    def said(self) -> str:
        """The end of what it wrote to standard error."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2000))
        return self._log.read().decode(errors="replace").strip() or "it said nothing"

    def cpu_seconds(self) -> float:
        """The CPU time of all its threads so far."""
        clock = ctypes.c_int()
        problem = _libc().clock_getcpuclockid(self.pid, ctypes.byref(clock))
        if problem:
            raise ProcessFailed(f"{self.name} has no CPU clock: {os.strerror(problem)}")
        return time.clock_gettime(clock.value)

    def memory(self) -> int:
        """Bytes of its memory that are its own: files that are mapped come and go as the system likes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        sizes = dict(line.split(":", 1) for line in status.splitlines())
        return sum(int(sizes[name].split()[0]) for name in ("RssAnon", "VmSwap")) * 1024

    def stop(self) -> None:
        """End it: by the end of its input, by SIGTERM, by SIGKILL; returns when it is gone."""
        assert self._popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._popen.stdin.close()
        for step, wait in ((self._popen.terminate, 5.0), (self._popen.kill, 5.0)):
            step()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(wait)
                break
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        self._log.close()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _child_setup(cores: frozenset[int]) -> Callable[[], None]:
    libc = _libc() if sys.platform == "linux" else None

    def set_up() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # nothing is left when we are killed
        if cores:
            os.sched_setaffinity(0, cores)

    return set_up


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM ends the benchmark as Ctrl-C does, by way of every ``finally``; Ctrl-C always does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def until_input_ends() -> None:
    """What a child of the benchmark waits for."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    transport.close()
