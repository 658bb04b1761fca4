"""Tells systemd how the service does: ready, reloading, stopping, a line of status, and that it is alive.

It is one datagram for each thing to say, to the socket that systemd names in the environment (sd_notify(3)).
Where none is named, under another service manager or at a terminal, nothing is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

STATUS_EVERY = 10.0  # seconds
LONGEST_STATUS = 512  # characters


class ServiceManager:
    """What is said to systemd; *env* is the environment of the process.

    ``monotonic`` gives microseconds of CLOCK_MONOTONIC, by which systemd tells one reload from another.
    """

    def __init__(
        self,
        env: Mapping[str, str] | None = None,
        *,
        monotonic: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000,
    ) -> None:
        env = os.environ if env is None else env
        self._address = _address(env.get("NOTIFY_SOCKET", ""))
        self._monotonic = monotonic
        self._status = ""
        self.watchdog = (
            _watchdog(env) if self._address else None
        )  # seconds between two signs of life, or None

    @property
    def is_there(self) -> bool:
        return bool(self._address)

    def ready(self, status: str) -> None:
        """It takes messages, from the start or after a reload."""
        self._status = _line(status)
        self._tell("READY=1", f"STATUS={self._status}")

    def reloading(self) -> None:
        """It reads its configuration again. ``ready`` has to follow, whatever becomes of it."""
        self._status = "reading the configuration again"
        self._tell("RELOADING=1", f"MONOTONIC_USEC={self._monotonic()}", f"STATUS={self._status}")

    def stopping(self, status: str, within: float) -> None:
        """It ends, which may take *within* seconds: it is not killed before, whatever the unit file says."""
        self._status = _line(status)
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(within * 1e6)}", f"STATUS={self._status}")

    def status(self, status: str) -> None:
        """What ``systemctl status`` shows. Said once until it is another."""
        if (line := _line(status)) != self._status:
            self._status = line
            self._tell(f"STATUS={line}")

    async def run(self, status: Callable[[], str | None]) -> None:
        """Give signs of life from the event loop, and every now and then the status, where there is one.

        They are given twice as often as they are waited for, as sd_watchdog_enabled(3) has it. Goes on until
        it is cancelled.
        """
        if not self.is_there:
            return
        loop = asyncio.get_running_loop()
        every = STATUS_EVERY if self.watchdog is None else min(STATUS_EVERY, self.watchdog / 2)
        told = loop.time() - STATUS_EVERY
        while True:
            if self.watchdog is not None:
                self._tell("WATCHDOG=1")
            if loop.time() >= told + STATUS_EVERY:
                told = loop.time()
                if line := status():
                    self.status(line)
            await asyncio.sleep(every)

    def _tell(self, *fields: str) -> None:
        if not self._address:
            return
        # Nothing is worse for it that systemd does not listen: it acts on what it does not hear.
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link,
        ):
            link.setblocking(False)
            link.sendto("\n".join(fields).encode(), self._address)


def _address(named: str) -> str:
    """``/run/systemd/notify``, or ``@…`` for one that is not in the file system; others are not for us."""
    return f"\0{named[1:]}" if named.startswith("@") else named if named.startswith("/") else ""


def _watchdog(env: Mapping[str, str]) -> float | None:
    """Seconds, when it is us who is watched."""
    watched = env.get("WATCHDOG_PID", "")
    microseconds = env.get("WATCHDOG_USEC", "")
    if watched not in ("", str(os.getpid())) or not (microseconds.isascii() and microseconds.isdigit()):
        return None
    return int(microseconds) / 1e6 or None


def _line(text: str) -> str:
    return " ".join(text.split())[:LONGEST_STATUS]
