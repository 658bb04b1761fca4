"""The simulated JSON charge point: between it and the JSON central system there is nothing, and a bare
WebSocket server sees its frames.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve

from tests.interop.operations import Asked, Payload
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.outcomes import CallRefused, Exchange, Refused, Unanswered

from .all_operations import CALLS, IDENTITY, Full, Seen, Told, go_through_all, meant

NOW = datetime(2024, 5, 1, 10, 0, tzinfo=UTC)
ID = re.compile(r'(?<=,")[0-9a-f-]{36}(?=")')


def without_id(frame: str) -> str:
    return ID.sub("…", frame)


class Scripted:
    """A central system of fixed frames: ``answer`` gives what it sends back for each that arrives."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.news = asyncio.Event()
        self.headers: list[tuple[str, str]] = []
        self.path = ""
        self.sockets: list[ServerConnection] = []
        self.url = ""
        self.answer: Callable[[str], Awaitable[str | None]] = heartbeat

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.headers = list(socket.request.headers.raw_items())
        self.path = socket.request.path
        self.sockets.append(socket)
        async for frame in socket:
            self.frames.append(str(frame))
            self.news.set()
            reply = await self.answer(str(frame))
            if reply is not None:
                await socket.send(reply)

    async def asks(self, frame: str) -> str:
        """Send a CALL; returns the frame that answers it."""
        self.news.clear()
        await self.sockets[-1].send(frame)
        async with asyncio.timeout(5):
            await self.news.wait()
        return self.frames[-1]


async def heartbeat(frame: str) -> str | None:
    kind, message_id, *_ = json.loads(frame)
    return json.dumps([3, message_id, {"currentTime": "2024-05-01T10:00:00Z"}]) if kind == 2 else None


async def nothing(frame: str) -> None:
    return None


