"""SOAP central systems on real sockets: what is posted to them, and what becomes of their answers.

The central systems are plain bytes. What they ask for is in ``test_charge_point_service.py``.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from tests.fakes import PATIENCE, Clock, FakeLink, Listened, http_response, listen
from wattbridge.links.central_system_soap import (
    CentralSystemSoap,
    SoapCentralSystem,
    SoapLimits,
)
from wattbridge.links.http_client import KeptClient
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import (
    Breach,
    Call,
    CallError,
    CallResult,
    Change,
    Original,
    Passage,
    Reply,
    Side,
)
from wattbridge.ocpp.soap import SOAP_11, SOAP_12, form_of
from wattbridge.relay.duty import Duty, State
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.session import Answer, Session, still_deliverable_after

HEARTBEAT = Call("Heartbeat", {})
START = Call(
    "StartTransaction",
    {"connectorId": 1, "idTag": "TAG", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 0},
)
CURRENT_TIME = "<cs:currentTime>2024-05-01T10:00:00Z</cs:currentTime>"


def soap_answer(element: str, inside: str = "", *, soap: str = SOAP_12, header: str = "") -> str:
    return (
        f'<s:Envelope xmlns:s="{soap}" xmlns:cs="urn://Ocpp/Cs/2015/10/" '
        f'xmlns:wsa="http://www.w3.org/2005/08/addressing">{header}'
        f"<s:Body><cs:{element}>{inside}</cs:{element}></s:Body></s:Envelope>"
    )


HEARTBEAT_ANSWER = http_response(soap_answer("heartbeatResponse", CURRENT_TIME))
TIME = CallResult({"currentTime": "2024-05-01T10:00:00Z"})


@dataclass
class CannedCentralSystem:
    """Takes requests on connections that it keeps, and answers each with what ``answer`` makes of it.

    An empty answer closes the connection without a byte. While ``may_answer`` is not set it is silent.
    """

    answer: Callable[[bytes], bytes]
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
                self.requests.append(head + await reader.readexactly(int(length or 0)))
                self._news.set()
                await self.may_answer.wait()
                answer = self.answer(self.requests[-1])
                if not answer:
                    break
                writer.write(answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.requests) < times:
                self._news.clear()
                await self._news.wait()

    @property
    def bodies(self) -> list[bytes]:
        return [request.partition(b"\r\n\r\n")[2] for request in self.requests]


@asynccontextmanager
async def a_central_system(answer: Callable[[bytes], bytes] | bytes) -> AsyncIterator[CannedCentralSystem]:
    canned = CannedCentralSystem(answer if callable(answer) else lambda request: answer)
    canned.may_answer.set()
    server = await asyncio.start_server(canned.handle, "127.0.0.1", 0)
    canned.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/steve/services/CentralSystemService"
    try:
        yield canned
    finally:
        canned.may_answer.set()
        server.close()
        await server.wait_closed()


@dataclass
class World:
    link: CentralSystemSoap
    session: Session
    heard: Listened
    states: list[str]
    running: asyncio.Task[None]

    def since(self) -> float | None:
        return self.link.unreachable_since

    async def reply(self, call: Call = HEARTBEAT) -> Reply:
        async with asyncio.timeout(PATIENCE):
            return (await self.link.call(call)).reply

    async def gone(self, call: Call = HEARTBEAT) -> tuple[str, str, bool]:
        """Why it cannot be asked, and whether something was sent."""
        with pytest.raises(Unreachable) as unreachable:
            await self.reply(call)
        return unreachable.value.reason, unreachable.value.description, unreachable.value.asked is not None


@asynccontextmanager
async def running(
    url: str,
    *,
    identity: str = "CP1",
    client: KeptClient | None = None,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] | None = None,
    reachable: Callable[[], Awaitable[bool]] | None = None,
    duty: Duty | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    journal, states, numbers = Journal(), list[str](), count(1)
    session, client = Session(identity, journal), client or KeptClient(timeout=PATIENCE)
    usual = SoapCentralSystem(url, "http://gw.example/ocpp/cp/{charger}", name="legacy")
    more: dict[str, Any] = ({"clock": clock} if clock else {}) | ({"sleep": sleep} if sleep else {})
    link = CentralSystemSoap(
        session,
        dialect(),
        journal,
        replace(usual, **options),
        client,
        duty=duty,
        reachable=reachable,
        on_state=states.append,
        message_id=lambda: f"urn:uuid:{next(numbers)}",
        **more,
    )
    session.attach(Side.CENTRAL_SYSTEM, link)
    async with asyncio.timeout(2 * PATIENCE), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(link.run())
        yield World(link, session, listen(journal), states, task)
        await link.close("the test is over")
    await client.close()


# --- what is posted ---


async def test_a_call_is_posted_and_its_answer_read() -> None:
    """OCPP-S 1.6, 3: the canonical exchange."""
    async with a_central_system(HEARTBEAT_ANSWER) as central_system, running(central_system.url) as world:
        answer = await world.link.call(HEARTBEAT)
        authority, _, path = central_system.url.removeprefix("http://").partition("/")
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
            'xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:ocpp="urn://Ocpp/Cs/2015/10/">'
            "<soap:Header><ocpp:chargeBoxIdentity>CP1</ocpp:chargeBoxIdentity>"
            '<wsa:Action soap:mustUnderstand="true">/Heartbeat</wsa:Action>'
            "<wsa:MessageID>urn:uuid:1</wsa:MessageID>"
            "<wsa:From><wsa:Address>http://gw.example/ocpp/cp/CP1</wsa:Address></wsa:From>"
            "<wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address>"
            f'</wsa:ReplyTo><wsa:To soap:mustUnderstand="true">{central_system.url}</wsa:To></soap:Header>'
            "<soap:Body><ocpp:heartbeatRequest/></soap:Body></soap:Envelope>"
        )
        head = (
            f"POST /{path} HTTP/1.1\r\nHost: {authority}\r\n"
            'Content-Type: application/soap+xml; charset=utf-8; action="/Heartbeat"\r\n'
            f"Content-Length: {len(body)}\r\nAccept-Encoding: gzip, deflate\r\nUser-Agent: wattbridge\r\n"
            "Connection: keep-alive\r\n\r\n"
        )
        assert central_system.requests == [(head + body).encode()]
        answered = soap_answer("heartbeatResponse", CURRENT_TIME).encode()
        assert answer == Answer(TIME, Passage("soap", body.encode()), Passage("soap", answered))
        assert (world.link.transport, world.link.form) == ("soap", form_of(SOAP_12))


async def test_a_call_is_posted_in_the_words_of_old_peers() -> None:
    """Java-OCA-OCPP speaks WS-Addressing 2004/08; a SOAP 1.1 peer reads the action from its HTTP header."""
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(
            central_system.url,
            version="1.1",
            addressing="2004/08",
            from_header=False,
            must_understand=False,
            to="http://cs.example/{charger}",
        ) as world,
    ):
        assert await world.reply() == TIME
        [(head, _, body)] = [request.partition(b"\r\n\r\n") for request in central_system.requests]
        assert b"\r\nContent-Type: text/xml; charset=utf-8\r\n" in head
        assert head.endswith(b'\r\nSOAPAction: "/Heartbeat"')
        assert body.decode().partition("\n")[2] == (
            '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:ocpp="urn://Ocpp/Cs/2015/10/">'
            "<soap:Header><ocpp:chargeBoxIdentity>CP1</ocpp:chargeBoxIdentity>"
            "<wsa:Action>/Heartbeat</wsa:Action><wsa:MessageID>urn:uuid:1</wsa:MessageID>"
            "<wsa:ReplyTo><wsa:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
            "</wsa:Address></wsa:ReplyTo><wsa:To>http://cs.example/CP1</wsa:To></soap:Header>"
            "<soap:Body><ocpp:heartbeatRequest/></soap:Body></soap:Envelope>"
        )
        assert world.link.form == form_of(SOAP_11)


async def test_every_charge_point_has_an_address_of_its_own() -> None:
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url + "/{charger}?tenant=7", identity="RDAM 1/2") as world,
    ):
        assert await world.reply() == TIME
        [body] = central_system.bodies
        assert b"/CentralSystemService/RDAM%201%2F2?tenant=7 HTTP/1.1\r\n" in central_system.requests[0]
        assert b"<ocpp:chargeBoxIdentity>RDAM 1/2</ocpp:chargeBoxIdentity>" in body
        assert b"<wsa:Address>http://gw.example/ocpp/cp/RDAM%201%2F2</wsa:Address>" in body
        assert f">{central_system.url}/RDAM%201%2F2?tenant=7</wsa:To>".encode() in body


async def test_a_charge_point_is_called_as_its_central_system_calls_it() -> None:
    session = Session("CP1", Journal())
    session.known_as = "fleet-CP1"
    central_system = SoapCentralSystem("http://cs.example/", "http://gw.example/cp/{charger}")
    link = CentralSystemSoap(session, dialect(), Journal(), central_system, KeptClient())
    assert link.form == form_of(SOAP_12)
    assert central_system.addressing_of(session.known_as).identity == "fleet-CP1"
    assert central_system.addressing_of(session.known_as).from_address == "http://gw.example/cp/fleet-CP1"


def test_what_is_no_url_is_refused_when_the_link_is_made() -> None:
    with pytest.raises(ValueError, match="neither http nor https"):
        CentralSystemSoap(
            Session("CP1", Journal()),
            dialect(),
            Journal(),
            SoapCentralSystem("ws://cs.example/", "http://gw.example/cp/{charger}"),
            KeptClient(),
        )


async def test_a_credential_goes_along() -> None:
    """HTTP Basic; the password are bytes."""
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url, username="{charger}", password=b"\xab\xcd") as world,
    ):
        assert await world.reply() == TIME
        assert b"\r\nAuthorization: Basic Q1AxOqvN\r\n\r\n" in central_system.requests[0]


async def test_a_user_name_with_a_colon_is_not_sent() -> None:
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url, identity="00:80", password=b"secret") as world,
    ):
        problem = "the user name '00:80' has a colon, which Basic authentication cannot carry"
        assert await world.gone() == ("refused", f"central system legacy: {problem}", False)
        assert central_system.requests == []


async def test_what_is_sent_is_compressed_when_that_is_wanted() -> None:
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url, compression=True) as world,
    ):
        answer = await world.link.call(HEARTBEAT)
        assert b"\r\nContent-Encoding: gzip\r\n\r\n" in central_system.requests[0]
        assert answer.asked == Passage("soap", gzip.decompress(central_system.bodies[0]))


async def test_what_soap_cannot_say_is_not_sent() -> None:
    async with a_central_system(HEARTBEAT_ANSWER) as central_system, running(central_system.url) as world:
        with pytest.raises(Violation, match="is not an action of OCPP"):
            await world.reply(Call("SecurityEventNotification", {}))
        assert central_system.requests == []


# --- as it is ---

ORIGINAL = Original(
    form_of(SOAP_12),
    b'<S:Body><o:heartbeatRequest xmlns:o="urn://Ocpp/Cs/2015/10/" vendor="yes"/></S:Body></S:Envelope>',
    f'<S:Envelope xmlns:S="{SOAP_12}">'.encode(),
)


async def test_a_call_of_the_same_form_passes_as_it_is_and_its_reply_too() -> None:
    answered = soap_answer("heartbeatResponse", CURRENT_TIME + "<cs:vendor>1</cs:vendor>")
    async with (
        a_central_system(http_response(answered)) as central_system,
        running(central_system.url) as world,
    ):
        world.session.check = "report"
        answer = await world.link.call(Call("Heartbeat", {}, ORIGINAL))
        [body] = central_system.bodies
        assert body.startswith(ORIGINAL.opening + b'<soap:Header xmlns:soap="http://www.w3.org/2003/05/soap-')
        assert body.endswith(b"</soap:Header>" + ORIGINAL.text)
        assert answer.reply.original is not None
        assert answer.reply.original.text.decode() == answered[answered.index("<s:Body>") :]
        assert answer.answered is not None
        assert [type(note) for note in answer.answered.notes] == [Breach]


async def test_a_reply_that_breaks_the_schema_is_refused_where_that_is_wanted() -> None:
    answered = soap_answer("heartbeatResponse", CURRENT_TIME + "<cs:vendor>1</cs:vendor>")
    async with (
        a_central_system(http_response(answered)) as central_system,
        running(central_system.url) as world,
    ):
        world.session.check = "refuse"
        reply = await world.reply(Call("Heartbeat", {}, ORIGINAL))
        assert isinstance(reply, CallError)
        assert (reply.code, reply.reason, reply.original) == ("InternalError", "schema", None)


async def test_a_fault_passes_as_it_is_with_its_status() -> None:
    fault = (
        f'<s:Envelope xmlns:s="{SOAP_12}"><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code>'
        "<s:Reason><s:Text>no</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>"
    )
    answer = http_response(fault, "400 Bad Request")
    async with a_central_system(answer) as central_system, running(central_system.url) as world:
        reply = await world.reply(Call("Heartbeat", {}, ORIGINAL))
        assert reply.original is not None
        assert (reply.original.status, reply.original.text.decode()) == (
            400,
            fault[fault.index("<s:Body>") :],
        )


async def test_a_call_of_another_form_is_written_anew() -> None:
    other = replace(ORIGINAL, form=form_of(SOAP_11))
    async with a_central_system(HEARTBEAT_ANSWER) as central_system, running(central_system.url) as world:
        reply = await world.reply(Call("Heartbeat", {}, other))
        [body] = central_system.bodies
        assert body.endswith(b"<soap:Body><ocpp:heartbeatRequest/></soap:Body></soap:Envelope>")
        assert reply.original is None


# --- one at a time ---


async def test_calls_wait_for_the_one_before_them() -> None:
    """One CALL at a time in each direction."""
    async with a_central_system(HEARTBEAT_ANSWER) as central_system, running(central_system.url) as world:
        central_system.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(world.reply()) for _ in range(3)]
            await central_system.until_asked(1)
            await asyncio.sleep(0.01)  # nothing tells that a call waits
            assert len(central_system.requests) == 1
            central_system.may_answer.set()
        assert [call.result() for call in calls] == [TIME] * 3
        assert (len(central_system.requests), central_system.connections) == (3, 1)


async def test_only_so_many_calls_wait_and_only_so_long() -> None:
    limits = SoapLimits(waiting_timeout=0.02, max_waiting=1)
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url, limits=limits) as world,
    ):
        central_system.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(world.reply())
            await central_system.until_asked(1)
            second = tasks.create_task(world.gone())
            await asyncio.sleep(0)  # it begins to wait
            problem = "1 calls wait already; Heartbeat was not sent"
            assert await world.gone() == ("busy", problem, False)
            problem = "Heartbeat was not sent: the calls before it took 0.02 s"
            assert await second == ("busy", problem, False)
            central_system.may_answer.set()
        assert first.result() == TIME
        assert (len(central_system.requests), world.since()) == (1, None)


async def test_closing_lets_the_call_in_flight_end_and_sends_no_other() -> None:
    async with a_central_system(HEARTBEAT_ANSWER) as central_system, running(central_system.url) as world:
        central_system.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(world.reply())
            await central_system.until_asked(1)
            second = tasks.create_task(world.gone())
            await asyncio.sleep(0)
            closing = tasks.create_task(world.link.close("its route has changed"))
            await asyncio.sleep(0)
            assert not world.running.done()
            central_system.may_answer.set()
        await closing
        await world.running
        assert first.result() == TIME
        away = ("draining", "its route has changed; Heartbeat was not sent", False)
        assert (second.result(), await world.gone()) == (away, away)
        assert (len(central_system.requests), world.states) == (1, ["open", "closed"])


async def test_closing_waits_only_so_long() -> None:
    limits = SoapLimits(close_wait=0.01)
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url, limits=limits) as world,
    ):
        central_system.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(world.reply())
            await central_system.until_asked(1)
            await world.link.close("")
            await world.running
            central_system.may_answer.set()
        assert call.result() == TIME
        assert await world.gone() == ("draining", "the session is closed; Heartbeat was not sent", False)
        assert world.states == ["open", "closed"]


# --- nobody there ---


async def test_a_call_that_was_never_sent_says_so() -> None:
    async with a_central_system(b"") as central_system:
        url = central_system.url
    async with running(url) as world:
        where = url.removeprefix("http://").partition("/")[0]
        problem = f"central system legacy: connection refused by {where}"
        assert await world.gone(START) == ("refused", problem, False)


async def test_a_call_without_an_answer_was_sent_and_is_not_sent_again() -> None:
    """A StartTransaction must not happen twice."""
    async with a_central_system(b"") as central_system, running(central_system.url) as world:
        where = central_system.url.removeprefix("http://").partition("/")[0]
        problem = f"central system legacy: {where} closed the connection without an answer"
        assert await world.gone(START) == ("unreachable", problem, True)
        assert len(central_system.requests) == 1


async def test_a_call_is_not_waited_for_for_ever() -> None:
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url, client=KeptClient(timeout=0.01)) as world,
    ):
        central_system.may_answer.clear()
        where = central_system.url.removeprefix("http://").partition("/")[0]
        problem = f"central system legacy: no answer from {where} within 0.01 s"
        assert await world.gone(START) == ("timeout", problem, True)
        central_system.may_answer.set()


async def test_a_closed_client_says_nothing_of_the_central_system() -> None:
    client = KeptClient()
    await client.close()
    async with running("http://127.0.0.1:9/", client=client) as world:
        assert await world.gone() == ("draining", "central system legacy: the gateway is stopping", False)
        assert (world.since(), world.link.state) == (None, "connecting")


# --- whether it can be reached ---


class Naps:
    """A sleep that tells how long it was asked to last, and lasts until it is told."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self.over = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self.over.acquire()


