"""An outage of a central system as charge points live through it, the whole gateway between, in virtual time.

Charge points keep the messages of their transactions, and discard what is refused too often, as OCPP has it
(``TransactionQueue``). Run by ``tests.virtual_process``; writes what all parties know at the end, as JSON.

    python -m tests.virtual_process tests.outage '{"outage": "flapping", "central_system": "soap"}'
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from lxml import etree
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.fakes import from_header, http_response, soap_request
from tests.virtual_time import MemoryTransport, VirtualLoop, finished
from wattbridge.app import Gateway
from wattbridge.config import read_text
from wattbridge.simulators.transaction_queue import Message, Outcome, TransactionQueue

Payload = dict[str, Any]
Answer = Callable[["Payload | Outcome"], None]

GATEWAY, CENTRAL_SYSTEM = ("10.0.0.254", 8080), ("10.0.1.1", 80)
BEGINS, LASTS, TURN = 63.4, 600.0, 20.0  # seconds; TURN is how long each state of a flapping one lasts
CHARGES_UNTIL, GIVES_UP = 720.0, 7200.0  # seconds
ANSWERS_AFTER = 0.05  # seconds that the central system thinks
CALL_TIMEOUT, RECONNECT, HEARTBEAT = 30.0, 5.0, 30.0  # seconds, of charge points
TRANSACTIONS = ("StartTransaction", "MeterValues", "StopTransaction")

CONFIGURATION = """
gateway: {{unknown: accept, public_url: "http://10.0.0.254:8080"}}
listeners: {{all: {{bind: "10.0.0.254:8080"}}}}
upstreams:
  main: {{url: "{url}", connect: {{backoff: {{first: 1s, max: 10s, jitter: 0}}}}}}