@asynccontextmanager
async def scripted(**options: Any) -> AsyncIterator[Scripted]:
    central_system = Scripted()
    options = {"subprotocols": [websockets.Subprotocol("ocpp1.6")]} | options
    async with serve(central_system.serve, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        central_system.url = f"ws://127.0.0.1:{port}/ocpp/"
        yield central_system


def a_charge_point(url: str, *, call_timeout: float = 5.0, **options: Any) -> JsonChargePoint:
    return JsonChargePoint("CP1", url, call_timeout=call_timeout, now=lambda: NOW, **options)


# --- All there is to say, between the two witnesses ------------------------------------------------------


class FullCentralSystem(Full, JsonCentralSystem):
    pass


class ToldChargePoint(Told, JsonChargePoint):
    pass


@pytest.fixture(scope="module")
def seen() -> Seen:
    async def go() -> Seen:
        central_system = FullCentralSystem(heartbeat_interval=86400, now=lambda: NOW, call_timeout=5.0)
        async with central_system:  # its port is known now, and stays
            pass
        charge_point = ToldChargePoint(IDENTITY, central_system.url, call_timeout=5.0)
        async with central_system, charge_point:
            return await go_through_all(central_system, charge_point)

    return asyncio.run(go())


@pytest.mark.parametrize(("key", "example"), CALLS)
def test_call_arrives_and_its_result_returns(seen: Seen, key: tuple[str, str, str], example: Asked) -> None:
    assert meant(seen.arrived[key]) == meant(example.asked)
    assert meant(seen.returned[key]) == meant(example.answered)


def test_no_witness_saw_a_rule_broken(seen: Seen) -> None:
    assert seen.problems == []


async def test_it_charges_as_its_sibling_does() -> None:
    async with (
        JsonCentralSystem(now=lambda: NOW) as central_system,
        a_charge_point(central_system.url) as charge_point,
    ):
        await charge_point.power_up()
        assert await charge_point.charge("04E91C5A") == {"status": "Accepted", "transactionId": 1}
        await central_system.call("CP1", "RemoteStartTransaction", idTag="04E91C5A", connectorId=2)
        await charge_point.settled()
        assert [known.meter_stop for known in central_system.transactions.values()] == [1750, None]
        await central_system.call("CP1", "RemoteStopTransaction", transactionId=2)
        await charge_point.settled()
        assert central_system.transactions[2].reason == "Remote"
    assert charge_point.problems == central_system.problems == charge_point.failures == []


# --- Handshake -------------------------------------------------------------------------------------------


async def test_the_identity_ends_the_url_encoded_once() -> None:
    """OCPP-J 1.6, 3.1.1."""
    async with scripted() as central_system:
        charge_point = JsonChargePoint("RDAM 123/%41", central_system.url)
        async with charge_point:
            assert charge_point.connections == 1
        assert central_system.path == "/ocpp/RDAM%20123%2F%2541"
        assert ("Sec-WebSocket-Protocol", "ocpp1.6") in central_system.headers
        assert "Authorization" not in dict(central_system.headers)


@pytest.mark.parametrize("password", ["secret", b"secret:\xab\xcd"])
async def test_a_password_goes_along_as_bytes(password: str | bytes) -> None:
    """OCPP-J 1.6, 6.2.2."""
    raw = password.encode() if isinstance(password, str) else password
    async with scripted() as central_system, a_charge_point(central_system.url, password=password):
        pass
    credential = base64.b64encode(b"CP1:" + raw).decode()
    assert ("Authorization", f"Basic {credential}") in central_system.headers


@pytest.mark.parametrize("status", [401, 404, 503])
async def test_a_refused_handshake_is_told(status: int) -> None:
    async with JsonCentralSystem() as central_system:
        central_system.refuse_handshakes = status
        with pytest.raises(Unanswered, match=f"no connection: HTTP {status}"):
            await a_charge_point(central_system.url).start()


async def test_a_central_system_that_is_not_there_is_told() -> None:
    async with JsonCentralSystem() as central_system:
        url = central_system.url
    with pytest.raises(Unanswered, match="no connection: Connection refused"):
        await a_charge_point(url).start()


async def test_a_url_that_is_none_is_told_and_nobody_waits() -> None:
    with pytest.raises(websockets.InvalidURI, match="isn't a valid URI"):
        await a_charge_point("http://127.0.0.1/ocpp").start()


async def test_an_answer_without_the_subprotocol_is_noted() -> None:
    """OCPP-J 1.6, 3.1.2."""
    async with scripted(subprotocols=None) as central_system:
        async with a_charge_point(central_system.url) as charge_point:
            pass
        assert charge_point.problems == [
            "CP1: the handshake chose no subprotocol; 'ocpp1.6' was offered (OCPP-J 1.6, 3.1.2)"
        ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signed itself, with its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate


async def test_over_tls_it_trusts_whom_it_is_told_to(certificate: Path) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=certificate)
    async with scripted(ssl=server_side) as central_system:
        url = central_system.url.replace("ws:", "wss:")
        async with a_charge_point(url, tls=trust) as charge_point:
            await charge_point.heartbeat()
        with pytest.raises(Unanswered, match=r"no connection: self.signed certificate"):
            await a_charge_point(url).start()


# --- Asking ----------------------------------------------------------------------------------------------


async def test_a_call_is_a_frame_without_blanks() -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        assert await charge_point.heartbeat() == {"currentTime": "2024-05-01T10:00:00Z"}
        assert [without_id(frame) for frame in central_system.frames] == ['[2,"…","Heartbeat",{}]']
    assert charge_point.answered == 1


async def test_an_absent_field_is_left_out() -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        central_system.answer = lambda frame: replying(frame, "{}")
        await charge_point.notify_status(1, "Available")
        assert without_id(central_system.frames[0]) == (
            '[2,"…","StatusNotification",{"connectorId":1,"status":"Available","errorCode":"NoError",'
            '"timestamp":"2024-05-01T10:00:00.000+00:00"}]'
        )


async def replying(frame: str, payload: str) -> str:
    return f'[3,"{json.loads(frame)[1]}",{payload}]'


async def test_a_callerror_is_raised() -> None:
    async with JsonCentralSystem() as central_system, a_charge_point(central_system.url) as charge_point:
        central_system.errors["Authorize"] = ("SecurityError", "who are you?")
        with pytest.raises(CallRefused, match="SecurityError: who are you") as refused:
            await charge_point.authorize("A")
    assert refused.value.code == "SecurityError"


async def test_silence_is_waited_for_so_long() -> None:
    async with scripted() as central_system:
        central_system.answer = nothing
        async with a_charge_point(central_system.url, call_timeout=0.05) as charge_point:
            with pytest.raises(Unanswered, match=r"Heartbeat: no answer within 0\.05 s"):
                await charge_point.heartbeat()


async def test_a_late_answer_is_no_news_and_the_next_call_gets_its_own() -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        central_system.answer = nothing
        charge_point.call_timeout = 0.05
        with pytest.raises(Unanswered):
            await charge_point.heartbeat()
        central_system.answer = heartbeat
        late = json.loads(central_system.frames[0])[1]
        charge_point.call_timeout = 5.0
        await central_system.sockets[0].send(f'[3,"{late}",{{"currentTime":"2024-05-01T09:00:00Z"}}]')
        assert await charge_point.heartbeat() == {"currentTime": "2024-05-01T10:00:00Z"}
    assert charge_point.problems == []


async def test_an_answer_that_breaks_the_schema_is_noted() -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        central_system.answer = lambda frame: replying(frame, '{"heartbeat":1}')
        with pytest.raises(Unanswered, match="Heartbeat: the answer breaks the schema"):
            await charge_point.heartbeat()
    [problem] = charge_point.problems
    assert problem.startswith("CP1: Heartbeat: answer: ")


async def test_a_time_that_is_none_is_noted() -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        central_system.answer = lambda frame: replying(frame, '{"currentTime":"2024-05-01 10:00"}')
        await charge_point.heartbeat()
    assert charge_point.problems == [
        "CP1: Heartbeat: currentTime '2024-05-01 10:00' is not a date-time of RFC 3339"
    ]


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        ("hello", "not JSON: 'hello'"),
        ("[5]", "not a CALL, CALLRESULT or CALLERROR: '[5]'"),
        ('[3,"?",{}]', "a reply to '?', which nobody asked"),
        ('[4,"?","GenericError",""]', """4 elements; expected 5: '[4,"?","GenericError",""]'"""),
    ],
)
async def test_a_frame_out_of_order_is_noted(frame: str, problem: str) -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        await central_system.sockets[0].send(frame)
        await charge_point.heartbeat()
    assert charge_point.problems == [f"CP1: {problem}"]