async def test_since_when_it_cannot_be_reached_is_known_until_a_probe_says_that_it_can() -> None:
    clock, naps, said = Clock(7.0), Naps(), [False, True]

    async def reachable() -> bool:
        return said.pop(0)

    async with a_central_system(b"") as central_system:
        url = central_system.url
    async with running(url, clock=clock, sleep=naps, reachable=reachable, probe_every=3.0) as world:
        assert world.since() is None
        reason, problem, _ = await world.gone()
        clock.now = 8.0
        await world.gone()
        assert (world.link.state, world.since()) == ("backoff", 7.0)
        unreachable = Event(
            "central system unreachable",
            "CP1",
            problem.removeprefix("central system legacy: "),
            reason,
            {"upstream": "legacy"},
        )
        assert world.heard.events == [unreachable]
        assert await naps.asked.get() == 3.0
        naps.over.release()
        assert await naps.asked.get() == 3.0  # still away
        assert world.since() == 7.0
        naps.over.release()
        await world.heard.until(lambda: len(world.heard.events) == 2)
        answers = Event("central system answers", "CP1", labels={"upstream": "legacy"})
        assert world.heard.events == [unreachable, answers]
        assert world.since() is None
        assert world.states == ["open", "backoff", "open"]
    assert world.states == ["open", "backoff", "open", "closed"]


