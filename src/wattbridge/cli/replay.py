"""``wattbridge trace replay``: what charge points said in a trace, said again to a central system to try it.

Each charge point of the trace plays its calls in their order, one at a time, at the pace of the trace.
Numbers of transactions that the central system gives now take the place of those in the trace. What it asks
of a charge point that speaks JSON is answered as the trace answered it.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from wattbridge.cli.asking import DONE, REFUSED, UNREACHABLE, WRONG
from wattbridge.config.files import reason_of
from wattbridge.config.values import is_loopback
from wattbridge.ocpp import ocppj, soap
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Reply, Side
from wattbridge.ocpp.printable import printable
from wattbridge.operation.trace.formats import BadTrace, Told, read_trace

LARGEST = 512 << 20  # bytes of a trace
REPLY_WITHIN = 30.0  # seconds
UNNAMED = "CHARGEPOINT"
# What a central system says otherwise each time.
_ITS_OWN = ("currentTime", "transactionId", "interval")


class NobodyThere(Exception):
    """The central system cannot be reached: a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Playing:
    """How a trace is played: to *url*; ``speed`` times as fast as it was, or without a pause when it is 0."""

    url: str
    speed: float = 1.0
    leg: str = "charger"
    reply_within: float = REPLY_WITHIN


@dataclass(slots=True)
class Played:
    """What came of it."""

    counts: Counter[str] = field(default_factory=Counter)
    problem: str = ""

    def code(self) -> int:
        if self.problem:
            return UNREACHABLE
        return REFUSED if self.counts["failed"] or not self.counts["calls"] else DONE


def replay(file: str, playing: Playing, *, anywhere: bool, out: TextIO, err: TextIO) -> int:
    """Play the trace in *file*; only on this machine, unless *anywhere* is allowed.

    Returns 0 when every call was answered, 1 when not, 2 for a file that is no trace or an address that is
    none or not allowed, 3 when nobody is there.
    """
    url = urlsplit(playing.url)
    if url.scheme not in ("ws", "wss", "http", "https") or not url.hostname:
        err.write(f"wattbridge: --to {playing.url}: expected ws(s):// for JSON or http(s):// for SOAP\n")
        return WRONG
    if not anywhere and not is_loopback(url.hostname):
        err.write(
            f"wattbridge: {url.hostname} is not this machine, and a central system there would take the "
            "messages for real; with --anywhere they are sent\n"
        )
        return WRONG
    try:
        if Path(file).stat().st_size > LARGEST:
            raise BadTrace(f"is larger than {LARGEST >> 20} MiB")
        with Path(file).open(encoding="utf-8") as lines:
            told = list(read_trace(lines))
    except (BadTrace, UnicodeDecodeError) as problem:
        err.write(f"wattbridge: {file}: {problem}\n")
        return WRONG
    except OSError as problem:
        err.write(f"wattbridge: {file}: {reason_of(problem)}\n")
        return WRONG
    try:
        played = asyncio.run(play(told, playing, out))
    except KeyboardInterrupt:
        return DONE
    if played.problem:
        err.write(f"wattbridge: {played.problem}\n")
    counts = played.counts
    err.write(
        f"{counts['calls']} calls of {counts['charge points']} charge points: {counts['answered']} answered, "
        f"{counts['otherwise']} of them otherwise than in the trace, {counts['failed']} failed, "
        f"{counts['skipped']} could not be read\n"
    )
    return played.code()


async def play(told: Sequence[Told], playing: Playing, out: TextIO) -> Played:
    """Play what charge points said in *told*."""
    played = Played()
    # Of what a gateway wrote down, each call is there twice: once for each leg.
    wanted = {"", playing.leg} if any(one.leg == playing.leg for one in told) else {"", "charger", "csms"}
    mine = sorted((one for one in told if one.leg in wanted), key=lambda one: one.when)
    calls = [one for one in mine if one.kind == "CALL" and one.to_csms]
    began = min((one.when for one in calls), default=0.0)
    identities = list(dict.fromkeys(one.identity for one in calls))
    played.counts["charge points"] = len(identities)
    start = time.monotonic()

    async def due(when: float) -> None:
        if playing.speed:
            await asyncio.sleep(max(0.0, start + (when - began) / playing.speed - time.monotonic()))

    async def play_one(identity: str) -> None:
        of_it = [one for one in mine if one.identity == identity]
        party = _Party(identity, playing, of_it)
        try:
            async with party:
                for one in of_it:
                    if one.kind == "CALL" and one.to_csms:
                        await due(one.when)
                        await _say(party, one, played, out)
        except NobodyThere as nobody:
            played.problem = played.problem or str(nobody)

    async with asyncio.TaskGroup() as tasks:
        for identity in identities:
            tasks.create_task(play_one(identity))
    return played


async def _say(party: _Party, one: Told, played: Played, out: TextIO) -> None:
    if one.payload is None:
        played.counts["skipped"] += 1
        return
    played.counts["calls"] += 1
    began = time.monotonic()
    recorded = party.recorded(one)
    try:
        reply = await party.call(one, party.renumbered(one.payload))
    except Violation as broken:
        reply = CallError(broken.code, str(broken))
    except TimeoutError:
        reply = CallError("GenericError", "no answer came in time")
    milliseconds = (time.monotonic() - began) * 1000
    if isinstance(reply, CallError):
        played.counts["failed"] += 1
        said = f"{reply.code} {reply.description}".strip()
        if recorded is not None and recorded.kind == "CALLERROR":
            said += " (an error in the trace, too)"
    else:
        played.counts["answered"] += 1
        said = "ok"
        was = recorded.payload if recorded is not None else None
        if was is not None:
            party.note_transaction(was, reply.payload)
            if _comparable(was) != _comparable(reply.payload):
                played.counts["otherwise"] += 1
                said = f"otherwise: {_short(reply.payload)}, in the trace {_short(was)}"
    out.write(printable(f"{one.identity or UNNAMED}  {one.action}  {said}  {milliseconds:.0f} ms") + "\n")
    out.flush()


