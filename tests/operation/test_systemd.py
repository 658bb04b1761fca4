"""What is said to systemd, datagram by datagram (sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from wattbridge.operation.systemd import ServiceManager


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(systemd: socket.socket) -> list[str]:
    told = []
    with suppress(BlockingIOError):
        while True:
            told.append(systemd.recv(4096).decode())
    return told


def a_manager(systemd: socket.socket, **env: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": systemd.getsockname(), **env}, monotonic=lambda: 5_000_000)


def test_a_service_from_its_start_to_its_end(systemd: socket.socket) -> None:
    manager = a_manager(systemd)
    manager.ready("ready: 0 charge points")
    manager.status("ready: 0 charge points")  # is what stands there
    manager.status("ready: 1 charge point")
    manager.reloading()
    manager.ready("ready: 1 charge point")
    manager.stopping("stopping, within 30 s", within=50.0)
    assert heard(systemd) == [
        "READY=1\nSTATUS=ready: 0 charge points",
        "STATUS=ready: 1 charge point",
        "RELOADING=1\nMONOTONIC_USEC=5000000\nSTATUS=reading the configuration again",
        "READY=1\nSTATUS=ready: 1 charge point",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=50000000\nSTATUS=stopping, within 30 s",
    ]


def test_a_status_is_one_line_of_a_bearable_length(systemd: socket.socket) -> None:
    """A line more would be another thing that is said."""
    a_manager(systemd).status("not ready: no\nREADY=1\n" + "x" * 1000)
    [told] = heard(systemd)
    assert told.startswith("STATUS=not ready: no READY=1 xxx")
    assert len(told) == len("STATUS=") + 512


async def test_signs_of_life_come_from_the_event_loop(systemd: socket.socket) -> None:
    manager = a_manager(systemd, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid()))
    assert manager.watchdog == 0.02
    alive = asyncio.get_running_loop().create_task(manager.run(lambda: "ready: 3 charge points"))
    told: list[str] = []
    async with asyncio.timeout(30.0):
        while told.count("WATCHDOG=1") < 3:
            await asyncio.sleep(0.01)
            told += heard(systemd)
    alive.cancel()
    assert told[:3] == ["WATCHDOG=1", "STATUS=ready: 3 charge points", "WATCHDOG=1"]


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},  # of another process
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
    ],
)
def test_nobody_waits_for_signs_of_life(systemd: socket.socket, env: dict[str, str]) -> None:
    assert a_manager(systemd, **env).watchdog is None


@pytest.mark.parametrize("named", ["", "vsock:2:1234", "relative/path"])
async def test_without_systemd_nothing_is_sent(named: str) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": named, "WATCHDOG_USEC": "20000"})
    assert (manager.is_there, manager.watchdog) == (False, None)
    manager.ready("ready")
    await manager.run(lambda: "never asked")  # ends at once


def test_a_socket_outside_the_file_system() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"wattbridge-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready("ready")
        assert listening.recv(4096) == b"READY=1\nSTATUS=ready"


def test_systemd_that_does_not_listen_does_no_harm(tmp_path: Path) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("ready")