async def test_the_next_answer_tells_that_it_is_back() -> None:
    answers, naps = [b"", HEARTBEAT_ANSWER], Naps()
    async with (
        a_central_system(lambda request: answers.pop(0)) as central_system,
        running(central_system.url, sleep=naps) as world,
    ):
        await world.gone()
        assert world.since() is not None
        assert await naps.asked.get() == 10.0
        assert await world.reply() == TIME
        assert world.since() is None
        assert world.states == ["open", "backoff", "open"]
        naps.over.release()  # whoever wakes now has nothing to do


async def test_without_a_probe_of_others_it_looks_itself() -> None:
    """A GET that is answered, whatever with."""
    answers, naps = [b"", HEARTBEAT_ANSWER], Naps()
    async with (
        a_central_system(lambda request: answers.pop(0)) as central_system,
        running(central_system.url, sleep=naps) as world,
    ):
        await world.gone()
        naps.over.release()
        # It reads no body, for there is none.
        await world.heard.until(lambda: bool(world.heard.told("central system answers")))
    assert central_system.requests[1].startswith(b"GET /steve/services/CentralSystemService HTTP/1.1\r\n")


# --- what the operator says ---

IN_MAINTENANCE = ("not_connected", "central system legacy: it is in maintenance", False)


async def test_in_maintenance_the_call_in_flight_ends_and_no_other_is_sent() -> None:
    duty = Duty()
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url, duty=duty) as world,
    ):
        central_system.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(world.reply())
            await central_system.until_asked(1)
            second = tasks.create_task(world.gone())  # it waits for its turn
            await asyncio.sleep(0)
            duty.become("maint", 0.0)
            assert (world.link.away, world.link.held, world.link.state) == (True, True, "backoff")
            central_system.may_answer.set()
        assert (first.result(), second.result()) == (TIME, IN_MAINTENANCE)
        assert await world.gone() == IN_MAINTENANCE
        assert (world.states, len(central_system.requests)) == (["open", "backoff"], 1)
        duty.become("ready", 0.0)
        assert (world.link.away, world.states[-1]) == (False, "open")
        assert await world.reply() == TIME
        assert world.heard.events == []