async def test_every_exchange_is_told_to_whoever_looks_on() -> None:
    told: list[Exchange] = []
    async with JsonCentralSystem() as central_system, a_charge_point(central_system.url) as charge_point:
        charge_point.on_exchange = central_system.on_exchange = told.append
        central_system.errors["Authorize"] = ("InternalError", "out of order")
        await charge_point.heartbeat()
        with pytest.raises(CallRefused):
            await charge_point.authorize("A")
        await central_system.call("CP1", "ClearCache")
    # Each party tells of each.
    assert sorted((one.action, one.asked, one.outcome) for one in told) == [
        ("Authorize", "central system", "InternalError: out of order"),
        ("Authorize", "central system", "InternalError: out of order"),
        ("ClearCache", "charge point", "ok"),
        ("ClearCache", "charge point", "ok"),
        ("Heartbeat", "central system", "ok"),
        ("Heartbeat", "central system", "ok"),
    ]
    assert all(one.identity == "CP1" and 0 <= one.seconds < 5 for one in told)


# --- Answering -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "reply"),
    [
        ('[2,"1","ClearCache",{}]', '[3,"1",{"status":"Accepted"}]'),
        ('[2,"1","UnlockConnector",{"connectorId":9}]', '[3,"1",{"status":"NotSupported"}]'),
        (
            '[2,"1","GetLog",{"logType":"SecurityLog"}]',
            '[4,"1","NotImplemented","GetLog is no request to a charge point of OCPP 1.6",{}]',
        ),
    ],
)
async def test_a_call_is_answered(call: str, reply: str) -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        assert await central_system.asks(call) == reply
    assert charge_point.problems == []


async def test_a_call_that_breaks_the_schema_is_noted_and_refused() -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        reply = json.loads(await central_system.asks('[2,"1","Reset",{"type":"hard"}]'))
    assert (reply[:3], charge_point.received) == ([4, "1", "FormationViolation"], [])
    assert len(charge_point.problems) == 1
    assert charge_point.problems[0].startswith("CP1: Reset: FormationViolation: ")


@pytest.mark.parametrize(
    ("refusal", "reply"),
    [
        (CallRefused("NotSupported", "no relay", {}), '[4,"1","NotSupported","no relay",{}]'),
        (Refused("Receiver", "InternalError", "stuck"), '[4,"1","InternalError","stuck",{}]'),
        (Refused("Receiver", "", "stuck"), '[4,"1","GenericError","stuck",{}]'),
    ],
)
async def test_it_can_be_told_to_refuse(refusal: CallRefused | Refused, reply: str) -> None:
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        charge_point.refuse("ClearCache", refusal)
        assert await central_system.asks('[2,"1","ClearCache",{}]') == reply
        charge_point.refuse("ClearCache", None)
        assert await central_system.asks('[2,"2","ClearCache",{}]') == '[3,"2",{"status":"Accepted"}]'


