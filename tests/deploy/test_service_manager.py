"""The gateway under a service manager: what it says from its start to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from tests.fakes import PATIENCE
from tests.test_app import configuration


class Systemd:
    """Listens where systemd would, and tells signs of life from what is said once."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    async def next(self) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            while True:
                told = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
                if told != b"WATCHDOG=1":
                    return told.decode().split("\n")

    async def sign_of_life(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await asyncio.get_running_loop().sock_recv(self._socket, 4096) != b"WATCHDOG=1":
                pass

    def close(self) -> None:
        self._socket.close()


async def test_a_gateway_tells_systemd_how_it_does(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path / "notify")
    file = tmp_path / "gateway.yaml"
    usual = configuration().replace("drain: 2s", "drain: 2s, reload: no")
    file.write_text(usual)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wattbridge", "run", "-c", str(file),
        env={**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "100000"},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        ready = "STATUS=ready: 0 charge points, 0 messages to deliver"
        assert await systemd.next() == ["READY=1", ready]
        for _ in range(3):
            await systemd.sign_of_life()

        file.write_text(usual.replace("drain: 2s", "drain: 3s"))
        process.send_signal(signal.SIGHUP)
        [reloading, monotonic, status] = await systemd.next()
        assert (reloading, status) == ("RELOADING=1", "STATUS=reading the configuration again")
        assert monotonic.startswith("MONOTONIC_USEC=")
        assert monotonic.partition("=")[2].isdigit()
        assert await systemd.next() == ["READY=1", ready]

        file.write_text(usual.replace("gateway:", "gatway:"))
        process.send_signal(signal.SIGHUP)
        assert (await systemd.next())[0] == "RELOADING=1"
        assert await systemd.next() == [
            "READY=1",
            f"{ready}; the last reload was refused: the configuration has 1 error",
        ]

        process.terminate()
        assert await systemd.next() == [
            "STOPPING=1",
            "EXTEND_TIMEOUT_USEC=23000000",
            "STATUS=stopping, within 3 s",
        ]
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        systemd.close()