async def test_in_maintenance_it_is_not_looked_for_and_not_missed() -> None:
    clock, duty, looked = Clock(), Duty(), list[float]()

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        await asyncio.sleep(0)

    async def reachable() -> bool:
        looked.append(clock.now)
        return False

    async with (
        a_central_system(b"") as central_system,
        running(central_system.url, duty=duty, clock=clock, sleep=sleep, reachable=reachable) as world,
    ):
        central_system.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(world.gone())
            await central_system.until_asked(1)
            duty.become("maint", 0.0)
            central_system.may_answer.set()
        assert (world.since(), world.heard.events) == (None, [])  # it broke off what was in flight
        duty.become("ready", 0.0)
        await world.gone()
        await asyncio.sleep(0.01)
        assert (world.since() is not None, len(world.heard.events)) == (True, 1)
        assert looked
        duty.become("maint", 0.0)
        looked.clear()
        await asyncio.sleep(0.01)
        assert looked == []
        duty.become("ready", 0.0)  # nothing says otherwise
        assert (world.since(), world.link.state) == (None, "open")


async def test_a_drained_central_system_is_called_for_as_long_as_it_answers() -> None:
    duty, answers = Duty(), True
    async with (
        a_central_system(lambda request: HEARTBEAT_ANSWER if answers else b"") as central_system,
        running(central_system.url, duty=duty) as world,
    ):
        assert await world.reply() == TIME
        duty.become("drain", 0.0)
        assert await world.reply() == TIME
        assert (world.link.held, world.link.state) == (False, "open")
        answers = False
        await world.gone()
        assert (world.link.held, world.link.state) == (True, "backoff")
        answers = True
        reason, description, _ = await world.gone()
        assert (reason, description) == ("not_connected", "central system legacy: it is being drained")
        duty.become("ready", 0.0)
        assert await world.reply() == TIME


