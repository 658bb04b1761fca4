"""Every exchange under ``exchanges/`` once more, through the whole gateway and real sockets, between every
pairing of a charge point and a central system that speak SOAP or JSON, all four of plain bytes.

One gateway for each pairing carries all its exchanges at the same time, each as a charge point of its own.
Whoever speaks SOAP writes the SOAP files of an exchange and whoever speaks JSON its JSON files, on whichever
side they stand, and each is what the other expects:

- in the pairing that an exchange was written for, every byte is as its files say, but for the ids and
  addresses that the gateway gives: they are replaced by those of the files, and so is the identity;
- between two that speak the same, the payload arrives byte for byte as it was sent;
- in the opposite pairing, the payload says what the file says, which its sender may have spelled otherwise.

Where a party speaks OCPP 1.2 or 1.5, an exchange is played in the pairing it was written for, and between two
that speak that version. What came before an exchange is played first.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

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
    NOW,
    SOAP_MESSAGE_ID,
    Exchange,
    load_exchanges,
    load_older_exchanges,
    note_line,
)
from tests.fakes import dial, handshake
from tests.interop.raw import an_ear, as_text, envelope, post, talk
from tests.interop.running import Running, running
from tests.test_exchanges import expected_status
from wattbridge.ocpp.messages import Side
from wattbridge.relay.journal import Record

OF_16 = load_exchanges()
OLDER = load_older_exchanges()
# What a party speaks: "json", "soap" (of OCPP 1.6), "soap 1.5".
# The charge point speaks the first, its central system the second.
Pairing = tuple[str, str]
PAIRINGS_OF_16: tuple[Pairing, ...] = (
    ("soap", "json"), ("json", "soap"), ("soap", "soap"), ("json", "json"),
)  # fmt: skip
OLDER_SPEECHES = ("soap 1.5", "soap 1.2")
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
    "soap": '{{url: "http://127.0.0.1:{port}/ocpp", soap: {{ocpp: "{ocpp}", to: "{to}", connections: 100}}}}',
}
DATES = {"1.6": b"2015/10", "1.5": b"2012/06", "1.2": b"2010/08"}


# --- what is played -----------------------------------------------------------------------------------------


def transport_of(speech: str) -> str:
    return speech.partition(" ")[0]


def version_of(speech: str) -> str:
    return speech.partition(" ")[2] or "1.6"


def speech_of(exchange: Exchange, party: str) -> str:
    transport, version = exchange.transports[party], exchange.version(party)
    return transport if version == "1.6" else f"{transport} {version}"


def pairing_of(exchange: Exchange) -> Pairing:
    """The pairing that an exchange was written for."""
    return speech_of(exchange, "charge_point"), speech_of(exchange, "central_system")


PAIRINGS = (
    *PAIRINGS_OF_16,
    *sorted({pairing_of(exchange) for exchange in OLDER}),
    *((speech, speech) for speech in OLDER_SPEECHES),
)


@dataclass(frozen=True, slots=True)
class Play:
    """One exchange in one pairing: what its two parties write, and what they expect of each other."""

    exchange: Exchange
    pairing: Pairing

    @property
    def id(self) -> str:
        return f"{'-to-'.join(self.pairing)}-{self.exchange.id}"

    @property
    def asker(self) -> str:
        return self.pairing[self.exchange.asked_by == "central_system"]

    @property
    def asked(self) -> str:
        return self.pairing[self.exchange.asked == "central_system"]

    @property
    def as_written(self) -> bool:
        """Whether this is the pairing that the exchange was written for."""
        return pairing_of(self.exchange) == self.pairing

    def call(self, *, relayed: bool = False) -> bytes:
        """The call as its sender writes it, or as it is relayed."""
        return self._file(0, 1, of_asked=relayed)

    def reply(self, *, relayed: bool = False) -> bytes:
        """The reply as its sender writes it, or as it is relayed."""
        return self._file(3, 2, of_asked=not relayed)

    def _file(self, askers: int, askeds: int, *, of_asked: bool) -> bytes:
        """The message of one of the two: in the file of that party, or of who speaks like it here."""
        if not self.as_written:
            of_asked = speech_of(self.exchange, self.exchange.asked) == (
                self.asked if of_asked else self.asker
            )
        return self.exchange.messages[askeds if of_asked else askers] or b""

    @property
    def before(self) -> list[Play]:
        return [Play(earlier, self.pairing) for earlier in self.exchange.before]


def plays(pairing: Pairing) -> list[Play]:
    every = [Play(exchange, pairing) for exchange in OF_16 + OLDER]
    return [play for play in every if play.as_written or is_for_every_pairing(play.exchange, pairing)]


def is_for_every_pairing(exchange: Exchange, pairing: Pairing) -> bool:
    """Every operation with all it can say and with the least it must, and every refusal by the other party.

    The other cases are about one pairing: what a party gets wrong, and what cannot be said in one of the two.
    Those of an older version are played between two that speak it, too.
    """
    if exchange.older:
        version, _, party = exchange.older.partition("-")
        between_two = (f"soap {version}", f"soap {version}")
        return pairing == between_two and party == "charge_point" and exchange.case in ("full", "minimal")
    if pairing not in PAIRINGS_OF_16:
        return False
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
    began: int = 0  # how many records there were before


@dataclass
class Cast:
    """All plays of one pairing by the identities of their charge points, and what was carried.

    ``played`` is what each of them plays now: what came before its own, or that.
    """

    plays: dict[str, Play]
    played: dict[str, Play] = field(default_factory=dict)
    carried: dict[str, Carried] = field(default_factory=dict)

    def begin(self, identity: str, play: Play, gateway: Running) -> None:
        self.played[identity] = play
        self.carried[identity] = Carried(began=len(gateway.records))

    def answer(self, identity: str, request: bytes) -> bytes:
        """The HTTP response of whoever is asked by SOAP: the SOAP file of its reply."""
        self.carried[identity].relayed.append(as_text(request).partition("\r\n\r\n")[2])
        text = self.played[identity].reply().replace(IDENTITY.encode(), identity.encode())
        return http_response(text)

    def answer_frame(self, identity: str, frame: str) -> str:
        """The frame of whoever is asked by JSON: the JSON file of its reply, to this CALL."""
        self.carried[identity].relayed.append(frame)
        reply = self.played[identity].reply().decode()
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
    body = play.call().replace(IDENTITY.encode(), identity.encode())
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
        async for frame in connection:
            assert isinstance(frame, str)
            play = self.cast.played[identity]
            if play.exchange.asked_by == "charge_point":
                answer = self.cast.answer_frame(identity, frame)
                if answer:
                    await connection.send(answer)
            elif json.loads(frame)[0] == 2:
                await connection.send(json.dumps([3, json.loads(frame)[1], HEARTBEAT_RESULT]))
                await connection.send(play.call().decode())
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
    version: str
    _heard_from: dict[str, asyncio.Future[str]] = field(default_factory=dict)

    def answer(self, request: bytes) -> bytes:
        found = re.search(rb"chargeBoxIdentity>(X\d+)<", request)
        assert found is not None
        identity = found[1].decode()
        if self.cast.played[identity].exchange.asked_by == "charge_point":
            return self.cast.answer(identity, request)
        address = re.search(rb"<wsa:From><wsa:Address>http://wattbridge\.example(.*?)</wsa:Address>", request)
        assert address is not None
        self._heard_from[identity].set_result(address[1].decode())
        return http_response(of_version(HEARTBEAT_RESPONSE, self.version))

    async def ask(self, identity: str, gateway: Running) -> None:
        heard_from = self._heard_from[identity] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(PATIENCE):
            path = await heard_from
            await post_call(gateway, identity, self.cast.played[identity], path, self.cast.carried[identity])


def of_version(message: bytes, version: str) -> bytes:
    """A message of OCPP 1.6 in the namespace of another version."""
    return message.replace(DATES["1.6"], DATES[version])


async def play_soap(identity: str, cast: Cast, gateway: Running, central_system: CentralSystem) -> None:
    """Be a charge point that speaks SOAP; where it is called, ``Cast.answer`` answers."""
    mine = cast.plays[identity]
    heartbeat = of_version(envelope(identity), version_of(mine.pairing[0]))
    for play in (*mine.before, mine):
        cast.begin(identity, play, gateway)
        if play.exchange.asked_by == "charge_point":
            await post_call(gateway, identity, play, "/ocpp", cast.carried[identity])
            continue
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(central_system.ask(identity, gateway))
            await talk(gateway.host_and_port, post(heartbeat, target="/ocpp"))


async def play_json(identity: str, cast: Cast, gateway: Running, central_system: CentralSystem) -> None:
    """Be a charge point that speaks JSON."""
    mine = cast.plays[identity]
    socket = await dial(gateway.host_and_port[1], handshake(f"/ocpp/{identity}"))
    for play in (*mine.before, mine):
        cast.begin(identity, play, gateway)
        if play.exchange.asked_by == "charge_point":
            socket.send(play.call())
            cast.carried[identity].replied.append(await socket.text())
            continue
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(central_system.ask(identity, gateway))
            socket.send('[2,"0","Heartbeat",{}]')
            # The result of the Heartbeat and, unless the gateway answers that itself, the CALL, in any order.
            for _ in range(1 if play.exchange.answered_here else 2):
                frame = await socket.text()
                if frame[1] == "2":
                    socket.send(cast.answer_frame(identity, frame))
    socket.hang_up()


# --- all at once --------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_central_system(speech: str, cast: Cast) -> AsyncIterator[tuple[CentralSystem, int]]:
    """A central system of plain bytes, and its port."""
    if speech == "json":
        of_json = JsonCentralSystem(cast)
        subprotocols = [Subprotocol("ocpp1.6")]
        async with serve(of_json.serve, "127.0.0.1", 0, subprotocols=subprotocols) as server:
            yield of_json, next(iter(server.sockets)).getsockname()[1]
    else:
        of_soap = SoapCentralSystem(cast, version_of(speech))
        async with an_ear() as ear:
            ear.answer = of_soap.answer
            yield of_soap, int(ear.url.split(":")[2].partition("/")[0])


async def carry_all(pairing: Pairing) -> dict[str, Carried]:
    """Every exchange of a pairing at the same time; by its id."""
    cast = Cast({f"X{number:05}": play for number, play in enumerate(plays(pairing))})

    def answer(request: bytes) -> bytes:
        """To the call that came to the address of one SOAP charge point."""
        found = re.match(rb"POST /cp/(\w+) ", request)
        assert found is not None
        return cast.answer(found[1].decode(), request)

    play = {"soap": play_soap, "json": play_json}[transport_of(pairing[0])]
    async with a_central_system(pairing[1], cast) as (central_system, port), an_ear() as ear:
        ear.answer = answer
        chargers = "\n".join(
            f"  {identity}: {{callback_url: {ear.url}/{identity}, to: {CHARGE_POINT_URL}}}"
            for identity in cast.plays
        )
        upstream = UPSTREAMS[transport_of(pairing[1])].format(
            port=port, to=CENTRAL_SYSTEM_URL, ocpp=version_of(pairing[1])
        )
        async with running(CONFIGURATION.format(upstream=upstream, chargers=chargers)) as gateway:
            async with asyncio.TaskGroup() as tasks:
                for identity in cast.plays:
                    tasks.create_task(play(identity, cast, gateway, central_system))
            for number, record in enumerate(gateway.records):
                if is_the_exchange(record, number, cast):
                    cast.carried[record.identity].notes += [note_line(note) for note in record.notes]
    for identity, carried in cast.carried.items():
        carried.relayed = [as_in_file(text, identity) for text in carried.relayed]
        carried.replied = [as_in_file(text, identity) for text in carried.replied]
        carried.notes = [at_time_of_file(line) for line in carried.notes]
    return {cast.plays[identity].exchange.id: carried for identity, carried in cast.carried.items()}


def is_the_exchange(record: Record, number: int, cast: Cast) -> bool:
    """Not the Heartbeat before it, nor what came before; and not one whose identity was not read."""
    play = cast.plays.get(record.identity)
    if play is None or number < cast.carried[record.identity].began:
        return False
    return record.arrived_from is Side(play.exchange.asked_by)


def as_in_file(text: str, identity: str) -> str:
    """What ``raw.as_text`` shows, with the identity, ids and addresses of the files."""
    shown = text.replace(f"http://wattbridge.example/ocpp/cp/{identity}", GATEWAY_URL)
    shown = shown.replace("urn:uuid:...", SOAP_MESSAGE_ID).replace(identity, IDENTITY)
    return at_time_of_file(shown)


def at_time_of_file(text: str) -> str:
    """The time of the gateway's own clock is that of the files."""

    def of_file(found: re.Match[str]) -> str:
        age = datetime.now(UTC) - datetime.fromisoformat(found[0])
        return NOW if abs(age) < timedelta(hours=1) else found[0]

    return _MOMENT_IN_UTC.sub(of_file, text)