callbacks: {{networks: [10.0.0.0/8]}}
metrics: {{bind: "10.0.0.254:9181"}}
store: {{url: memory}}
offline: {{answer: {{start_transaction: {start_transaction}}}}}
"""


@dataclass(frozen=True)
class Play:
    """What is played. Without a ``gateway`` charge points reach what a plain proxy would make of the central
    system: while that is away messages of transactions are refused, and all others answered.
    """

    outage: str = "steady"  # or "flapping", or "silent": steady, and nobody is told that it is away
    central_system: str = "json"  # or "soap"
    start_transaction: str = "hold"  # or "provisional"
    gateway: bool = True


def word_of(action: str, payload: Payload) -> str:
    """Which message of its charge point it is: ``"Meter 703"`` is the third of the seventh charge."""
    match action:
        case "StartTransaction":
            return f"Start {payload['meterStart']}"
        case "MeterValues":
            return f"Meter {payload['meterValue'][0]['sampledValue'][0]['value']}"
        case _:
            return f"Stop {payload['meterStop']}"


# --- The central system --------------------------------------------------------------------------------


class CentralSystem:
    """It does what it can answer; what it cannot answer any more it has not done."""

    def __init__(self, loop: VirtualLoop, *, refuses: bool) -> None:
        self.refuses = refuses  # while it is away, in the place of being away
        self.away = False
        self.received: dict[str, list[str]] = {}
        self.wrong: list[str] = []
        self.connections: set[SoapServer | JsonServer] = set()
        self._loop = loop
        self._numbers = count(4711)
        self._transactions: dict[tuple[str, int], int] = {}  # (identity, charge) → transactionId

    def listen(self, address: tuple[str, int], transport: str) -> None:
        self._loop.serve(lambda: SoapServer(self) if transport == "soap" else JsonServer(self), *address)

    def leave(self, *, silently: bool = False) -> None:
        self.away = True
        if self.refuses:
            return
        self._loop.refuse(*CENTRAL_SYSTEM)
        if silently:
            self._loop.hang(*CENTRAL_SYSTEM)
        for connection in self.connections:
            if silently:
                connection.transport.silence()
            else:
                connection.transport.reset()
        self.connections.clear()

    def hear(self, connection: SoapServer | JsonServer, identity: str, call: Call, answer: Answer) -> None:
        def think() -> None:
            if connection not in self.connections:
                return
            if self.away and self.refuses and call.action in TRANSACTIONS:
                answer(Outcome.FAILED)
                return
            done = self._do(identity, call)
            answer(done)
            if "transactionId" in done and isinstance(connection, JsonServer):
                self._loop.call_later(1.0, connection.ask_to_stop, done["transactionId"])

        self._loop.call_later(ANSWERS_AFTER, think)

    def _do(self, identity: str, call: Call) -> Payload:
        accepted = {"idTagInfo": {"status": "Accepted"}}
        if call.action in TRANSACTIONS:
            word = word_of(call.action, call.payload)
            self.received.setdefault(identity, []).append(word)
            charge = identity, int(word.split()[1]) // 100
            if call.action == "StartTransaction":
                self._transactions[charge] = next(self._numbers)
                return {"transactionId": self._transactions[charge]} | accepted
            found, expected = int(call.payload["transactionId"]), self._transactions.get(charge, -1)
            if found != expected:
                self.wrong.append(f"{identity}: {word} has transactionId {found}, expected {expected}")
            return accepted if call.action == "StopTransaction" else {}
        return plain_answer(call.action)


def plain_answer(action: str) -> Payload:
    now = {"currentTime": "2026-09-21T14:13:20Z"}
    match action:
        case "BootNotification":
            return {"status": "Accepted"} | now | {"interval": int(HEARTBEAT)}
        case "Heartbeat":
            return now
        case _:
            return {}


@dataclass(frozen=True)
class Call:
    action: str
    payload: Payload


class Server(asyncio.Protocol):
    transport: MemoryTransport

    def __init__(self, central_system: CentralSystem) -> None:
        self.central_system = central_system

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        assert isinstance(self, SoapServer | JsonServer)
        self.central_system.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        assert isinstance(self, SoapServer | JsonServer)
        self.central_system.connections.discard(self)


class SoapServer(Server):
    _read = b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (message := _http_message(self._read)) is not None:
            body, self._read = message
            envelope = etree.fromstring(body)
            element = next(iter(envelope.find("{*}Body")))  # type: ignore[arg-type]
            action = _local(element).removesuffix("Request")
            action = action[0].upper() + action[1:]
            identity = envelope.findtext(".//{*}chargeBoxIdentity") or ""

            def answer(what: Payload | Outcome, action: str = action) -> None:
                name = action[0].lower() + action[1:]
                if isinstance(what, Outcome):
                    inside = (
                        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason>"
                        '<s:Text xml:lang="en">away</s:Text></s:Reason></s:Fault>'
                    )
                else:
                    inside = f'<{name}Response xmlns="urn://Ocpp/Cs/2015/10/">{_xml(what)}</{name}Response>'
                envelope = '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
                status = "500 Internal Server Error" if isinstance(what, Outcome) else "200 OK"
                self.transport.write(http_response(f"{envelope}{inside}</s:Body></s:Envelope>", status))

            call = Call(action, _payload(element))
            self.central_system.hear(self, identity, call, answer)


class JsonServer(Server):
    def __init__(self, central_system: CentralSystem) -> None:
        super().__init__(central_system)
        self._identity = ""
        self._socket = ServerProtocol(subprotocols=[Subprotocol("ocpp1.6")])

    def data_received(self, data: bytes) -> None:
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Request):
                self._identity = event.path.rpartition("/")[2]
                self._socket.send_response(self._socket.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                frame = json.loads(bytes(event.data))
                if frame[0] != 2:  # a reply
                    continue
                _, message_id, action, payload = frame

                def answer(what: Payload | Outcome, message_id: str = message_id) -> None:
                    frame = (
                        [4, message_id, "InternalError", "away", {}]
                        if isinstance(what, Outcome)
                        else [3, message_id, what]
                    )
                    self._socket.send_text(json.dumps(frame).encode())
                    self._flush()

                self.central_system.hear(self, self._identity, Call(action, payload), answer)
        self._flush()

    def ask_to_stop(self, transaction_id: int) -> None:
        """Under the number that was given to the transaction; whether it stops is no matter here."""
        if self in self.central_system.connections and self._socket.state is State.OPEN:
            call = [2, f"stop-{transaction_id}", "RemoteStopTransaction", {"transactionId": transaction_id}]
            self._socket.send_text(json.dumps(call).encode())
            self._flush()

    def eof_received(self) -> bool:
        self._socket.receive_eof()
        self._flush()
        return False

    def _flush(self) -> None:
        _flush(self._socket, self.transport)


# --- A charge point ------------------------------------------------------------------------------------


class ChargePoint:
    """One charge after the other, whoever is there to hear of it."""

    def __init__(self, loop: VirtualLoop, identity: str, transport: str, address: tuple[str, int]) -> None:
        self.identity = identity
        self.queue = TransactionQueue(attempts=3, retry=60.0, probes=transport == "soap")
        self.queue.on_acknowledged = self._note
        self.made: list[str] = []
        self.acknowledged: list[tuple[float, str]] = []
        self.refused: list[str] = []  # what is no message of a transaction
        self.told: list[int] = []  # numbers of transactions that it got
        self.asked_to_stop: list[int] = []
        self.number = int(identity.rpartition("-")[2])
        self._loop = loop
        self._transport = transport
        self._address = address
        self._talking = asyncio.Lock()  # one call at a time
        self._news = asyncio.Event()
        self._socket: JsonClient | None = None

    def _note(self, message: Message) -> None:
        self.acknowledged.append((self._loop.time(), word_of(message.action, message.payload)))
        if message.answer and "transactionId" in message.answer:
            self.told.append(message.answer["transactionId"])

    async def live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            if self._transport == "json":
                tasks.create_task(self._stay_connected())
            while "status" not in (booted := await self._say("BootNotification", **VENDOR)):
                assert booted == {}
                await asyncio.sleep(10.0)
            tasks.create_task(self._deliver())
            tasks.create_task(self._charge())

    async def _charge(self) -> None:
        await asyncio.sleep(1.3 * self.number)
        for charge in count(1):
            if self._loop.time() > CHARGES_UNTIL:
                return
            transaction = Transaction()
            at = {"timestamp": f"2026-09-21T{charge // 60:02}:{charge % 60:02}:00Z"}
            tag = {"idTag": f"TAG-{self.number}-{charge}"}
            self._queue(
                transaction,
                "StartTransaction",
                {"connectorId": 1, **tag, **at, "meterStart": 100 * charge},
            )
            await self._say("StatusNotification", connectorId=1, status="Charging", errorCode="NoError")
            for sample in (1, 2, 3):
                await asyncio.sleep(9.7)
                values = [{"value": str(100 * charge + sample)}]
                meter_value = [at | {"sampledValue": values}]
                self._queue(transaction, "MeterValues", {"connectorId": 1, "meterValue": meter_value})
            await asyncio.sleep(2.1)
            self._queue(transaction, "StopTransaction", {**tag, **at, "meterStop": 100 * charge + 99})
            await self._say("StatusNotification", connectorId=1, status="Available", errorCode="NoError")
            await asyncio.sleep(3.3)

    def _queue(self, transaction: Transaction, action: str, payload: Payload) -> None:
        self.made.append(word_of(action, payload))
        if action != "StartTransaction":
            payload = {"transactionId": None, **payload}  # which is known when it is sent
        self.queue.add(action, payload, transaction)
        self._news.set()

    async def _deliver(self) -> None:
        heartbeat = self._loop.time()
        while True:
            # A timer may fire a hair early, and virtual time does not go on by itself.
            while (call := self.queue.next(self._loop.time() + 1e-6)) is not None:
                outcome = await self._ask(*call)
                self.queue.told(outcome, self._loop.time())
            due = min(heartbeat + HEARTBEAT, self.queue.due or float("inf"))
            self._news.clear()
            try:
                async with asyncio.timeout_at(due):
                    await self._news.wait()
            except TimeoutError:
                if self._loop.time() + 1e-6 >= heartbeat + HEARTBEAT:
                    heartbeat = self._loop.time()
                    await self._say("Heartbeat")

    async def _say(self, action: str, **payload: Any) -> Payload:
        outcome = await self._ask(action, payload)
        if outcome is Outcome.FAILED:
            self.refused.append(action)
        return {} if isinstance(outcome, Outcome) else outcome

    async def _ask(self, action: str, payload: Payload) -> Payload | Outcome:
        async with self._talking:
            try:
                async with asyncio.timeout(CALL_TIMEOUT):
                    if self._transport == "soap":
                        return await self._post(action, payload)
                    if self._socket is None:
                        return Outcome.UNANSWERED
                    return await self._socket.ask(action, payload)
            except TimeoutError:
                return Outcome.UNANSWERED

    async def _post(self, action: str, payload: Payload) -> Payload | Outcome:
        ordered = {name: payload[name] for name in ORDER if name in payload}
        assert len(ordered) == len(payload)
        message = soap_request(
            action,
            self.identity,
            headers=from_header(f"http://10.0.0.{self.number}:8080/cp"),
            inside=_xml(ordered, "cs:"),
        )
        client = SoapClient(message.replace("urn:uuid:1<", f"urn:uuid:{self.number}-{next(_numbers)}<"))
        try:
            self._loop.connect(lambda: client, *self._address, f"10.0.0.{self.number}")
        except OSError:
            return Outcome.UNANSWERED
        try:
            head, body = await client.response
        finally:
            client.transport.close()
        if not head:
            return Outcome.UNANSWERED
        if " 200 " not in head.splitlines()[0]:
            return Outcome.FAILED
        element = next(iter(etree.fromstring(body.encode()).find("{*}Body")))  # type: ignore[arg-type]
        return Outcome.FAILED if _local(element) == "Fault" else _payload(element)

    async def _stay_connected(self) -> None:
        while True:
            client = JsonClient(self.identity, self.asked_to_stop)
            try:
                self._loop.connect(lambda: client, *self._address, f"10.0.0.{self.number}")  # noqa: B023
            except OSError:
                client.lost.set()
            else:
                if await client.is_open():
                    self._socket = client
                    self.queue.connected(self._loop.time())
                    self._news.set()
                    await client.lost.wait()
                    self._socket = None
            await asyncio.sleep(RECONNECT)


VENDOR = {"chargePointVendor": "ACME", "chargePointModel": "CC-1"}
# The order of elements in SOAP.
ORDER = (
    *(
        "chargePointModel",
        "chargePointVendor",
        "status",
        "connectorId",
        "errorCode",
        "transactionId",
        "idTag",
    ),
    *("timestamp", "meterStart", "meterStop", "meterValue"),
)
_numbers = count(1)


@dataclass(eq=False)
class Transaction:
    transaction_id: int = -1


class SoapClient(asyncio.Protocol):
    transport: MemoryTransport

    def __init__(self, message: str) -> None:
        body = message.encode()
        self._request = (
            "POST /ocpp/cs HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
            f"Content-Type: application/soap+xml\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._read = b""
        self.response: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        if (message := _http_message(self._read)) is not None and not self.response.done():
            head = self._read.partition(b"\r\n\r\n")[0].decode()
            self.response.set_result((head, message[0].decode()))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.response.done():
            self.response.set_result(("", ""))


class JsonClient(asyncio.Protocol):
    transport: MemoryTransport

    def __init__(self, identity: str, asked_to_stop: list[int]) -> None:
        self._asked_to_stop = asked_to_stop
        self.lost = asyncio.Event()
        self._answered = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[Payload | Outcome]] = {}
        uri = parse_uri(f"ws://gateway/ocpp/{identity}")
        self._socket = ClientProtocol(uri, subprotocols=[Subprotocol("ocpp1.6")])

    async def is_open(self) -> bool:
        await self._answered.wait()
        return self._socket.state is State.OPEN

    async def ask(self, action: str, payload: Payload) -> Payload | Outcome:
        if self.lost.is_set():
            return Outcome.UNANSWERED
        message_id = str(next(_numbers))
        waiting = self._waiting[message_id] = asyncio.get_running_loop().create_future()
        try:
            self._socket.send_text(json.dumps([2, message_id, action, payload]).encode())
            self._flush()
            outcome: Payload | Outcome = await waiting
            return outcome
        finally:
            del self._waiting[message_id]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        self._socket.send_request(self._socket.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Response):
                self._answered.set()
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                frame = json.loads(bytes(event.data))
                if frame[0] == 2:
                    self._asked_to_stop.append(frame[3]["transactionId"])
                    self._socket.send_text(json.dumps([3, frame[1], {"status": "Rejected"}]).encode())
                    continue
                waiting = self._waiting.get(frame[1])
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame[2] if frame[0] == 3 else Outcome.FAILED)
        self._flush()

    def eof_received(self) -> bool:
        self._socket.receive_eof()
        self._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self._answered.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(Outcome.UNANSWERED)

    def _flush(self) -> None:
        _flush(self._socket, self.transport)


# --- What is on the wire -------------------------------------------------------------------------------


def _flush(socket: ClientProtocol | ServerProtocol, transport: MemoryTransport) -> None:
    for data in socket.data_to_send():
        if data:
            transport.write(data)
        else:
            transport.write_eof()


def _http_message(data: bytes) -> tuple[bytes, bytes] | None:
    """The body of the first message, and what comes behind it; None while it is not there whole."""
    head, found, rest = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    size = int(length[1]) if length else 0
    return (rest[:size], rest[size:]) if found and len(rest) >= size else None


def _xml(payload: Payload, prefix: str = "") -> str:
    text = ""
    for name, value in payload.items():
        for each in value if isinstance(value, list) else [value]:
            inside = _xml(each, prefix) if isinstance(each, dict) else each
            text += f"<{prefix}{name}>{inside}</{prefix}{name}>"
    return text


def _payload(element: etree._Element) -> Payload:
    found: Payload = {}
    for child in element:
        name, value = _local(child), _payload(child) if len(child) else child.text or ""
        if name in ("meterValue", "sampledValue"):
            found.setdefault(name, []).append(value)
        else:
            found[name] = int(value) if name == "transactionId" and isinstance(value, str) else value
    return found


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname


# --- The play ------------------------------------------------------------------------------------------


def main(loop: VirtualLoop, arguments: list[str]) -> None:
    play = Play(**json.loads(arguments[0]) if arguments else {})
    unhandled: list[str] = []
    loop.set_exception_handler(lambda loop, context: unhandled.append(str(context)))
    task = loop.create_task(_run(loop, play))
    while not task.done():
        loop.run_for(60.0)
    report = task.result()
    left = finished(loop)
    unhandled += [f"a task is left: {each}" for each in left]
    sys.stdout.write(json.dumps(report | {"unhandled": unhandled}, indent=1) + "\n")


async def _run(loop: VirtualLoop, play: Play) -> dict[str, Any]:
    central_system = CentralSystem(loop, refuses=not play.gateway)
    identities = {"SOAP-1": "soap", "SOAP-2": "soap", "JSON-3": "json", "JSON-4": "json"}
    addresses = {"soap": GATEWAY, "json": GATEWAY}
    stopping = asyncio.Event()
    left: dict[str, list[str]] = {}
    async with asyncio.TaskGroup() as tasks:
        if play.gateway:
            central_system.listen(CENTRAL_SYSTEM, play.central_system)
            await _start_gateway(tasks, play, stopping)
        else:
            addresses["json"] = ("10.0.0.254", 8081)
            for transport, address in addresses.items():
                central_system.listen(address, transport)
        charge_points = [
            ChargePoint(loop, identity, transport, addresses[transport])
            for identity, transport in identities.items()
        ]
        living = [tasks.create_task(charge_point.live()) for charge_point in charge_points]
        await asyncio.sleep(BEGINS)
        ends = loop.time() + LASTS
        turn = TURN if play.outage == "flapping" else LASTS
        while loop.time() < ends:
            central_system.leave(silently=play.outage == "silent")
            await asyncio.sleep(turn)
            if loop.time() >= ends - 1.0:
                left = {each.identity: [m.action for m in each.queue.messages] for each in charge_points}
            central_system.away = False
            if play.gateway:
                central_system.listen(CENTRAL_SYSTEM, play.central_system)
            if play.outage == "flapping":
                await asyncio.sleep(turn)
        came_back = loop.time()
        received = central_system.received

        def is_over() -> bool:
            return loop.time() > GIVES_UP or (
                loop.time() > CHARGES_UNTIL + 60.0
                and all(each.queue.due is None for each in charge_points)
                and all(len(received.get(each.identity, ())) >= len(each.made) for each in charge_points)
            )

        while not is_over():  # noqa: ASYNC110 - seconds cost nothing here
            await asyncio.sleep(10.0)
        ended = loop.time()
        await asyncio.sleep(120.0)  # for whatever comes once more
        for task in living:
            task.cancel()
        stopping.set()
    return {
        "play": asdict(play),
        "wrong": central_system.wrong,
        "drained_after": ended - came_back,
        "charge_points": {
            each.identity: {
                "counts": asdict(each.queue.counts),
                "made": each.made,
                "received": received.get(each.identity, []),
                "acknowledged_while_away": [
                    word for at, word in each.acknowledged if BEGINS < at < BEGINS + LASTS
                ],
                "queued_when_it_came_back": left.get(each.identity),
                "refused": each.refused,
                "told": each.told,
                "asked_to_stop": each.asked_to_stop,
            }
            for each in charge_points
        },
    }


async def _start_gateway(tasks: asyncio.TaskGroup, play: Play, stopping: asyncio.Event) -> None:
    url = {"json": "ws://10.0.1.1:80/ocpp", "soap": "http://10.0.1.1:80/cs"}[play.central_system]
    configuration = CONFIGURATION.format(url=url, start_transaction=play.start_transaction)
    gateway, ready = Gateway(read_text(configuration).config), asyncio.Event()
    tasks.create_task(gateway.run(stopping, ready.set))
    await ready.wait()