async def test_a_link_that_begins_while_it_is_drained_does_not_call() -> None:
    duty = Duty()
    duty.become("drain", 0.0)
    async with (
        a_central_system(HEARTBEAT_ANSWER) as central_system,
        running(central_system.url, duty=duty) as world,
    ):
        await asyncio.sleep(0)
        assert (world.link.held, world.states) == (True, ["backoff"])
        await world.gone()
        assert central_system.requests == []


@pytest.mark.parametrize("state", ["ready", "maint"])
async def test_one_that_was_lost_before_is_held_by_any_word_but_ready(state: State) -> None:
    duty = Duty()
    async with a_central_system(b"") as central_system, running(central_system.url, duty=duty) as world:
        await world.gone()
        duty.become("drain", 0.0)
        assert world.link.held
        duty.become(state, 0.0)
        assert world.link.held == (state == "maint")


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
async def test_a_proxy_that_answers_for_it_is_not_the_central_system(status: str) -> None:
    answer = http_response("<html>no backend</html>", status, "text/html")
    async with a_central_system(answer) as central_system, running(central_system.url) as world:
        reply = await world.reply(START)
        assert isinstance(reply, CallError)
        text = f"answered HTTP {status[:3]} with an HTML page: '<html>no backend</html>'"
        assert (reply.reason, reply.description) == ("unreachable", text)
        assert still_deliverable_after("StartTransaction", reply)
        assert (world.link.state, world.heard.events[0].text) == ("backoff", text)


