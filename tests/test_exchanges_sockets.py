"""Every exchange under ``exchanges/`` once more, through the whole gateway and real sockets, between every
pairing of a charge point and a central system that speak SOAP or JSON, all four of plain bytes.

One gateway for each pairing carries all its exchanges at the same time, each as a charge point of its own.
Whoever speaks SOAP writes the SOAP files of an exchange and whoever speaks JSON its JSON files, on whichever
side they stand, and each is what the other expects:

- in the pairing that an exchange was written for, every byte is as its files say, but for the ids and
  addresses that the gateway gives: they are replaced by those of the files, and so is the identity;
- between two that speak the same, the payload arrives byte for byte as it was sent;
- in the opposite pairing, the payload says what the file says, which its sender may have spelled otherwise.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

import pytest
import uvloop
from lxml import etree
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.exchange_files import (
    CENTRAL_SYSTEM_URL,
    CHARGE_POINT_URL,
    GATEWAY_URL,
    IDENTITY,
    MESSAGE_ID,
    SOAP_MESSAGE_ID,
    Exchange,
    load_exchanges,
    note_line,
)
from tests.fakes import dial, handshake
from tests.interop.raw import an_ear, as_text, envelope, post, talk
from tests.interop.running import Running, running
from tests.test_exchanges import expected_status
from wattbridge.ocpp.messages import Side
from wattbridge.relay.journal import Record

Transport = Literal["soap", "json"]
# The charge point speaks the first, its central system the second.
Pairing = tuple[Transport, Transport]
PAIRINGS: tuple[Pairing, ...] = (("soap", "json"), ("json", "soap"), ("soap", "soap"), ("json", "json"))
HEARTBEAT_RESULT = {"currentTime": "2024-05-01T10:00:00Z"}
HEARTBEAT_RESPONSE = (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
    b'<heartbeatResponse xmlns="urn://Ocpp/Cs/2015/10/"><currentTime>2024-05-01T10:00:00Z</currentTime>'
    b"</heartbeatResponse></s:Body></s:Envelope>"
)
PATIENCE = 10.0  # seconds until a test gives up
SOAP_11 = b"http://schemas.xmlsoap.org/soap/envelope/"

CONFIGURATION = """
version: 1
gateway: {{public_url: "http://wattbridge.example", drain: 2s}}
listeners:
  all:
    bind: "127.0.0.1:0"
    paths: [/ocpp, "/ocpp/{{charger}}"]
    limits: {{connections_per_source: 1000, handshakes: 1000, handshake_rate: 10000/s}}
upstreams:
  main: {upstream}