async def test_a_call_before_the_last_was_answered_is_noted() -> None:
    """OCPP-J 1.6, 4.1.1."""
    async with scripted() as central_system, a_charge_point(central_system.url) as charge_point:
        await central_system.sockets[0].send('[2,"1","ClearCache",{}]')
        await central_system.asks('[2,"2","ClearCache",{}]')
        await charge_point.heartbeat()
    assert charge_point.problems == [
        "CP1: ClearCache: sent while 1 CALL of the same side had no answer (4.1.1)"
    ]


class Broken(JsonChargePoint):
    def _answer(self, action: str, payload: Payload) -> Payload:
        raise RuntimeError("a fault of the simulator")


async def test_a_fault_of_the_simulator_is_loud() -> None:
    async with scripted() as central_system, Broken("CP1", central_system.url) as charge_point:
        assert await central_system.asks('[2,"1","ClearCache",{}]') == (
            '[4,"1","InternalError","the simulated charge point failed",{}]'
        )
    [problem] = charge_point.problems
    assert problem.endswith("RuntimeError: a fault of the simulator\n")


# --- Connections that end --------------------------------------------------------------------------------


async def test_a_call_under_way_ends_with_its_connection() -> None:
    async with JsonCentralSystem() as central_system, a_charge_point(central_system.url) as charge_point:
        central_system.hang_up_on = {"Heartbeat"}
        with pytest.raises(Unanswered, match="Heartbeat: the connection was closed"):
            await charge_point.heartbeat()
        with pytest.raises(Unanswered, match="Authorize: CP1 is not connected"):
            await charge_point.authorize("A")


async def test_it_connects_again_and_the_next_call_waits_for_it() -> None:
    async with (
        JsonCentralSystem() as central_system,
        a_charge_point(central_system.url, reconnect=0.01) as charge_point,
    ):
        await charge_point.heartbeat()
        central_system.refuse_handshakes = 503
        charge_point.cut()
        async with asyncio.TaskGroup() as calls:
            waiting = calls.create_task(charge_point.heartbeat())
            await central_system.departure_of("CP1")
            central_system.refuse_handshakes = None
        assert "currentTime" in waiting.result()
        assert charge_point.connections == 2
        await central_system.call("CP1", "ClearCache")
    assert charge_point.problems == central_system.problems == []


async def test_a_connection_that_does_not_come_back_is_waited_for_so_long() -> None:
    async with JsonCentralSystem() as central_system:
        charge_point = a_charge_point(central_system.url, reconnect=0.01, call_timeout=0.1)
        async with charge_point:
            central_system.refuse_handshakes = 503
            central_system.cut("CP1")
            await central_system.departure_of("CP1")
            with pytest.raises(Unanswered, match="Heartbeat: CP1 is not connected"):
                await charge_point.heartbeat()


async def test_it_can_be_stopped_while_it_is_away_and_started_again() -> None:
    async with JsonCentralSystem() as central_system:
        charge_point = a_charge_point(central_system.url, reconnect=60.0)
        for _ in range(2):
            async with charge_point:
                await charge_point.heartbeat()
                central_system.cut("CP1")
        with pytest.raises(Unanswered, match="CP1 is not started"):
            await charge_point.heartbeat()
        await charge_point.stop()


async def test_what_belongs_to_a_transaction_is_kept_while_it_is_offline() -> None:
    async with JsonCentralSystem() as central_system, a_charge_point(central_system.url) as charge_point:
        await charge_point.boot()
        await charge_point.start_transaction("A")
        await charge_point.go_offline()
        await charge_point.meter_values()
        await charge_point.stop_transaction()
        with pytest.raises(Unanswered, match="Heartbeat: CP1 is offline"):
            await charge_point.heartbeat()
        assert [action for action, _ in charge_point.kept] == ["MeterValues", "StopTransaction"]
        heard = central_system.heard
        await charge_point.come_back()
        actions = [action for _, action, _ in central_system.received[heard:]]
    assert (actions, charge_point.kept) == (["MeterValues", "StopTransaction"], [])
    assert central_system.transactions[1].meter_stop == 1250
    assert charge_point.connections == 2


async def test_what_cannot_be_delivered_stays_kept() -> None:
    async with JsonCentralSystem() as central_system, a_charge_point(central_system.url) as charge_point:
        await charge_point.start_transaction("A")
        await charge_point.go_offline()
        await charge_point.meter_values()
        await charge_point.stop_transaction()
        central_system.errors["StopTransaction"] = ("InternalError", "not now")
        with pytest.raises(CallRefused):
            await charge_point.come_back()
        assert [action for action, _ in charge_point.kept] == ["StopTransaction"]
        charge_point.forget()
    assert charge_point.kept == []