# --- habits ---


async def test_steve_answers_with_an_action_of_its_own_and_relates_to_nothing() -> None:
    """Its 1.2 descriptions name no action of outputs, so its stack makes one."""
    header = (
        "<s:Header><wsa:Action>urn://Ocpp/Cs/2015/10/CentralSystemService/HeartbeatResponse</wsa:Action>"
        "</s:Header>"
    )
    answer = http_response(soap_answer("heartbeatResponse", CURRENT_TIME, header=header))
    async with a_central_system(answer) as central_system, running(central_system.url) as world:
        assert await world.reply() == TIME


NOT_BOOTED = (
    f'<s:Envelope xmlns:s="{SOAP_12}"><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode>'
    '<s:Value xmlns:cs="urn://Ocpp/Cs/2015/10/">cs:SecurityError</s:Value></s:Subcode></s:Code><s:Reason>'
    '<s:Text xml:lang="en">CP1 has not booted</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>'
)


@pytest.mark.parametrize("status", ["500 Internal Server Error", "200 OK"])
async def test_a_fault_before_the_charge_point_has_booted_is_its_word(status: str) -> None:
    """SteVe answers so before a BootNotification, with 500; Java-OCA-OCPP sends every fault with 200."""
    answer = http_response(NOT_BOOTED, status)
    async with a_central_system(answer) as central_system, running(central_system.url) as world:
        assert await world.reply() == CallError("SecurityError", "CP1 has not booted", reason="fault")
        assert world.link.state == "open"


