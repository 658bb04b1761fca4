"""A charge point, its delivery and a central system of a few lines, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import FakeLink, Listened, listen
from tests.virtual_time import VirtualLoop
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage, Payload, Reply, Side
from wattbridge.relay.delivery import Deliveries, Delivery
from wattbridge.relay.journal import Journal
from wattbridge.relay.offline import Answers, Rules
from wattbridge.relay.session import Answer, Session
from wattbridge.store.memory import MemoryStore

EPOCH = 1_714_557_600.0  # 2024-05-01T10:00:00Z
ACCEPTED = {"status": "Accepted"}
ASKED, ANSWERED = Passage("json", b"asked"), Passage("json", b"answered")


def start(number: int = 0, connector: int = 1, tag: str = "TAG") -> Call:
    said = {"connectorId": connector, "idTag": tag, "meterStart": number}
    return Call("StartTransaction", {**said, "timestamp": f"2024-05-01T10:00:{number:02}Z"})


def meter_values(transaction: int | None, number: int = 0, connector: int = 1) -> Call:
    value = [{"timestamp": f"2024-05-01T10:10:{number:02}Z", "sampledValue": [{"value": str(number)}]}]
    about = {} if transaction is None else {"transactionId": transaction}
    return Call("MeterValues", {"connectorId": connector, **about, "meterValue": value})


def stop(transaction: int, number: int = 0) -> Call:
    said = {"transactionId": transaction, "meterStop": number}
    return Call("StopTransaction", {**said, "timestamp": f"2024-05-01T11:00:{number:02}Z"})


def status(number: int = 0, connector: int = 1) -> Call:
    said = {"connectorId": connector, "errorCode": "NoError", "status": "Available"}
    return Call("StatusNotification", {**said, "info": str(number)})


HEARTBEAT = Call("Heartbeat", {})
BOOT = Call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
AUTHORIZE = Call("Authorize", {"idTag": "TAG"})


@dataclass
class CentralSystem:
    """Writes down what it gets; the same message id again is the same message again.

    ``away`` is how its link looks, ``loses`` whether its answers get lost on the way, ``refuses`` the actions
    that it answers with an error, ``says`` what it says of idTags.
    """

    away: bool = False
    loses: bool = False
    silent: bool = False
    refuses: set[str] = field(default_factory=set)
    ignores: set[str] = field(default_factory=set)  # it never answers
    babbles: set[str] = field(default_factory=set)  # its answer is no JSON
    says: Payload = field(default_factory=lambda: dict(ACCEPTED))
    next_id: int = 101
    got: list[Call] = field(default_factory=list)
    answered: dict[str, Payload] = field(default_factory=dict)
    transport: str = "json"
    version: str = "1.6"
    form: str = ""
    slow: float = 0.0  # seconds

    async def call(self, call: Call) -> Answer:
        if self.away:
            raise Unreachable("not_connected", "nobody is there")
        if self.silent or call.action in self.ignores:
            await asyncio.sleep(30.0)
            raise Unreachable("timeout", "no reply within 30 s", ASKED)
        if self.slow:
            await asyncio.sleep(self.slow)
        self.got.append(call)
        if call.action in self.babbles:
            return Answer(CallError("InternalError", "no JSON", reason="malformed"), ASKED, ANSWERED)
        if call.action in self.refuses:
            return Answer(CallError("InternalError", "no"), ASKED, ANSWERED)
        if call.message_id not in self.answered or not call.message_id:
            self.answered[call.message_id] = self._reply(call)
        if self.loses:
            raise Unreachable("unreachable", "the connection broke", ASKED)
        return Answer(CallResult(self.answered[call.message_id]), ASKED, ANSWERED)

    def _reply(self, call: Call) -> Payload:
        match call.action:
            case "StartTransaction":
                self.next_id += 1
                return {"transactionId": self.next_id - 1, "idTagInfo": self.says}
            case "BootNotification":
                return {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 120}
            case "Heartbeat":
                return {"currentTime": "2024-05-01T10:00:00Z"}
            case "Authorize":
                return {"idTagInfo": self.says}
        return {}

    async def close(self, reason: str) -> None:
        return None

    @property
    def messages(self) -> list[Call]:
        """What it has got, each once."""
        once: dict[str, Call] = {}
        for call in self.got:
            once.setdefault(call.message_id, call)
        return list(once.values())


class World:
    """One charge point behind a gateway that can crash."""

    def __init__(self, *, answers: Answers = Answers(), rules: Rules = Rules()) -> None:  # noqa: B008
        self.loop = VirtualLoop()
        self.store = MemoryStore()
        self.central_system = CentralSystem()
        self.charge_point = FakeLink(CallResult(dict(ACCEPTED)), transport="soap")
        self.answers = answers
        self.rules = rules
        self.journal = Journal()
        self.heard: Listened = listen(self.journal)
        self._begin()

    def _begin(self) -> None:
        self.deliveries = Deliveries(
            self.store,
            self.journal,
            self.rules,
            clock=self.loop.time,
            wall_clock=lambda: EPOCH + self.loop.time(),
        )
        self.session = Session(
            "CP1", self.journal, clock=self.loop.time, wall_clock=lambda: EPOCH + self.loop.time()
        )
        self.session.upstream = "main"
        self.session.attach(Side.CENTRAL_SYSTEM, self.central_system)
        self.session.attach(Side.CHARGE_POINT, self.charge_point)
        self._running = self.loop.create_task(self._run())
        self.run_for(0.0)

    async def _run(self) -> None:
        self.waiting = await self.deliveries.open()
        async with self.deliveries.running():
            self.delivery: Delivery = self.deliveries.of("CP1")
            self.delivery.answers = self.answers
            self.session.delivery = self.delivery
            self.delivery.opened(self.session)
            await asyncio.Event().wait()

    def run_for(self, seconds: float) -> None:
        self.loop.run_for(seconds)

    def crash(self) -> None:
        """The process is gone, and another begins with what is on disk."""
        self.store.crash()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run_for(0.0)
        self.store.crash()
        self._begin()

    def close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run_for(0.0)
        self.loop.close()

    def asking(self, call: Call, side: Side = Side.CHARGE_POINT) -> asyncio.Task[Reply]:
        return self.loop.create_task(self._relay(call, side))

    async def _relay(self, call: Call, side: Side) -> Reply:
        reply, _ = await self.session.relay(call, Passage("soap", b""), side, lambda reply: ASKED)
        return reply

    def ask(self, call: Call, side: Side = Side.CHARGE_POINT, within: float = 0.0) -> Reply:
        """The reply that *call* gets, in so many seconds."""
        task = self.asking(call, side)
        self.run_for(within)
        assert task.done(), f"{call.action} has no reply within {within} s"
        return task.result()

    def result(self, call: Call, within: float = 0.0) -> Payload:
        reply = self.ask(call, within=within)
        assert isinstance(reply, CallResult), reply
        return reply.payload

    def error(self, call: Call, within: float = 0.0) -> CallError:
        reply = self.ask(call, within=within)
        assert isinstance(reply, CallError), reply
        return reply

    def read(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        task = self.loop.create_task(work())
        self.run_for(0.0)
        return task.result()

    def come_back(self) -> None:
        self.central_system.away = self.central_system.silent = self.central_system.loses = False
        self.delivery.wake()

    @property
    def got(self) -> list[tuple[str, Payload]]:
        return [(call.action, call.payload) for call in self.central_system.got]