_MOMENT_IN_UTC = re.compile(r"\b20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ")


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


def payload(speech: str, text: str) -> str:
    return payload_of(text) if speech == "json" else body_of(text)


def meaning(speech: str, text: str) -> object:
    """What a message says: its payload without the ways to spell it, or code, subcode and reason of an error,
    each of its own transport."""
    if speech == "json":
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


def refusal(speech: str, text: str) -> tuple[str, ...]:
    if speech == "json":
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
    relayed, replied = play.call(relayed=True).decode(), play.reply(relayed=True).decode()
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
    if play.as_written and transport_of(asker) == "soap":
        assert found.status == expected_status(play.reply(relayed=True))


def with_id_of_file(frame: str) -> str:
    return with_message_id(frame, MESSAGE_ID)


def test_every_operation_goes_through_every_pairing() -> None:
    """The 29 of OCPP 1.6, 4 and 5, each with its full and its minimal case."""
    for pairing in PAIRINGS_OF_16:
        cases = [play.exchange for play in plays(pairing) if play.exchange.case in ("full", "minimal")]
        assert len(cases) == 2 * len({exchange.folder for exchange in cases}) == 2 * 29


@pytest.mark.parametrize(("speech", "operations"), [("soap 1.5", 25), ("soap 1.2", 18)])
def test_every_operation_of_an_older_version_goes_through_its_pairings(speech: str, operations: int) -> None:
    """From it to JSON, from JSON to it, and between two that speak it; each in both directions."""
    for pairing in ((speech, "json"), ("json", speech), (speech, speech)):
        cases = [play.exchange for play in plays(pairing) if play.exchange.case in ("full", "minimal")]
        assert len(cases) == 2 * len({exchange.folder for exchange in cases}) == 2 * operations