@pytest.mark.parametrize(
    ("answer", "description"),
    [
        (
            http_response("<!DOCTYPE html><title>Log in</title>", content_type="text/html"),
            "answered HTTP 200 with an HTML page: '<!DOCTYPE html><title>Log in</title>'",
        ),
        (
            http_response("", "500 Internal Server Error"),
            "answered HTTP 500 with an empty body",
        ),
        (
            http_response("unauthorized", "401 Unauthorized", "text/plain"),
            "answered HTTP 401 (text/plain), not SOAP: 'unauthorized' (found 'unauthorized', expected a SOAP "
            "envelope)",
        ),
    ],
)
async def test_what_is_no_soap_is_not_its_word(answer: bytes, description: str) -> None:
    """So a transaction message may still be delivered, and its charge point must keep it."""
    async with a_central_system(answer) as central_system, running(central_system.url) as world:
        reply = await world.reply(START)
        assert isinstance(reply, CallError)
        assert (reply.reason, reply.description) == ("malformed", description)
        assert still_deliverable_after("StartTransaction", reply)
        assert not still_deliverable_after("Heartbeat", reply)


async def test_an_empty_body_is_an_empty_result_where_there_is_one() -> None:
    answer = http_response(f'<s:Envelope xmlns:s="{SOAP_12}"><s:Body/></s:Envelope>')
    async with a_central_system(answer) as central_system, running(central_system.url) as world:
        answered = await world.link.call(Call("MeterValues", {"connectorId": 1, "meterValue": []}))
        assert answered.reply == CallResult({})
        assert answered.answered is not None
        assert answered.answered.notes == (Change("Body", "", "meterValuesResponse", "empty-body"),)


# --- in a session ---


