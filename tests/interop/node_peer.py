"""Peers of ``ocpp-rpc``, an implementation of OCPP-J in JavaScript; each is a process of ``node/peer.js``."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.interop.operations import Payload
from tests.interop.package_charge_point import decimals
from wattbridge.simulators.frames import floats

FOLDER = Path(__file__).parent / "node"
PATIENCE = 10.0  # seconds until a test gives up


def missing(package: str = "ocpp-rpc") -> str:
    """What has to be there and is not; nothing when all of it is."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not (FOLDER / "node_modules" / package).is_dir():
        return f"{package} is not installed: `make test` does it, with npm"
    return ""


# Where it is known that all of it is there, nothing is skipped.
needs_node = pytest.mark.skipif(bool(missing()) and os.environ.get("CI") != "true", reason=missing())


class Refused(Exception):
    """The other party answered with a CALLERROR: its code and description."""


@dataclass
class NodePeer:
    """One process. ``received`` are action and payload of what came, ``problems`` what broke a schema."""

    process: asyncio.subprocess.Process
    port: int = 0
    received: list[tuple[str, Payload]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    connected: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    _said: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said = json.loads(line)
            if "received" in said:
                action, payload = said["received"]
                self.received.append((action, decimals(payload)))
            elif "problem" in said:
                self.problems.append(said["problem"])
            elif "connected" in said:
                self.connected.put_nowait(said["connected"])
            else:
                self._said.put_nowait(said)

    async def said(self, key: str) -> Any:
        async with asyncio.timeout(PATIENCE):
            said = await self._said.get()
        if "refused" in said and key == "answered":
            raise Refused(*said["refused"])
        return said[key]

    def _write(self, line: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line).encode() + b"\n")

    async def tell(self, payload: Payload) -> None:
        """Have it answer this from now on."""
        self._write({"tell": floats(payload)})
        assert await self.said("told")

    async def tell_to_refuse(self, code: str, text: str) -> None:
        self._write({"tell": {"code": code, "text": text}, "refuse": True})
        assert await self.said("told")

    async def ask(self, identity: str, action: str, payload: Payload) -> Payload:
        """Have it ask the other party; gives the payload of the result. Raises Refused."""
        self._write({"ask": action, "payload": floats(payload), "identity": identity})
        answered: Payload = decimals(await self.said("answered"))
        return answered


@asynccontextmanager
async def a_peer(*arguments: str) -> AsyncIterator[NodePeer]:
    """``a_peer("central_system")``, or ``a_peer("charge_point", url, identity)``, which is connected."""
    assert not missing(), missing()
    process = await asyncio.create_subprocess_exec(
        "node", "peer.js", *arguments,
        cwd=FOLDER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    peer = NodePeer(process)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.listen())
            peer.port = await peer.said("ready")
            yield peer
            assert process.stdin is not None
            process.stdin.close()
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
