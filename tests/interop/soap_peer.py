"""Charge points and central systems that others' SOAP toolkits make, each a process of its own.

Knows how a process is told what to do and what it tells, by lines of fields with a tab between them; see
``gsoap/peer.c``. How it is started, and how a payload looks in a line, is told by ``gsoap_peer.py`` and
``node_soap_peer.py``. Payloads are those of the peer's own version of OCPP. An element of OCPP 1.5 with
attributes is ``{"$value": "230", "@unit": "Volt"}``.
"""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tests.interop.operations import Payload

PATIENCE = 15.0  # seconds until a test gives up; less than a peer waits for an answer, and then some

SERVICES = {  # role → whom it calls, and what it serves
    "charge_point": ("CentralSystemService", "ChargePointService"),
    "central_system": ("ChargePointService", "CentralSystemService"),
}
NAMESPACES = {
    ("CentralSystemService", "1.2"): "urn://Ocpp/Cs/2010/08/",
    ("ChargePointService", "1.2"): "urn://Ocpp/Cp/2010/08/",
    ("CentralSystemService", "1.5"): "urn://Ocpp/Cs/2012/06/",
    ("ChargePointService", "1.5"): "urn://Ocpp/Cp/2012/06/",
    ("CentralSystemService", "1.6"): "urn://Ocpp/Cs/2015/10/",
    ("ChargePointService", "1.6"): "urn://Ocpp/Cp/2015/10/",
}

# What one element holds: each of its parts by name, as often as it stands there.
Texts = dict[str, "list[Texts | str]"]


class PeerRefused(Exception):
    """The other party answered with a fault: its code, subcode and reason."""


class Unanswered(Exception):
    """The peer got no answer that it could read, or was told what it cannot write."""


@dataclass(frozen=True)
class Arrived:
    """One call that a peer got: ``address`` is the one that stood in wsa:From."""

    identity: str
    address: str
    action: str
    payload: Texts


class Bodies(Protocol):
    """How a payload is written in a line, and read."""

    def write(self, element: str, namespace: str, payload: Payload) -> str: ...

    def read(self, element: str, namespace: str, text: str) -> Texts: ...


@dataclass
class SoapPeer:
    """One process. ``problems`` are what it found wrong with what it read."""

    process: asyncio.subprocess.Process
    role: str
    version: str
    bodies: Bodies
    port: int = 0
    problems: list[str] = field(default_factory=list)
    _arrived: asyncio.Queue[Arrived] = field(default_factory=asyncio.Queue)
    _said: asyncio.Queue[list[str]] = field(default_factory=asyncio.Queue)

    @property
    def url(self) -> str:
        """Where its service is."""
        return f"http://127.0.0.1:{self.port}/{self.role}"

    async def arrival(self) -> Arrived:
        """The next call that it got."""
        async with asyncio.timeout(PATIENCE):
            return await self._arrived.get()

    async def ask(self, address: str, identity: str, action: str, payload: Payload) -> Texts:
        """Have it call the other party at *address*; gives the result. Raises PeerRefused and Unanswered."""
        body = self.bodies.write(_element(action, "Request"), self._namespace(asks=True), payload)
        answer = await self._do("ask", address, identity, action, body)
        return self.bodies.read(_element(action, "Response"), self._namespace(asks=True), answer)

    async def tell(self, action: str, payload: Payload) -> None:
        """Have it answer this to the next calls."""
        await self._do(
            "tell", self.bodies.write(_element(action, "Response"), self._namespace(asks=False), payload)
        )

    async def tell_to_refuse(self, code: str, subcode: str, reason: str) -> None:
        """Have it answer the next calls with a fault of the *code* Sender or Receiver."""
        await self._do("refuse", code, subcode, reason)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            word, *fields = line.decode().removesuffix("\n").split("\t")
            if word == "received":
                identity, address, action, body = fields
                payload = self.bodies.read(_element(action, "Request"), self._namespace(asks=False), body)
                self._arrived.put_nowait(Arrived(identity, address, action, payload))
            elif word == "problem":
                self.problems.append(fields[0])
            else:
                self._said.put_nowait([word, *fields])

    async def ready(self) -> None:
        [self.port] = [int(port) for port in await self._next("ready")]

    async def _do(self, *fields: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\t".join(fields).encode() + b"\n")
        answer = await self._next("told", "answered")
        return answer[0] if answer else ""

    async def _next(self, *expected: str) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            word, *fields = await self._said.get()
        if word == "refused":
            raise PeerRefused(*fields)
        if word == "unanswered":
            raise Unanswered(*fields)
        assert word in expected, (word, fields)
        return fields

    def _namespace(self, *, asks: bool) -> str:
        called, served = SERVICES[self.role]
        return NAMESPACES[called if asks else served, self.version]


def _element(action: str, suffix: str) -> str:
    return f"{action[0].lower()}{action[1:]}{suffix}"


@asynccontextmanager
async def a_soap_peer(
    command: Sequence[str | Path], role: str, version: str, bodies: Bodies
) -> AsyncIterator[SoapPeer]:
    """Run *command* while the block lasts; it must find nothing wrong, and end when its input does."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    peer = SoapPeer(process, role, version, bodies)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.listen())
            await peer.ready()
            yield peer
            assert process.stdin is not None
            process.stdin.close()
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == 0
        assert not peer.problems, peer.problems
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


_FRACTION = re.compile(r"-?\d+\.\d+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def texts(value: Any) -> Texts:
    """A payload as the texts that stand in its elements, with moments in UTC and to the second, which is all
    that gSOAP keeps. What toolkits make of types does not count, nor the order of different elements.
    """
    assert isinstance(value, Mapping)
    inner = {name: [_text(one) for one in _several(value[name])] for name in value}
    return {name: several for name, several in inner.items() if several}


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> Texts | str:
    if isinstance(value, Mapping):
        return texts(value)
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if _MOMENT.fullmatch(text):
        moment = datetime.fromisoformat(text).astimezone(UTC)
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return text.rstrip("0").rstrip(".") if _FRACTION.fullmatch(text) else text