chargers:
{chargers}
metrics: {{bind: "127.0.0.1:0"}}
"""
UPSTREAMS = {
    "json": '{{url: "ws://127.0.0.1:{port}/ocpp", connect: {{rate: 10000/s}}}}',
    "soap": '{{url: "http://127.0.0.1:{port}/ocpp", soap: {{to: "{to}", connections: 100}}}}',
}


# --- what is played -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Play:
    """One exchange in one pairing: what its two parties write, and what they expect of each other."""

    exchange: Exchange
    pairing: Pairing

    @property
    def id(self) -> str:
        return f"{'-to-'.join(self.pairing)}-{self.exchange.id}"

    @property
    def asker(self) -> Transport:
        return self.pairing[self.exchange.asked_by == "central_system"]

    @property
    def asked(self) -> Transport:
        return self.pairing[self.exchange.asked == "central_system"]

    @property
    def as_written(self) -> bool:
        """Whether this is the pairing that the exchange was written for."""
        transports = self.exchange.transports
        return (transports["charge_point"], transports["central_system"]) == self.pairing

    def call(self, transport: Transport) -> bytes:
        return self._file(transport, 0, 1)

    def reply(self, transport: Transport) -> bytes:
        return self._file(transport, 3, 2)

    def _file(self, transport: Transport, of_asker: int, of_asked: int) -> bytes:
        native = self.exchange.transports[self.exchange.asked_by] == transport
        return self.exchange.messages[of_asker if native else of_asked] or b""


def plays(pairing: Pairing) -> Iterator[Play]:
    for exchange in load_exchanges():
        play = Play(exchange, pairing)
        if play.as_written or is_for_every_pairing(exchange, pairing):
            yield play


def is_for_every_pairing(exchange: Exchange, pairing: Pairing) -> bool:
    """Every operation with all it can say and with the least it must, and every refusal by the other party.

    The other cases are about one pairing: what a party gets wrong, and what cannot be said in one of the two.
    """
    if exchange.case.startswith(("call-error", "fault")):
        # SOAP 1.1 here and 1.2 there do not speak the same.
        return pairing != ("soap", "soap") or "soap-1.1" not in exchange.case
    return exchange.case in ("full", "minimal")


# --- its parties, of plain bytes ----------------------------------------------------------------------------


@dataclass
class Carried:
    """What came out of the gateway on both sides, and what it noted."""

    relayed: list[str] = field(default_factory=list)
    replied: list[str] = field(default_factory=list)
    status: int | None = None  # of the HTTP response; None when a frame was the reply
    notes: list[str] = field(default_factory=list)


@dataclass
class Cast:
    """All plays of one pairing by the identities of their charge points, and what was carried."""

    plays: dict[str, Play]
    carried: dict[str, Carried]

    def answer(self, identity: str, request: bytes) -> bytes:
        """The HTTP response of whoever is asked by SOAP: the SOAP file of its reply."""
        self.carried[identity].relayed.append(as_text(request).partition("\r\n\r\n")[2])
        text = self.plays[identity].reply("soap").replace(IDENTITY.encode(), identity.encode())
        return http_response(text)

    def answer_frame(self, identity: str, frame: str) -> str:
        """The frame of whoever is asked by JSON: the JSON file of its reply, to this CALL."""
        self.carried[identity].relayed.append(frame)
        reply = self.plays[identity].reply("json").decode()
        return with_message_id(reply, json.loads(frame)[1]) if reply else ""


def http_response(text: bytes) -> bytes:
    kind = b"text/html" if text.startswith(b"<html") else content_type(text).encode() + b"; charset=utf-8"
    status = b"500 Internal Server Error" if b"Fault>" in text else b"200 OK"
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(text))
    return head + text


def content_type(text: bytes) -> str:
    return "text/xml" if SOAP_11 in text else "application/soap+xml"


def with_message_id(frame: str, message_id: str) -> str:
    return frame.replace(json.dumps(json.loads(frame)[1]), json.dumps(message_id), 1)


async def post_call(gateway: Running, identity: str, play: Play, path: str, carried: Carried) -> None:
    """Ask by SOAP: post the SOAP file of the call, and note the response."""
    body = play.call("soap").replace(IDENTITY.encode(), identity.encode())
    kind = content_type(body)
    sent = post(body, f"Content-Type: {kind}", f"Content-Length: {len(body)}", target=path)
    head, _, replied = (await talk(gateway.host_and_port, sent)).partition("\r\n\r\n")
    carried.status = int(head.split()[1])
    assert f"Content-Type: {kind}; charset=utf-8" in head.split("\r\n")
    carried.replied.append(replied)


class CentralSystem(Protocol):
    async def ask(self, identity: str, gateway: Running) -> None:
        """Ask a charge point as soon as it has been heard, and note the reply."""


@dataclass
class JsonCentralSystem:
    """Answers the CALL of a charge point; one that it is to ask it answers a Heartbeat."""

    cast: Cast
    _answered: dict[str, asyncio.Future[str]] = field(default_factory=dict)

    async def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        identity = connection.request.path.rpartition("/")[2]
        play = self.cast.plays[identity]
        async for frame in connection:
            assert isinstance(frame, str)
            if play.exchange.asked_by == "charge_point":
                answer = self.cast.answer_frame(identity, frame)
                if answer:
                    await connection.send(answer)
            elif json.loads(frame)[0] == 2:
                await connection.send(json.dumps([3, json.loads(frame)[1], HEARTBEAT_RESULT]))
                await connection.send(play.call("json").decode())
            else:
                self._answered[identity].set_result(frame)

    async def ask(self, identity: str, gateway: Running) -> None:
        answered = self._answered[identity] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(PATIENCE):
            self.cast.carried[identity].replied.append(await answered)


@dataclass
class SoapCentralSystem:
    """Answers the call of a charge point; one that it is to ask is called where its Heartbeat says."""

    cast: Cast
    _heard_from: dict[str, asyncio.Future[str]] = field(default_factory=dict)

    def answer(self, request: bytes) -> bytes:
        found = re.search(rb"chargeBoxIdentity>(X\d+)<", request)
        assert found is not None
        identity = found[1].decode()
        if self.cast.plays[identity].exchange.asked_by == "charge_point":
            return self.cast.answer(identity, request)
        address = re.search(rb"<wsa:From><wsa:Address>http://wattbridge\.example(.*?)</wsa:Address>", request)
        assert address is not None
        self._heard_from[identity].set_result(address[1].decode())
        return http_response(HEARTBEAT_RESPONSE)

    async def ask(self, identity: str, gateway: Running) -> None:
        heard_from = self._heard_from[identity] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(PATIENCE):
            path = await heard_from
            await post_call(gateway, identity, self.cast.plays[identity], path, self.cast.carried[identity])


async def play_soap(identity: str, cast: Cast, gateway: Running, central_system: CentralSystem) -> None:
    """Be a charge point that speaks SOAP; where it is called, ``Cast.answer`` answers."""
    play = cast.plays[identity]
    if play.exchange.asked_by == "charge_point":
        await post_call(gateway, identity, play, "/ocpp", cast.carried[identity])
        return
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(central_system.ask(identity, gateway))
        await talk(gateway.host_and_port, post(envelope(identity), target="/ocpp"))


async def play_json(identity: str, cast: Cast, gateway: Running, central_system: CentralSystem) -> None:
    """Be a charge point that speaks JSON."""
    play = cast.plays[identity]
    socket = await dial(gateway.host_and_port[1], handshake(f"/ocpp/{identity}"))
    if play.exchange.asked_by == "charge_point":
        socket.send(play.call("json"))
        cast.carried[identity].replied.append(await socket.text())
    else:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(central_system.ask(identity, gateway))
            socket.send('[2,"0","Heartbeat",{}]')
            # The result of the Heartbeat and the CALL, in any order.
            [call] = [frame for frame in (await socket.text(), await socket.text()) if frame[1] == "2"]
            socket.send(cast.answer_frame(identity, call))
    socket.hang_up()


# --- all at once --------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_central_system(transport: Transport, cast: Cast) -> AsyncIterator[tuple[CentralSystem, int]]:
    """A central system of plain bytes, and its port."""
    if transport == "json":
        of_json = JsonCentralSystem(cast)
        subprotocols = [Subprotocol("ocpp1.6")]
        async with serve(of_json.serve, "127.0.0.1", 0, subprotocols=subprotocols) as server:
            yield of_json, next(iter(server.sockets)).getsockname()[1]
    else:
        of_soap = SoapCentralSystem(cast)
        async with an_ear() as ear:
            ear.answer = of_soap.answer
            yield of_soap, int(ear.url.split(":")[2].partition("/")[0])


async def carry_all(pairing: Pairing) -> dict[str, Carried]:
    """Every exchange of a pairing at the same time; by its id."""
    cast = Cast({f"X{number:05}": play for number, play in enumerate(plays(pairing))}, {})
    cast.carried = {identity: Carried() for identity in cast.plays}

    def answer(request: bytes) -> bytes:
        """To the call that came to the address of one SOAP charge point."""
        found = re.match(rb"POST /cp/(\w+) ", request)
        assert found is not None
        return cast.answer(found[1].decode(), request)

    play = {"soap": play_soap, "json": play_json}[pairing[0]]
    async with a_central_system(pairing[1], cast) as (central_system, port), an_ear() as ear:
        ear.answer = answer
        chargers = "\n".join(
            f"  {identity}: {{callback_url: {ear.url}/{identity}, to: {CHARGE_POINT_URL}}}"
            for identity in cast.plays
        )
        upstream = UPSTREAMS[pairing[1]].format(port=port, to=CENTRAL_SYSTEM_URL)
        async with running(CONFIGURATION.format(upstream=upstream, chargers=chargers)) as gateway:
            async with asyncio.TaskGroup() as tasks:
                for identity in cast.plays:
                    tasks.create_task(play(identity, cast, gateway, central_system))
            for record in gateway.records:
                if is_the_exchange(record, cast):
                    cast.carried[record.identity].notes += [note_line(note) for note in record.notes]
    for identity, carried in cast.carried.items():
        carried.relayed = [as_in_file(text, identity) for text in carried.relayed]
        carried.replied = [as_in_file(text, identity) for text in carried.replied]
    return {cast.plays[identity].exchange.id: carried for identity, carried in cast.carried.items()}


def is_the_exchange(record: Record, cast: Cast) -> bool:
    """Not the Heartbeat before it; and not one whose identity was not read."""
    play = cast.plays.get(record.identity)
    return play is not None and record.arrived_from is Side(play.exchange.asked_by)


def as_in_file(text: str, identity: str) -> str:
    """What ``raw.as_text`` shows, with the identity, ids and addresses of the files."""
    shown = text.replace(f"http://wattbridge.example/ocpp/cp/{identity}", GATEWAY_URL)
    return shown.replace("urn:uuid:...", SOAP_MESSAGE_ID).replace(identity, IDENTITY)


@pytest.fixture(scope="module")
def carried() -> dict[Pairing, dict[str, Carried]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the gateway is run
        return {pairing: runner.run(carry_all(pairing)) for pairing in PAIRINGS}


# --- what is compared ---------------------------------------------------------------------------------------


def body_of(envelope: str) -> str:
    """The Body of a SOAP message, as it is."""
    found = re.search(r"<([\w.-]+:)?Body\b.*</\1?Body\s*>", envelope, re.DOTALL)
    assert found is not None, envelope
    return found[0]


HEAD = re.compile(r'\s*\[\s*[234]\s*,\s*"(?:[^"\\]|\\.)*"\s*,(?:\s*"\w+"\s*,(?=\s*\{))?')


def payload_of(frame: str) -> str:
    """What follows the head of a frame, up to its closing bracket, as it is."""
    head = HEAD.match(frame)
    assert head is not None, frame
    return frame[head.end() :].strip().removesuffix("]").strip()


def payload(transport: Transport, text: str) -> str:
    return body_of(text) if transport == "soap" else payload_of(text)


def meaning(transport: Transport, text: str) -> object:
    """What a message says: its payload without the ways to spell it, or code, subcode and reason of an error,
    each of its own transport."""
    if transport == "json":
        frame = json.loads(text, parse_float=Decimal)
        return meant({"code": frame[2], "description": frame[3]} if frame[0] == 4 else frame[-1])
    [body] = etree.fromstring(text.encode()).iterchildren("{*}Body")
    [content] = body
    return meant(content)


# What the gateway says of a refusal where the file shows how a peer of the field says the same: code and
# description to who speaks JSON; code, subcode and reason to who speaks SOAP.
IN_WORDS_OF_THE_GATEWAY: dict[str, tuple[str, ...]] = {
    "Authorize/call-error-of-the-field": ("FormationViolation", ""),
    "MeterValues/call-error-occurrence": ("OccurenceConstraintViolation", "transactionId is missing"),
    "StartTransaction/call-error-unknown-code": ("GenericError", "OutOfCoffee: come back later"),
    "GetConfiguration/fault-internal": (
        "soap:Receiver", "ocpp:InternalError", 'InternalError: the settings <flash> is "busy" for now',
    ),
    "GetConfiguration/fault-property-constraint": (
        "soap:Sender", "ocpp:ProtocolError", "PropertyConstraintViolation: key is longer than 20 characters",
    ),
    "GetConfiguration/fault-protocol-error": (
        "soap:Sender", "ocpp:ProtocolError", "ProtocolError: Schlüssel: key is missing",
    ),
    "RemoteStartTransaction/fault-action-not-supported": (
        "soap:Receiver", "ocpp:NotSupported", "NotImplemented: /RemoteStartTransaction?",
    ),
    "RemoteStartTransaction/fault-identity-mismatch": (
        "soap:Sender", "ocpp:SecurityError", "SecurityError: IdentityMismatch: this is CP3212",
    ),
    "RemoteStartTransaction/fault-in-soap-1.1": (
        "soap:Receiver", "ocpp:InternalError", "InternalError: Relais & Schütz <K1> klemmt",
    ),
    "RemoteStartTransaction/fault-not-supported": (
        "soap:Receiver", "ocpp:NotSupported", "NotSupported: no remote start",
    ),
    "RemoteStartTransaction/fault-security-error": (
        "soap:Sender", "ocpp:SecurityError", "SecurityError: not you",
    ),
    "RemoteStartTransaction/fault-without-subcode": (
        "soap:Receiver", "ocpp:InternalError", "GenericError: no",
    ),
}  # fmt: skip


def refusal(transport: Transport, text: str) -> tuple[str, ...]:
    if transport == "json":
        frame = json.loads(text)
        return frame[2], frame[3]
    fault = etree.fromstring(text.encode()).find(".//{*}Fault")
    assert fault is not None
    return tuple(str(said) for said in fault.itertext() if str(said).strip())


MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def meant(value: Any) -> Any:
    """Moments in UTC to the second, elements by their names and content, xs:boolean as a word."""
    if isinstance(value, dict):
        return {name: meant(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [meant(inner) for inner in value]
    if isinstance(value, etree._Element):
        inside = [meant(child) for child in value]
        text = value.text or ""
        if str(value.tag).endswith("}readonly"):
            text = {"0": "false", "1": "true"}.get(text, text)
        return [value.tag, inside or meant(text)]
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return datetime.fromisoformat(value).astimezone(UTC).replace(microsecond=0)
    return value


def with_number_of_file(text: str) -> str:
    """A number that OCPP-S cannot say is another one for the charge point, by chance."""
    return re.sub(r"<ocpp:transactionId>2\d{9}</ocpp:transactionId>", BEYOND_INT32, text)


BEYOND_INT32 = "<ocpp:transactionId>4294967297</ocpp:transactionId>"


@pytest.mark.parametrize(
    "play", [play for pairing in PAIRINGS for play in plays(pairing)], ids=lambda play: play.id
)
def test_exchange_goes_over_sockets_as_its_files_say(
    play: Play, carried: dict[Pairing, dict[str, Carried]]
) -> None:
    found = carried[play.pairing][play.exchange.id]
    asker, asked = play.asker, play.asked
    relayed, replied = play.call(asked).decode(), play.reply(asker).decode()
    if play.as_written:
        as_in_the_file = with_id_of_file if asked == "json" else str
        assert list(map(as_in_the_file, found.relayed)) == ([relayed] if relayed else [])
        assert list(map(with_number_of_file, found.replied)) == [replied]
        assert found.notes == list(play.exchange.notes)
    elif asker != asked or "<!" in relayed + replied:  # comments may hide a second Body: it is written anew
        assert [meaning(asked, text) for text in found.relayed] == [meaning(asked, relayed)]
        if asker != asked and play.exchange.id in IN_WORDS_OF_THE_GATEWAY:
            [said] = found.replied
            assert refusal(asker, said) == IN_WORDS_OF_THE_GATEWAY[play.exchange.id]
        else:
            assert [meaning(asker, text) for text in found.replied] == [meaning(asker, replied)]
    else:
        assert [payload(asked, text) for text in found.relayed] == [payload(asked, relayed)]
        assert [payload(asker, text) for text in found.replied] == [payload(asker, replied)]
        assert found.notes == []
    if play.as_written and asker == "soap":
        assert found.status == expected_status(play.reply("soap"))


def with_id_of_file(frame: str) -> str:
    return with_message_id(frame, MESSAGE_ID)


def test_every_operation_goes_through_every_pairing() -> None:
    """The 29 of OCPP 1.6, 4 and 5, each with its full and its minimal case."""
    for pairing in PAIRINGS:
        cases = [play.exchange for play in plays(pairing) if play.exchange.case in ("full", "minimal")]
        assert len(cases) == 2 * len({exchange.folder for exchange in cases}) == 2 * 29
