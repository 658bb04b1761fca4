"""Parties of a session that keep books: which calls each has made, what became of them, and what a gateway
may never do with them. The gateway between them is the real one; its time is a number, its network memory.

Every call carries a word of its own (``m12.``) and every reply (``r34.``, or a time of day where there is no
room for a word), so that whoever reads a message knows which one it is, whatever it looks like.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.fakes import from_header
from tests.virtual_time import MemoryTransport, VirtualLoop, finished
from wattbridge.links.callbacks import AddressPolicy, CallbackClient
from wattbridge.links.central_system_json import CentralSystem, CentralSystemJson
from wattbridge.links.central_system_soap import (
    Caller,
    CentralSystemSoap,
    ChargePointService,
    SoapCentralSystem,
)
from wattbridge.links.charge_point_json import CentralSystemEndpoint
from wattbridge.links.charge_point_soap import CentralSystemService
from wattbridge.links.charge_points import ChargePoint
from wattbridge.links.http_client import KeptClient
from wattbridge.links.json_link import JsonLimits
from wattbridge.links.listener import HttpRequest, HttpResponse, Limits, Listener
from wattbridge.ocpp.actions import JsonCodec, dialect
from wattbridge.ocpp.messages import Side
from wattbridge.relay import duty
from wattbridge.relay.duty import Duty
from wattbridge.relay.failover import FailOver, WatchedLink
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.offline import SAFE_TO_REPEAT
from wattbridge.relay.pace import Pacer
from wattbridge.relay.registry import CentralSystemLink, Registry
from wattbridge.relay.registry import Way as RelayWay
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Session

CP, CS = Side.CHARGE_POINT, Side.CENTRAL_SYSTEM

GATEWAY = "10.0.0.254", 8080
CHARGE_POINT = "10.0.0.1", 8080  # where a SOAP charge point is called
HOSTS = {"A": ("10.0.1.1", 80), "B": ("10.0.1.2", 80)}  # the central systems
TIMEOUTS = {CP: 16.0, CS: 20.0}  # seconds that each has for a reply
TAKEOVER, LINGER, CLOSE_WAIT, REPEAT_WINDOW = 3.0, 10.0, 10.0, 60.0  # seconds
ANSWER_WITHIN = 24.0  # seconds that a SOAP central system waits

# What each side may ask; WORD stands for the word of the call.
CALLS: dict[Side, dict[str, dict[str, Any]]] = {
    CP: {
        "Authorize": {"idTag": "WORD"},
        "BootNotification": {
            "chargePointVendor": "VENDOR",
            "chargePointModel": "M",
            "chargePointSerialNumber": "WORD",
        },
        "DataTransfer": {"vendorId": "V", "data": "WORD"},
        "StartTransaction": {
            "connectorId": 1,
            "idTag": "WORD",
            "timestamp": "2024-05-01T10:00:00Z",
            "meterStart": 0,
        },
        "StatusNotification": {"connectorId": 1, "status": "Faulted", "errorCode": "NoError", "info": "WORD"},
        "StopTransaction": {
            "transactionId": 7,
            "idTag": "WORD",
            "timestamp": "2024-05-01T10:00:00Z",
            "meterStop": 9,
        },
    },
    CS: {
        "ChangeConfiguration": {"key": "K", "value": "WORD"},
        "DataTransfer": {"vendorId": "V", "data": "WORD"},
        "GetConfiguration": {"key": ["WORD"]},
        "RemoteStartTransaction": {"idTag": "WORD"},
    },
}
# What each action is answered with; WORD stands for the word of the reply, TIME for a time that is one.
RESULTS: dict[str, dict[str, Any]] = {
    "Authorize": {"idTagInfo": {"status": "Accepted", "parentIdTag": "WORD"}},
    "BootNotification": {"status": "Accepted", "currentTime": "TIME", "interval": 30},
    "ChangeConfiguration": {"status": "Accepted"},
    "DataTransfer": {"status": "Accepted", "data": "WORD"},
    "GetConfiguration": {"unknownKey": ["WORD"]},
    "RemoteStartTransaction": {"status": "Accepted"},
    "StartTransaction": {"transactionId": 7, "idTagInfo": {"status": "Accepted", "parentIdTag": "WORD"}},
    "StatusNotification": {},
    "StopTransaction": {"idTagInfo": {"status": "Accepted", "parentIdTag": "WORD"}},
}
TRANSACTIONS = frozenset({"StartTransaction", "StopTransaction"})

_CALL_WORD = re.compile(r"\bm(\d+)\.")
_REPLY_WORD = re.compile(r"\br\d+\.|2030-01-\d\dT\d\d:\d\d:\d\d")


@dataclass(eq=False)
class Asking:
    """A call that a party has made, and what became of it."""

    number: int
    side: Side
    action: str
    text: str
    at: float
    peer: JsonPeer | HttpAsking
    deliveries: int = 0  # how often the other party has seen it
    may_deliver: int = 1
    replies: list[str] = field(default_factory=list)  # "" where it was left without one
    may_reply: int = 1
    records: int = 0
    must_record: int = 1
    surely_heard: bool = True  # whether the gateway has certainly read it
    waits_on: Task | None = None

    @property
    def is_ended(self) -> bool:
        return len(self.replies) >= self.may_reply

    def __repr__(self) -> str:
        return f"{self.action} m{self.number}. of the {self.side.value}"


@dataclass(eq=False)
class Task:
    """A call that a party has been asked, on one connection."""

    asking: Asking
    peer: JsonPeer | HttpAsked
    message_id: str
    at: float
    limit: float
    answered: bool = False

    def is_pending(self, now: float) -> bool:
        """Whether the gateway still waits for its reply."""
        return not self.answered and now - self.at < self.limit and self.peer.open


class JsonPeer(asyncio.Protocol):
    """The other end of a WebSocket: a charge point, or a central system as one charge point sees it.

    ``deaf`` is a line that is cut without anybody being told; ``status`` that of the answer to a handshake.
    """

    transport: MemoryTransport

    def __init__(self, world: World, side: Side, name: str, password: str | None = None) -> None:
        self.world = world
        self._password = password
        self.side = side
        self.name = name
        self.identity = "CP1"
        self.deaf = False
        self.lost = False
        self.status = 0
        self.asked: dict[str, Asking] = {}
        self.ids: set[str] = set()  # of the CALLs that came
        self._socket: ClientProtocol | ServerProtocol = (
            ClientProtocol(parse_uri("ws://gateway/ocpp/CP1"), subprotocols=[Subprotocol("ocpp1.6")])
            if side is CP
            else ServerProtocol(subprotocols=[Subprotocol("ocpp1.6")])
        )

    @property
    def open(self) -> bool:
        return not self.lost and not self.deaf and self._socket.state is State.OPEN

    @property
    def let_go(self) -> bool:
        """Whether the gateway has closed its end."""
        return self.transport.other.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        if isinstance(self._socket, ClientProtocol):
            request = self._socket.connect()
            if self._password is not None:
                credential = base64.b64encode(f"CP1:{self._password}".encode()).decode()
                request.headers["Authorization"] = f"Basic {credential}"
            self._socket.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Request):
                assert isinstance(self._socket, ServerProtocol)
                self.identity = event.path.rpartition("/")[2]
                self._socket.send_response(self._socket.accept(event))
            elif isinstance(event, Response):
                self.status = event.status_code
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.world.hear_frame(self, bytes(event.data).decode())
        self._flush()

    def eof_received(self) -> bool:
        self._socket.receive_eof()
        self._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def send(self, text: str) -> None:
        self._socket.send_text(text.encode())
        self._flush()

    def say_goodbye(self) -> None:
        self._socket.send_close(1000)
        self._flush()

    def reset(self) -> None:
        self.lost = True
        self.transport.reset()

    def go_deaf(self) -> None:
        self.deaf = True
        self.transport.silence()

    def _flush(self) -> None:
        for data in self._socket.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.write_eof()


class HttpAsking(asyncio.Protocol):
    """A party that posts one message and waits for what comes back."""

    transport: MemoryTransport

    def __init__(self, world: World, path: str, body: str) -> None:
        self.world = world
        self.asking: Asking | None = None
        self.open = True
        self._read = b""
        encoded = body.encode()
        self._request = (
            f"POST {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
            f"Content-Type: application/soap+xml\r\nContent-Length: {len(encoded)}\r\n\r\n"
        ).encode() + encoded

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._read += data

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.open:
            self.open = False
            assert self.asking is not None
            self.world.hear_response(self.asking, self._read.decode())

    def hang_up(self) -> None:
        self.open = False
        self.transport.reset()


class HttpAsked(asyncio.Protocol):
    """A party that is called by SOAP, on one connection."""

    transport: MemoryTransport

    def __init__(self, world: World, side: Side, name: str = "") -> None:
        self.world = world
        self.side = side
        self.name = name  # of the central system
        self.open = True
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if found and length is not None and len(body) >= int(length[1]):
            self._read = b""
            self.world.hear_request(self, body.decode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False

    def respond(self, body: str, status: str = "200 OK") -> None:
        encoded = body.encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/soap+xml\r\nContent-Length: {len(encoded)}\r\n"
        )
        self.transport.write(head.encode() + b"\r\n" + encoded)

    def hang_up(self) -> None:
        self.open = False
        self.transport.reset()


@dataclass(frozen=True)
class Way:
    """A way that was chosen for a vendor, by the configuration that was in force then."""

    link: CentralSystemLink
    name: str
    routes: dict[str, str]

    def leads(self, heard: Heard) -> bool:
        return self.routes[heard.vendor or ""] == self.name


# Vendor → central system, "AB" being A, and B while A cannot be reached.
FIRST_ROUTES = {"": "A", "VA": "A", "VB": "B", "VAB": "AB"}
OTHER_ROUTES = {"": "B", "VA": "AB", "VB": "A", "VAB": "AB"}


class World:
    """One gateway, the charge point CP1, and the central systems A and B.

    ``transports`` says by which transport each side speaks. What the gateway does that it may not do is put
    into ``failures``.
    """

    def __init__(self, charge_point: str, central_system: str, password: bytes | None = None) -> None:
        self.password = password
        self.transports = {CP: charge_point, CS: central_system}
        self.failures: list[str] = []
        self.askings: list[Asking] = []
        self.tasks: list[Task] = []
        self.peers: list[JsonPeer] = []  # those whose handshake has ended well
        self.dials: list[JsonPeer] = []
        self.routes = FIRST_ROUTES
        self.duties = {name: Duty() for name in HOSTS}
        self.events: list[Event] = []
        self.expected = {"stray": 0, "malformed message": 0, "repeated call": 0}
        self.is_stopping = False
        self._said: dict[str, int] = {}  # the word of a reply → the number of the call it answers
        self._numbers = count(1)
        self._up: set[str] = set()
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(self._not_handled)
        self.main = self.loop.create_task(self._run())
        for name in HOSTS:
            self.come_up(name)
        self.loop.serve(lambda: HttpAsked(self, CP), *CHARGE_POINT)
        self.settle()

    def _not_handled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.fail(f"nobody has handled {context}")

    def fail(self, text: str) -> None:
        self.failures.append(f"{self.loop.time():g} s: {text}")

    def settle(self, seconds: float = 0.0) -> None:
        """Let everything happen that is due within so many seconds."""
        self.loop.run_for(seconds)
        self.peers += [dial for dial in self.dials if dial.status == 101]
        self.dials = [dial for dial in self.dials if not dial.status and not dial.lost]
        self.peers = [peer for peer in self.peers if not peer.lost]

    # --- the gateway ---

    async def _run(self) -> None:
        now = self.loop.time
        self.journal = journal = Journal()
        journal.listen(record=self._hear_record, event=self._hear_event)
        self.registry = Registry(
            journal, self._open_way, heartbeat_interval=20.0, linger=LINGER, takeover=TAKEOVER, clock=now
        )
        self._stopping = asyncio.Event()
        self._pacer = Pacer(64.0, clock=now)
        self._kept = KeptClient(timeout=TIMEOUTS[CS])
        callbacks = CallbackClient(timeout=TIMEOUTS[CP])
        paths = ("/ocpp/cs", "/ocpp/{charger}")
        served = ChargePoint(dialect(), password=self.password)

        def admit(identity: str, source: str, listener: str) -> ChargePoint:
            return served

        policy = AddressPolicy(networks=(ip_network("10.0.0.0/8"),))
        central_system = CentralSystemService(
            self.registry, journal, admit, dialect(), policy, callbacks, paths=paths, clock=now
        )
        charge_point = ChargePointService(
            self.registry,
            journal,
            dialect(),
            {name: Caller(answer_within=ANSWER_WITHIN) for name in HOSTS},
            clock=now,
        )
        limits = JsonLimits(call_timeout=TIMEOUTS[CP], close_wait=CLOSE_WAIT)
        endpoint = CentralSystemEndpoint(self.registry, journal, admit, paths=paths, limits=limits, clock=now)

        async def handle(request: HttpRequest) -> HttpResponse:
            if request.method == "POST" and charge_point.identity_in(request) is not None:
                return await charge_point.handle(request)
            return await central_system.handle(request)

        def failed(problem: Exception, request: HttpRequest | None) -> None:
            self.fail(f"the listener was told of {problem!r}")

        roomy = Limits(connections_per_source=1000)
        listener = Listener("in", *GATEWAY, handle, roomy, upgrade=endpoint.handle, on_error=failed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.registry.run())
            tasks.create_task(charge_point.run())
            await listener.start()
            await self._stopping.wait()
            self.registry.drain()
            await listener.stop(CLOSE_WAIT)
            charge_point.stop()
            self.registry.stop()
        await callbacks.close()
        await self._kept.close()

    def _open_way(self, session: Session, heard: Heard) -> Way:
        name = self.routes[heard.vendor or ""]
        session.upstream = session.route = name[0]
        if len(name) == 1:
            return Way(self._link(name, session), name, self.routes)

        async def reachable() -> bool:
            return name[0] in self._up

        link = FailOver(
            session,
            self.journal,
            lambda: self._link(name[0], session),
            lambda: self._link(name[1], session),
            names=(name[0], name[1]),
            duties=(self.duties[name[0]], self.duties[name[1]]),
            reachable=reachable,
            after=8.0,
            back_after=16.0,
            probe_every=4.0,
            clock=self.loop.time,
        )
        return Way(link, name, self.routes)

    def _link(self, name: str, session: Session) -> WatchedLink:
        host, port = HOSTS[name]
        now = self.loop.time
        if self.transports[CS] == "soap":
            soap = SoapCentralSystem(
                f"http://{host}:{port}/cs", "http://10.0.0.254:8080/ocpp/cp/{charger}", name
            )
            return CentralSystemSoap(
                session, dialect(), self.journal, soap, self._kept, duty=self.duties[name], clock=now
            )
        limits = JsonLimits(call_timeout=TIMEOUTS[CS], close_wait=CLOSE_WAIT)
        return CentralSystemJson(
            session,
            JsonCodec(dialect(), CS),
            self.journal,
            CentralSystem(f"ws://{host}:{port}/ocpp", name, limits=limits),
            self._pacer,
            duty=self.duties[name],
            clock=now,
            chance=lambda: 0.0,
        )

    def _hear_event(self, event: Event) -> None:
        self.events.append(event)
        if event.kind == "internal error":
            self.fail(f"the gateway tells of a mistake of its own: {event.text}")

    def _hear_record(self, record: Record) -> None:
        for number in set(_CALL_WORD.findall(record.arrived.text.decode(errors="replace"))):
            asking = self.askings[int(number) - 1]
            asking.records += 1
            if asking.records > asking.must_record:
                self.fail(f"{asking} has {asking.records} records")
            if isinstance(asking.peer, JsonPeer) and not record.replied.text and asking.peer.open:
                # A charge point keeps what it is told nothing of, and sends it again.
                self._hear_reply(asking, "")
                if asking.side is CS or asking.action not in TRANSACTIONS:
                    self.fail(f"{asking} was left without a reply")

    def move(self) -> None:
        """Send the session where the configuration of now would send it."""
        session = self.registry.find("CP1")
        if session is not None:

            def leads(way: RelayWay, heard: Heard) -> bool:
                assert isinstance(way, Way)
                return way.name == self.routes[heard.vendor or ""]

            self.registry.move(session, leads)

    # --- the central systems as a whole ---

    def come_up(self, name: str) -> None:
        def accept() -> asyncio.BaseProtocol:
            if self.transports[CS] == "soap":
                return HttpAsked(self, CS, name)
            if not self.duties[name].is_ready:
                self.fail(f"{name} is connected while it {self.duties[name].why}")
            peer = JsonPeer(self, CS, name)
            peer.status = 101
            self.peers.append(peer)
            return peer

        self.loop.serve(accept, *HOSTS[name])
        self._up.add(name)

    def go_down(self, name: str, *, hang: bool) -> None:
        """Nobody is connected any more; those who are stay."""
        self.loop.refuse(*HOSTS[name])
        if hang:
            self.loop.hang(*HOSTS[name])
        self._up.discard(name)

    def say(self, name: str, state: duty.State) -> None:
        """The operator says this of a central system."""
        self.loop.call_soon(self.duties[name].become, state, self.loop.time())

    # --- the parties ---

    def open_peers(self, side: Side) -> list[JsonPeer]:
        return [peer for peer in self.peers if peer.side is side and peer.open]

    def dial(self, password: str | None = None, source: str = CHARGE_POINT[0]) -> JsonPeer:
        """The charge point opens a WebSocket, or who says it is; ``status`` tells what came of it."""
        peer = JsonPeer(self, CP, "the gateway", password)
        self.dials.append(peer)
        self.loop.connect(lambda: peer, *GATEWAY, source)
        return peer

    def _payload(self, action: str, side: Side, number: int, vendor: str) -> dict[str, Any]:
        text = json.dumps(CALLS[side][action]).replace("WORD", f"m{number}.").replace("VENDOR", vendor)
        payload: dict[str, Any] = json.loads(text)
        return payload

    def ask(self, peer: JsonPeer, action: str, vendor: str = "VA") -> Asking:
        """Send a CALL."""
        number = len(self.askings) + 1
        message_id = f"{peer.side.value}-{number}"
        text = json.dumps([2, message_id, action, self._payload(action, peer.side, number, vendor)])
        asking = Asking(number, peer.side, action, text, self.loop.time(), peer)
        self.askings.append(asking)
        peer.asked[message_id] = asking
        peer.send(text)
        return asking

    def post(self, side: Side, action: str, vendor: str = "VA") -> Asking:
        """Send a request by SOAP."""
        number = len(self.askings) + 1
        payload = self._payload(action, side, number, vendor)
        party = "Cs" if side is CP else "Cp"
        headers = from_header(f"http://{CHARGE_POINT[0]}:{CHARGE_POINT[1]}/cp") if side is CP else ""
        body = (
            f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
            f'xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns="urn://Ocpp/{party}/2015/10/"><s:Header>'
            f"<chargeBoxIdentity>CP1</chargeBoxIdentity><wsa:MessageID>urn:m{number}.</wsa:MessageID>"
            f"{headers}</s:Header><s:Body>{_element(action, 'Request', payload)}</s:Body></s:Envelope>"
        )
        peer = HttpAsking(self, "/ocpp/cs" if side is CP else "/ocpp/cp/CP1", body)
        asking = peer.asking = Asking(number, side, action, body, self.loop.time(), peer)
        self.askings.append(asking)
        self.loop.connect(lambda: peer, *GATEWAY, CHARGE_POINT[0] if side is CP else HOSTS["A"][0])
        return asking

    def repeat(self, asking: Asking) -> None:
        """Send the last CALL of a connection once more, word for word."""
        peer = asking.peer
        assert isinstance(peer, JsonPeer)
        last = asking.replies[-1] if asking.replies else ""
        if not asking.is_ended:
            self.expected["repeated call"] += 1
        elif last.startswith("[3,") and self.loop.time() - asking.at <= REPEAT_WINDOW:
            self.expected["repeated call"] += 1
            asking.may_reply += 1
        else:
            asking.may_deliver += 1
            asking.may_reply += 1
            asking.must_record += 1
            asking.at = self.loop.time()
        peer.send(asking.text)

    # --- what the parties hear ---

    def hear_frame(self, peer: JsonPeer, text: str) -> None:
        frame = json.loads(text)
        if frame[0] == 2:
            message_id = frame[1]
            if len(message_id) > 36:
                self.fail(f"message id {message_id!r} is longer than 36 characters")
            if message_id in peer.ids:
                self.fail(f"message id {message_id!r} is used a second time on one connection")
            if any(message_id in other.asked for other in self.peers):
                self.fail(f"message id {message_id!r} is one of a party")
            peer.ids.add(message_id)
            self._hear_call(peer, text, message_id)
            return
        asking = peer.asked.get(frame[1])
        if asking is None:
            self.fail(f"a reply to nobody came to the {peer.side.value}: {text}")
        else:
            self._hear_reply(asking, text)

    def hear_request(self, peer: HttpAsked, body: str) -> None:
        if peer.name and self.duties[peer.name].state == "maint":
            self.fail(f"{peer.name} is called while it is in maintenance: {body}")
        found = re.search(r"<wsa:MessageID>(.*?)</wsa:MessageID>", body)
        self._hear_call(peer, body, found[1] if found else "")

    def _hear_call(self, peer: JsonPeer | HttpAsked, text: str, message_id: str) -> None:
        now = self.loop.time()
        word = _CALL_WORD.search(text)
        if word is None:  # of somebody else
            return
        asking = self.askings[int(word[1]) - 1]
        asking.deliveries += 1
        # What changes nothing may be asked twice when the first answer got lost.
        if asking.deliveries > asking.may_deliver + (asking.action in SAFE_TO_REPEAT):
            self.fail(f"{asking} was delivered {asking.deliveries} times")
        if asking.side is peer.side:
            self.fail(f"{asking} came back to whoever made it")
        for task in self.tasks:
            # A SOAP charge point has a connection for each call, and is asked one at a time all the same.
            same = task.peer is peer or (self.transports[CP] == "soap" and peer.side is CP is task.peer.side)
            if same and task.is_pending(now):
                self.fail(f"{asking} was asked while {task.asking} waits for its reply")
        task = Task(asking, peer, message_id, now, TIMEOUTS[peer.side])
        asking.waits_on = task
        self.tasks.append(task)

    def _hear_reply(self, asking: Asking, text: str) -> None:
        asking.replies.append(text)
        if len(asking.replies) > asking.may_reply:
            self.fail(f"{asking} was answered {len(asking.replies)} times, at last with {text}")
        for word in _REPLY_WORD.findall(text):
            if self._said.get(word) != asking.number:
                self.fail(f"{asking} got {word}, the reply to m{self._said.get(word)}.")

    def hear_response(self, asking: Asking, response: str) -> None:
        self._hear_reply(asking, response)
        if not response:
            # At its end the gateway cuts what is still under way, some seconds after it was told to stop.
            if not self.is_stopping and (asking.side is CS or asking.action not in TRANSACTIONS):
                self.fail(f"{asking} was left without an answer")
        elif f"RelatesTo>urn:m{asking.number}.<" not in response:
            self.fail(f"{asking} got an answer that relates to something else: {response}")

    # --- what the parties say ---

    def reply(self, task: Task, kind: str) -> None:
        """Reply to a call: with a ``result``, an ``error``, something ``broken`` or ``unlike`` its schema.

        While the gateway waits for it, it must reach whoever asked; else it is noted, and no more.
        """
        asking, now = task.asking, self.loop.time()
        number = next(self._numbers)
        word, time = f"r{number}.", f"2030-01-{1 + number // 3600:02}T{number // 60 % 60:02}:{number % 60:02}"
        time = f"2030-01-{1 + number // 86400:02}T{number // 3600 % 24:02}:{time[-5:]}"
        self._said[word] = self._said[time] = asking.number
        result = json.dumps(RESULTS[asking.action]).replace("WORD", word).replace("TIME", f"{time}Z")
        pending = task.is_pending(now)
        asker_there = asking.peer.open and not asking.is_ended
        before = len(asking.replies)
        task.answered = True
        if isinstance(task.peer, JsonPeer):
            if not pending:
                self.expected["malformed message" if kind == "broken" else "stray"] += 1
            task.peer.send(_frame(kind, task.message_id, result, word))
            self.settle()
            if not pending and not task.peer.open:
                self.fail(f"a reply to {asking} that nobody waited for has ended the connection")
        elif pending:
            body = _response(kind, task, json.loads(result), word)
            task.peer.respond(body, "500 Internal Server Error" if kind == "error" else "200 OK")
        self.settle()
        if pending and asker_there:
            if len(asking.replies) == before:
                self.fail(f"{asking} was answered, but nobody was told")
            elif kind in ("result", "error"):
                said = [each for each in (word, time) if each in result or kind == "error"]
                told = asking.replies[-1]
                if said and not any(each in told for each in said):
                    self.fail(f"{asking} was answered with {said}, but got {told}")

    def check(self) -> None:
        """What holds at every moment."""
        if self.main.done():
            self.fail(f"the gateway has ended: {self.main}")
        told = {kind: sum(event.kind == kind for event in self.events) for kind in self.expected}
        told["stray"] = sum(
            event.kind == "unknown reply"
            or (event.kind == "late reply" and "waits no more" not in event.text)
            for event in self.events
        )
        if told != self.expected:
            self.fail(f"noted were {told}, expected {self.expected}")
        there = Counter((peer.name, peer.identity) for peer in self.peers if peer.open)
        for (name, identity), connections in there.items():
            if connections > 1:
                self.fail(f"{identity} has {connections} connections with {name} at a time")
        assert not self.failures, "\n".join(self.failures)

    def quiet(self) -> None:
        """Nobody says anything until every call has ended; then nothing may be left of any."""
        for _ in range(60):
            ended = all(asking.is_ended or not asking.peer.open for asking in self.askings)
            if ended and not any(self.journal.in_flight.values()):
                break
            self.settle(16.0)
        self.settle(32.0)
        for asking in self.askings:
            if asking.peer.open and not asking.is_ended:
                self.fail(f"{asking} has never ended")
            if asking.records < asking.must_record and asking.surely_heard:
                self.fail(f"{asking} has {asking.records} records, expected {asking.must_record}")
        if any(self.journal.in_flight.values()):
            self.fail(f"in flight are {self.journal.in_flight}")
        for session in self.registry.sessions():
            if session.calls_in_flight:
                self.fail(f"{session.calls_in_flight} calls of a session are in flight")
        self.check()

    def end(self) -> None:
        """Stop the gateway: everything ends, and no task is left."""
        self.is_stopping = True
        self._stopping.set()
        self.settle(64.0)
        if not self.main.done():
            self.fail("the gateway does not stop")
        elif self.main.exception() is not None:
            self.fail(f"the gateway ended with {self.main.exception()!r}")
        if any(self.journal.in_flight.values()):
            self.fail(f"in flight are {self.journal.in_flight}")
        left = finished(self.loop)
        if left:
            self.fail(f"tasks are left: {left}")
        assert not self.failures, "\n".join(self.failures)


def _element(action: str, kind: str, payload: dict[str, Any]) -> str:
    name = f"{action[0].lower()}{action[1:]}{kind}"
    return f"<{name}>{_inside(payload)}</{name}>"


def _inside(payload: dict[str, Any]) -> str:
    text = ""
    for name, value in payload.items():
        for each in value if isinstance(value, list) else [value]:
            text += f"<{name}>{_inside(each) if isinstance(each, dict) else each}</{name}>"
    return text


def _frame(kind: str, message_id: str, result: str, word: str) -> str:
    match kind:
        case "result":
            return f'[3,"{message_id}",{result}]'
        case "error":
            return f'[4,"{message_id}","GenericError","{word}",{{}}]'
        case "unlike":
            return f'[3,"{message_id}",{{"nonsense":"{word}"}}]'
        case _:
            return f'[3,"{message_id}",["{word}"'


def _response(kind: str, task: Task, result: dict[str, Any], word: str) -> str:
    party = "Cp" if task.peer.side is CP else "Cs"
    inside = _element(task.asking.action, "Response", result)
    if kind == "error":
        inside = (
            "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>InternalError</s:Value>"
            f'</s:Subcode></s:Code><s:Reason><s:Text xml:lang="en">{word}</s:Text></s:Reason></s:Fault>'
        )
    elif kind == "unlike":
        inside = _element(task.asking.action, "Response", {"nonsense": word})
    elif kind == "broken":
        return f"<html>{word}"
    return (
        f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        f'xmlns="urn://Ocpp/{party}/2015/10/" xmlns:wsa="http://www.w3.org/2005/08/addressing"><s:Header>'
        f"<wsa:RelatesTo>{task.message_id}</wsa:RelatesTo></s:Header><s:Body>{inside}</s:Body></s:Envelope>"
    )