class _Party:
    """One charge point of the trace, connected with the central system that is tried."""

    def __init__(self, identity: str, playing: Playing, told: Sequence[Told]) -> None:
        self._identity = identity or UNNAMED
        self._playing = playing
        self._replies = [one for one in told if one.kind != "CALL"]
        self._transactions: dict[int, int] = {}
        self._ids = count(1)
        self._socket: ClientConnection | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> _Party:
        url = self._playing.url
        if url.startswith("ws"):
            address = f"{url.rstrip('/')}/{quote(self._identity, safe='')}"
            try:
                self._socket = await connect(
                    address, subprotocols=[Subprotocol("ocpp1.6")], proxy=None, open_timeout=10
                )
            except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as problem:
                raise NobodyThere(f"{address}: {problem}") from None
        else:
            timeout = aiohttp.ClientTimeout(total=self._playing.reply_within)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._session is not None:
            await self._session.close()

    async def call(self, one: Told, payload: dict[str, Any]) -> Reply:
        """Raises NobodyThere, TimeoutError, and Violation when it cannot be written."""
        if self._socket is not None:
            try:
                async with asyncio.timeout(self._playing.reply_within):
                    return await self._call_by_frame(self._socket, one.action, payload)
            except ConnectionClosed as closed:
                raise NobodyThere(f"{self._playing.url} has closed the connection: {closed}") from None
        assert self._session is not None
        return await self._call_by_post(self._session, one, payload)

    async def _call_by_frame(self, socket: ClientConnection, action: str, payload: dict[str, Any]) -> Reply:
        message_id = str(next(self._ids))
        await socket.send(ocppj.write_call(message_id, action, payload))
        while True:
            frame = ocppj.read_frame(await socket.recv())
            if isinstance(frame, ocppj.CallFrame):
                await socket.send(self._answer(frame))
            elif frame.message_id != message_id:
                continue  # late
            elif isinstance(frame, ocppj.ErrorFrame):
                return CallError(frame.code, frame.description, frame.details)
            else:
                return CallResult(frame.payload)

    async def _call_by_post(
        self, session: aiohttp.ClientSession, one: Told, payload: dict[str, Any]
    ) -> Reply:
        compiled = dialect(one.version if one.transport == "soap" else "1.6")
        operation = compiled.operation(Side.CENTRAL_SYSTEM, one.action)
        call = Call(one.action, operation.request.read_json(payload)[0])
        addressing = soap.Addressing(self._identity, self._playing.url)
        written = soap.write_call(
            call, addressing, compiled, Side.CENTRAL_SYSTEM, lambda: f"urn:uuid:{uuid.uuid4()}"
        )
        headers = {"Content-Type": written.content_type}
        if written.soap_action:
            headers["SOAPAction"] = written.soap_action
        try:
            async with session.post(self._playing.url, data=written.body, headers=headers) as response:
                body, kind = await response.read(), response.headers.get("Content-Type", "")
        except aiohttp.ClientError as problem:
            raise NobodyThere(f"{self._playing.url}: {problem}") from None
        reply, _ = soap.read_reply(response.status, kind, body, operation)
        if isinstance(reply, CallResult):
            return CallResult(operation.response.write_json(reply.payload)[0])
        return reply

    def _answer(self, frame: ocppj.CallFrame) -> str:
        """What the charge point of the trace answered to such a call."""
        for one in self._replies:
            if not one.to_csms or one.action != frame.action:
                continue
            if one.kind == "CALLRESULT" and one.payload is not None:
                return ocppj.write_result(frame.message_id, one.payload)
        text = "nobody asked for it in the trace"
        return ocppj.write_error(frame.message_id, "NotSupported", text, {})

    def recorded(self, call: Told) -> Told | None:
        """What the trace has as the answer to *call*."""
        for one in self._replies:
            if one.message_id == call.message_id and one.to_csms is not call.to_csms and one.leg == call.leg:
                return one
        return None

    def note_transaction(self, was: dict[str, Any], now: dict[str, Any]) -> None:
        if isinstance(was.get("transactionId"), int) and isinstance(now.get("transactionId"), int):
            self._transactions[was["transactionId"]] = now["transactionId"]

    def renumbered(self, payload: dict[str, Any]) -> dict[str, Any]:
        number = payload.get("transactionId")
        known = self._transactions.get(number) if isinstance(number, int) else None
        return payload if known is None else payload | {"transactionId": known}


def _comparable(payload: dict[str, Any]) -> str:
    return json.dumps(
        {name: value for name, value in payload.items() if name not in _ITS_OWN},
        sort_keys=True,
        default=float,
    )


def _short(payload: dict[str, Any]) -> str:
    text = json.dumps(
        payload, default=lambda value: float(value) if isinstance(value, Decimal) else str(value)
    )
    return text if len(text) <= 100 else f"{text[:99]}…"