async def test_the_session_records_what_went_over_the_wire() -> None:
    async with a_central_system(HEARTBEAT_ANSWER) as central_system, running(central_system.url) as world:
        world.session.attach(Side.CHARGE_POINT, FakeLink())
        reply, _ = await world.session.relay(
            HEARTBEAT, Passage("json", b"{}"), Side.CHARGE_POINT, lambda reply: Passage("json", b"{}")
        )
        assert reply == TIME
        [record] = world.heard.records
        assert record.asked == Passage("soap", central_system.bodies[0])
        assert (record.other_transport, record.reason) == ("soap", "")


# --- central systems of older versions ---


def old_answer(element: str, inside: str = "", date: str = "2012/06") -> bytes:
    return http_response(soap_answer(element, inside).replace("2015/10", date))


async def test_a_central_system_of_1_5_is_spoken_to_in_its_words() -> None:
    status = Call("StatusNotification", {"connectorId": 1, "status": "SuspendedEV", "errorCode": "NoError"})
    async with (
        a_central_system(old_answer("statusNotificationResponse")) as central_system,
        running(central_system.url, ocpp="1.5") as world,
    ):
        answer = await world.link.call(status)
        assert answer.reply == CallResult({})
        [body] = central_system.bodies
        assert b'xmlns:ocpp="urn://Ocpp/Cs/2012/06/"' in body
        assert b"<ocpp:status>Occupied</ocpp:status>" in body
        assert answer.asked is not None
        assert [note.rule for note in answer.asked.notes] == ["older-word"]
        assert (world.link.version, world.link.form) == ("1.5", form_of(SOAP_12, "1.5"))


async def test_what_1_5_has_no_words_for_is_confirmed_without_asking() -> None:
    async with (
        a_central_system(old_answer("heartbeatResponse", CURRENT_TIME)) as central_system,
        running(central_system.url, ocpp="1.5") as world,
    ):
        answer = await world.link.call(Call("FirmwareStatusNotification", {"status": "Downloading"}))
        assert (answer.reply, answer.asked, answer.how) == (CallResult({}), None, "local")
        assert [note.rule for note in answer.notes] == ["older-word"]
        assert central_system.requests == []
        assert await world.reply() == TIME


async def test_a_boot_in_1_2_is_answered_with_a_time_and_an_interval() -> None:
    """Its description requires neither."""
    accepted = old_answer("bootNotificationResponse", "<cs:status>Accepted</cs:status>", "2010/08")
    boot = Call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    async with (
        a_central_system(accepted) as central_system,
        running(central_system.url, ocpp="1.2") as world,
    ):
        answer = await world.link.call(boot)
        assert isinstance(answer.reply, CallResult)
        assert answer.reply.payload.keys() == {"status", "interval", "currentTime"}
        assert answer.reply.payload["interval"] == 900
        assert answer.answered is not None
        assert [(note.path, note.rule) for note in answer.answered.notes] == [
            ("BootNotificationResponse.interval", "older-default"),
            ("BootNotificationResponse.currentTime", "older-default"),
        ]


@pytest.mark.parametrize(
    "code",
    [
        "<s:Value>s:MustUnderstand</s:Value>",
        "<s:Value>s:VersionMismatch</s:Value>",
        "<s:Value>s:Sender</s:Value><s:Subcode><s:Value>cs:IdentityMismatch</s:Value></s:Subcode>",
    ],
)
async def test_a_fault_about_the_envelope_is_not_about_the_message(code: str) -> None:
    """The gateway has written it: the charge point is not to lose its message for that."""
    reason = '<s:Reason><s:Text xml:lang="en">not so</s:Text></s:Reason>'
    faulty = soap_answer("x").replace("<cs:x></cs:x>", f"<s:Fault><s:Code>{code}</s:Code>{reason}</s:Fault>")
    async with (
        a_central_system(http_response(faulty, "500 Internal Server Error")) as central_system,
        running(central_system.url) as world,
    ):
        reply = await world.reply(START)
        assert isinstance(reply, CallError)
        assert reply.reason == "unreachable"
        assert still_deliverable_after("StartTransaction", reply)
        [told] = world.heard.told("envelope refused")
        assert (told.reason, told.labels) == ("fault", {"upstream": "legacy"})
        assert not world.link.away