async def test_messages_wait_for_the_connection_and_a_callerror_discards_them() -> None:
    """A CALLERROR is a failure (OCPP-J errata, 3.2), a lost connection none."""
    async with (
        JsonCentralSystem() as central_system,
        a_charge_point(central_system.url, reconnect=0.01) as charge_point,
    ):
        charge_point.keep_messages(attempts=1, retry=3600.0)
        await charge_point.power_up()
        charge_point.cut()
        charged = await charge_point.charge("A")
        assert charged["status"] == "Accepted"
        await charge_point.delivered()
        assert charge_point.queue is not None
        assert (charge_point.queue.counts.acknowledged, charge_point.queue.counts.discarded) == (5, 0)
        central_system.errors["StopTransaction"] = ("InternalError", "not now")
        await charge_point.charge("A")
        await charge_point.delivered()
        assert (charge_point.queue.counts.acknowledged, charge_point.queue.counts.discarded) == (9, 1)


async def test_one_that_keeps_messages_begins_a_transaction_while_it_is_offline() -> None:
    async with JsonCentralSystem() as central_system, a_charge_point(central_system.url) as charge_point:
        charge_point.keep_messages(attempts=3, retry=3600.0)
        await charge_point.power_up()
        await charge_point.go_offline()
        await charge_point.charge("A", meter_values=1)
        assert charge_point.queue is not None
        assert (charge_point.queue.counts.sent, charge_point.queue.counts.queued) == (0, 3)
        await charge_point.come_back()
        assert (charge_point.queue.counts.sent, charge_point.queue.counts.queued) == (3, 0)
        assert central_system.transactions[1].meter_stop == 1250


# --- Quirks ----------------------------------------------------------------------------------------------


async def frames_with(quirk: str) -> list[str]:
    """What Heartbeat and MeterValues look like."""
    silent = {"subprotocols": None} if quirk == "no subprotocol" else {}
    async with scripted(**silent) as central_system:
        async with a_charge_point(central_system.url, quirks={quirk}) as charge_point:
            await charge_point.heartbeat()
            central_system.answer = lambda frame: replying(frame, "{}")
            await charge_point.meter_values()
        offered = "Sec-WebSocket-Protocol" in dict(central_system.headers)
        assert offered is (quirk != "no subprotocol")
    assert charge_point.problems == []
    return [without_id(frame) for frame in central_system.frames]


async def test_it_can_offer_no_subprotocol() -> None:
    frames = await frames_with("no subprotocol")
    assert frames[0] == '[2,"…","Heartbeat",{}]'


async def test_it_can_write_frames_over_several_lines() -> None:
    frames = await frames_with("blanks")
    assert re.fullmatch(r'\r\n\[\n  2,\n  "[0-9a-f-]{36}",\n  "Heartbeat",\n  {}\n\]\n', frames[0])


async def test_it_can_write_sampled_values_as_numbers() -> None:
    frames = await frames_with("numbers")
    assert '"value":1000.0,"measurand":"Energy.Active.Import.Register"' in frames[1]
    assert '"value":"' not in frames[1]


async def test_it_can_write_null_for_an_empty_payload() -> None:
    frames = await frames_with("nulls")
    assert frames[0] == '[2,"…","Heartbeat",null]'


async def test_it_can_spell_the_unit_as_the_first_schemas_did() -> None:
    frames = await frames_with("celcius")
    assert '"unit":"Celcius"' in frames[1]
    assert '"unit":"Celsius"' not in frames[1]


async def test_it_can_count_its_calls() -> None:
    frames = await frames_with("short ids")
    assert frames[0] == '[2,"1","Heartbeat",{}]'
    assert frames[1].startswith('[2,"2","MeterValues",')


async def test_it_can_send_several_calls_at_once() -> None:
    async with JsonCentralSystem() as central_system, a_charge_point(central_system.url) as charge_point:
        answers = await charge_point.pipeline([("Heartbeat", {}), ("Authorize", {"idTag": "A"})])
        assert [list(answer) for answer in answers] == [["currentTime"], ["idTagInfo"]]
        central_system.errors["Authorize"] = ("GenericError", "no")
        with pytest.raises(CallRefused, match="GenericError: no"):
            await charge_point.pipeline([("Heartbeat", {}), ("Authorize", {"idTag": "A"})])
    assert (
        central_system.problems
        == ["CP1: Authorize: sent while 1 CALL of the same side had no answer (4.1.1)"] * 2
    )
