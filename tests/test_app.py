"""The whole gateway on loopback: from the configuration to the bytes on both ends, and to a good end."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import (
    ACCEPTED,
    PATIENCE,
    USUAL_ANSWERS,
    Listened,
    Response,
    a_central_system,
    a_charge_point,
    dial,
    exchange_bytes,
    fault,
    from_header,
    get,
    handshake,
    http_response,
    listen,
    post,
    post_bytes,
    soap_request,
    soap_result,
)
from wattbridge.app import CannotStart, Gateway
from wattbridge.config import read_text
from wattbridge.operation import logs
from wattbridge.store.base import Exchange, Store
from wattbridge.store.sqlite import SqliteStore

CONFIGURATION = """
gateway: {{drain: {drain}, unknown: {unknown}}}
listeners: {{soap: {{bind: "127.0.0.1:{port}", paths: [/ocpp/cs, "/ocpp/{{charger}}"], limits: {limits}}}}}
upstreams:
  main:
    url: {url}
    call_timeout: {call_timeout}
    connect: {{timeout: {connect_timeout}, backoff: {{first: 10ms, max: 50ms}}, rate: 1000/s}}
chargers: {{CP1: {{}}, CP2: {{}}}}
callbacks: {{networks: [127.0.0.0/8], timeout: {callback_timeout}}}
metrics: {{bind: "127.0.0.1:{metrics_port}"}}
offline: {offline}
logging: {{format: json}}
"""
NOBODY = "ws://127.0.0.1:9/ocpp"


def configuration(url: str = NOBODY, **changes: Any) -> str:
    usual = {
        # Of nobody one does not have to wait for long; a busy machine takes its time.
        "connect_timeout": "300ms" if url == NOBODY else "5s",
        "drain": "2s",
        "unknown": "refuse",
        "port": 0,
        "limits": "{}",
        "call_timeout": "5s",
        "callback_timeout": "5s",
        "metrics_port": 0,
        "offline": "{}",
    }
    return CONFIGURATION.format(url=url, **(usual | changes))


@dataclass
class World:
    """A gateway at work. ``url`` is where charge points post, ``admin`` where metrics and health are."""

    gateway: Gateway
    heard: Listened
    stopping: asyncio.Event
    running: asyncio.Task[None]

    @property
    def url(self) -> str:
        return self.gateway.addresses["soap"]

    @property
    def admin(self) -> str:
        return self.gateway.metrics_address.removesuffix("/metrics")

    async def metrics(self) -> str:
        return (await get(f"{self.admin}/metrics")).body

    async def end(self) -> None:
        self.stopping.set()
        async with asyncio.timeout(PATIENCE):
            await self.running


@asynccontextmanager
async def a_gateway(text: str, store: Store | None = None) -> AsyncIterator[World]:
    gateway = Gateway(read_text(text).config, store)
    heard = listen(gateway.journal)
    ready, stopping, failed = asyncio.Event(), asyncio.Event(), None
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(gateway.run(stopping, ready.set))
        await ready.wait()
        try:
            yield World(gateway, heard, stopping, running)
        except Exception as error:  # of the test: raised when the gateway has stopped, and not in a group
            failed = error
        finally:
            stopping.set()
    if failed is not None:
        raise failed
    assert heard.told("internal error") == []


# --- an exchange, from end to end ---


async def test_a_boot_notification_and_its_answer() -> None:
    async with a_central_system() as central_system, a_gateway(configuration(central_system.url)) as world:
        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(post(world.url, soap_request("BootNotification")))
            charge_point = await central_system.next()
            assert charge_point.path == "/ocpp/CP1"
            call = await charge_point.frame()
            assert call[::2] == [2, "BootNotification"]
            assert call[3] == {"chargePointVendor": "V", "chargePointModel": "M"}
            assert re.fullmatch(r"[0-9a-f-]{36}", call[1])
            await charge_point.send(json.dumps([3, call[1], ACCEPTED]))
        response = posting.result()
        assert response.status == 200
        assert (
            "<ocpp:status>Accepted</ocpp:status><ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime>"
            "<ocpp:interval>300</ocpp:interval>" in response.body
        )
        assert "<wsa:RelatesTo>urn:uuid:1</wsa:RelatesTo>" in response.body


async def test_a_call_error_is_a_fault() -> None:
    async with a_central_system() as central_system, a_gateway(configuration(central_system.url)) as world:
        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(post(world.url, soap_request("StopTransaction")))
            charge_point = await central_system.next()
            call = await charge_point.frame()
            await charge_point.send(json.dumps([4, call[1], "PropertyConstraintViolation", "no such tx", {}]))
        assert fault(posting.result().body) == (
            "Sender",
            "ProtocolError",
            "PropertyConstraintViolation: no such tx",
        )


async def test_the_time_of_the_central_system_is_not_the_gateways() -> None:
    async with a_central_system() as central_system, a_gateway(configuration(central_system.url)) as world:
        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(post(world.url, soap_request("Heartbeat")))
            charge_point = await central_system.next()
            call = await charge_point.frame()
            await asyncio.sleep(0.05)
            await charge_point.send(json.dumps([3, call[1], {"currentTime": "2024-05-01T10:00:00Z"}]))
        assert posting.result().status == 200
        [record] = world.heard.records
        assert 0.05 <= record.peer_seconds <= record.seconds


# --- calls that cross (OCPP-J 1.6, 4.1.1) ---

STATUS = http_response(soap_result("triggerMessageResponse", "<cp:status>Accepted</cp:status>"))
CONFIGURED = http_response(
    soap_result(
        "getConfigurationResponse",
        "<cp:configurationKey><cp:key>HeartbeatInterval</cp:key><cp:readonly>false</cp:readonly>"
        "<cp:value>300</cp:value></cp:configurationKey>",
    )
)


def by_action(request: str) -> bytes:
    return STATUS if "triggerMessageRequest" in request else CONFIGURED


async def test_the_central_system_may_ask_before_it_answers() -> None:
    """It asks twice; in the middle of the first the charge point sends a StatusNotification, which waits for
    the reply to StartTransaction: one CALL at a time, and those of the two parties cross."""
    async with (
        a_charge_point(by_action) as charge_point,
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url)) as world,
        asyncio.TaskGroup() as tasks,
    ):
        header = from_header(charge_point.url)
        starting = tasks.create_task(post(world.url, soap_request("StartTransaction", headers=header)))
        connected = await central_system.next()
        start = await connected.frame()
        assert start[2] == "StartTransaction"

        status: list[asyncio.Task[Response]] = []

        async def tell_status() -> None:
            if not status:
                status.append(tasks.create_task(post(world.url, soap_request("StatusNotification"))))

        charge_point.before_answer = tell_status
        await connected.send('[2,"a","TriggerMessage",{"requestedMessage":"StatusNotification"}]')
        assert await connected.frame() == [3, "a", {"status": "Accepted"}]
        await connected.send('[2,"b","GetConfiguration",{}]')
        assert await connected.frame() == [
            3,
            "b",
            {"configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]},
        ]
        assert not starting.done()
        await connected.send(
            json.dumps([3, start[1], {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}])
        )
        assert "<ocpp:transactionId>7</ocpp:transactionId>" in (await starting).body
        await connected.answer({}, "StatusNotification")
        assert (await status[0]).status == 200
        assert [record.reason for record in world.heard.records] == [""] * 4


async def test_parties_that_wait_for_each_other_are_set_free_by_the_timeout() -> None:
    """A charge point that answers a callback only when its own StatusNotification is answered, and a central
    system that answers StartTransaction only when its call is: one of them has to be told."""
    async with (
        a_charge_point(by_action) as charge_point,
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url, callback_timeout="100ms")) as world,
        asyncio.TaskGroup() as tasks,
    ):
        header = from_header(charge_point.url)
        starting = tasks.create_task(post(world.url, soap_request("StartTransaction", headers=header)))
        connected = await central_system.next()
        start = await connected.frame()

        async def wait_for_status() -> None:
            assert (await post(world.url, soap_request("StatusNotification"))).status == 200

        charge_point.before_answer = wait_for_status
        await connected.send('[2,"a","TriggerMessage",{"requestedMessage":"StatusNotification"}]')
        refused = await connected.frame()
        assert refused[:3] == [4, "a", "GenericError"]
        assert "within 0.1 s; it was sent, and whether the charge point has done it is" in refused[3]
        assert refused[4] == {"uncertain": True}
        await connected.send(
            json.dumps([3, start[1], {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}])
        )
        assert (await starting).status == 200
        await connected.answer({}, "StatusNotification")


# --- sessions ---


async def test_many_messages_at_once_open_one_connection() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        actions = ["MeterValues", *(["Heartbeat", "StatusNotification", "Authorize"] * 6)]
        responses = await asyncio.gather(*(post(world.url, soap_request(action)) for action in actions))
        assert {response.status for response in responses} == {200}
        assert central_system.identities == ["CP1"]
        assert sorted(call[2] for call in central_system.calls) == sorted(actions)


async def test_two_thousand_unknown_identities_leave_nothing_behind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        logs.set_up("info", "json")
        logs.ExchangeLog().listen_to(world.gateway.journal)
        await post(world.url, soap_request("BootNotification", "X"))
        before = await world.metrics()
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(world.url.split(":")[2].split("/")[0])
        )
        for number in range(2000):
            request = post_bytes(
                world.url, soap_request("BootNotification", f'X{number}\n{{"level":"error"}}')
            )
            writer.write(request.replace(b"Connection: close\r\n", b""))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 ")
            length = re.search(rb"Content-Length: (\d+)", head)
            assert length is not None
            body = (await reader.readexactly(int(length[1]))).decode()
            assert fault(body)[:2] == ("Sender", "SecurityError")
        writer.close()
        after = await world.metrics()
        assert series_of(after) == series_of(before)
        assert "wattbridge_chargers_unknown 2001.0" in after
        assert len(world.gateway.registry) == 0
        assert central_system.identities == []
        assert world.heard.told("session opened") == []
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [line for line in lines if line["event"] == "call failed"]
    assert len(told) == 2001
    assert told[-1]["identity"] == r'X1999\n{"level":"error"}'
    assert sum(line["level"] == "warning" for line in told) <= 20
    logs.set_up("error", "console")


def series_of(page: str) -> set[str]:
    return {line.rpartition(" ")[0] for line in page.splitlines() if line.startswith("wattbridge_")}


async def test_strangers_are_served_where_they_are_accepted() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(configuration(central_system.url, unknown="accept")) as world,
    ):
        assert (await post(world.url, soap_request("Heartbeat", "DE*ABC 1/é"))).status == 200
        assert [(await central_system.next()).path] == ["/ocpp/DE%2AABC%201%2F%C3%A9"]


@pytest.mark.parametrize("identity", ["..", ".", "CP&#10;1", "CP\u20281", "CP&#9;1", "x" * 256])
async def test_what_can_be_no_identity_is_refused_also_where_strangers_are_accepted(identity: str) -> None:
    async with a_gateway(configuration(unknown="accept")) as world:
        response = await post(world.url, soap_request("Heartbeat", identity))
        assert fault(response.body)[0] == "Sender"
        assert len(world.gateway.registry) == 0


# --- the message history ---


async def test_what_passes_is_kept_in_both_encodings_for_as_long_as_the_configuration_says(
    tmp_path: Path,
) -> None:
    store = await SqliteStore.open(tmp_path / "wattbridge.db")
    try:
        async with (
            a_central_system(USUAL_ANSWERS) as central_system,
            a_gateway(configuration(central_system.url), store) as world,
        ):
            await post(world.url, soap_request("Authorize"))
            await store.write()  # what was noted goes with it
            [row] = await store.find(Exchange)
            assert (row.identity, row.action, row.arrived_from) == ("CP1", "Authorize", "charge_point")
            assert row.arrived.startswith("<")
            assert json.loads(row.asked)[2:] == ["Authorize", {"idTag": "TAG"}]
            assert json.loads(row.answered)[0] == 3
            assert "authorizeResponse" in row.replied

            text = configuration(central_system.url) + "store: {history: {redact: [idTag]}}\n"
            await world.gateway.take_over(read_text(text).config)
            await post(world.url, soap_request("Authorize"))
            await store.write()
            [_, row] = await store.find(Exchange)
            assert json.loads(row.asked)[2:] == ["Authorize", {"idTag": "***"}]

            text = configuration(central_system.url) + "store: {history: {age: 0s}}\n"
            await world.gateway.take_over(read_text(text).config)
            await post(world.url, soap_request("Authorize"))
            await store.write()
            assert len(await store.find(Exchange)) == 2
    finally:
        await store.close()


async def test_memory_keeps_no_history() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        await post(world.url, soap_request("Heartbeat"))
        assert await world.gateway.deliveries.store.find(Exchange) == []


# --- an absent central system ---


async def test_without_a_central_system_a_start_gets_no_byte_and_what_can_be_kept_is_confirmed() -> None:
    async with a_gateway(configuration(offline="{hold: 100ms}")) as world:
        start = post_bytes(world.url, soap_request("StartTransaction"))
        assert await exchange_bytes(world.url, start) == b""
        for action in ("StopTransaction", "MeterValues", "StatusNotification", "Heartbeat"):
            assert (await post(world.url, soap_request(action))).status == 200
        for action in ("Authorize", "DataTransfer", "BootNotification"):
            response = await post(world.url, soap_request(action))
            assert fault(response.body)[:2] == ("Receiver", "InternalError")
        page = await world.metrics()
        assert 'wattbridge_upstream_up{upstream="main"} 0.0' in page
        series = 'action="StartTransaction",direction="to_csms",reason="refused"'
        assert f"wattbridge_call_failures_total{{{series}}} 1.0" in page
        for line in (
            'wattbridge_queue_depth{queue="to_csms"} 3.0',
            'wattbridge_queue_parked{queue="to_csms"} 0.0',
            'wattbridge_offline_answers_total{action="StopTransaction"} 1.0',
            'wattbridge_offline_answers_total{action="Heartbeat"} 1.0',
            'wattbridge_offline_answers_total{action="StartTransaction"} 0.0',
            "wattbridge_transactions_open 0.0",
            "wattbridge_store_works 1.0",
        ):
            assert f"\n{line}\n" in page
        assert re.search(r'\nwattbridge_queue_bytes{queue="to_csms"} [1-9]', page)
        assert not re.search(r'\nwattbridge_queue_oldest_seconds{queue="to_csms"} 0\.0\n', page)


async def test_what_a_silent_central_system_was_asked_is_recorded_and_sent_again() -> None:
    async with (
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url, call_timeout="300ms")) as world,
        asyncio.TaskGroup() as tasks,
    ):
        stopping = tasks.create_task(post(world.url, soap_request("StopTransaction")))
        connected = await central_system.next()
        asked = await connected.text()
        assert (await stopping).status == 200
        [record] = world.heard.records
        assert (record.reason, record.how) == ("", "kept")
        assert record.asked is not None
        assert record.asked.text.decode() == asked
        assert record.answered is None
        assert record.seconds >= record.peer_seconds >= 0.3

        # It is waited for once more, on this connection; then sent again on another, with the same id.
        assert await connected.close_code() == 1001
        connected = await central_system.next()
        assert await connected.text() == asked
        await connected.send(json.dumps([3, json.loads(asked)[1], {}]))
        await world.heard.until(lambda: bool(world.heard.told("message delivered")))
        assert (await post(world.url, soap_request("StopTransaction"))).status == 200
        assert world.heard.records[-1].how == "repeat"
        assert central_system.identities == ["CP1", "CP1"]


async def test_what_a_broken_connection_took_along_is_recorded() -> None:
    async with (
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url)) as world,
        asyncio.TaskGroup() as tasks,
    ):
        beating = tasks.create_task(post(world.url, soap_request("Heartbeat")))
        connected = await central_system.next()
        asked = await connected.text()
        connected.socket.transport.abort()
        assert (await beating).status == 200  # whatever the central system is doing
        [record] = world.heard.records
        assert (record.reason, record.how) == ("", "offline")
        assert record.asked is not None
        assert record.asked.text.decode() == asked


async def test_a_central_system_that_is_away_does_not_make_the_gateway_unready() -> None:
    async with a_gateway(configuration()) as world:
        await post(world.url, soap_request("Heartbeat"))
        assert (await get(f"{world.admin}/readyz")).status == 200


# --- a charge point that speaks JSON ---


async def test_a_payload_passes_as_it_is_between_two_parties_that_speak_json() -> None:
    async with (
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        port = int(world.url.split(":")[2].partition("/")[0])
        charge_point = await dial(port, handshake("/ocpp/cs/CP1"))
        assert charge_point.header("Sec-WebSocket-Protocol") == "ocpp1.6"
        connected = await central_system.next()
        assert connected.identity == "CP1"

        charge_point.send('[2, "1", "DataTransfer", { "vendorId":"V", "data":"\\u00e4" }]')
        text = await connected.text()
        message_id = json.loads(text)[1]
        assert text == f'[2,"{message_id}","DataTransfer",{{ "vendorId":"V", "data":"\\u00e4" }}]'
        await connected.send(f'[3,"{message_id}",{{"status" : "Accepted"}}]')
        assert await charge_point.text() == '[3,"1",{"status" : "Accepted"}]'

        await connected.send('[2,"7","Reset",{ "type":"Soft" }]')
        text = await charge_point.text()
        message_id = json.loads(text)[1]
        assert text == f'[2,"{message_id}","Reset",{{ "type":"Soft" }}]'
        charge_point.send(f'[4,"{message_id}","OwnCode",null,null]')
        assert await connected.text() == '[4,"7","OwnCode",null,null]'

        page = await world.metrics()
        assert '\nwattbridge_chargers{protocol="ocpp1.6-json",state="connected"} 1.0\n' in page
        protocols = 'charger_protocol="ocpp1.6-json",csms_protocol="ocpp1.6-json",direction="to_csms"'
        assert f'\nwattbridge_calls_total{{action="DataTransfer",{protocols}}} 1.0\n' in page

        world.stopping.set()
        assert await charge_point.closed() == (1001, "the gateway is stopping")
        assert await connected.close_code() == 1001
        charge_point.hang_up()


async def test_what_a_reader_would_forgive_passes_unchanged_and_unnoted() -> None:
    async with (
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        port = int(world.url.split(":")[2].partition("/")[0])
        charge_point = await dial(port, handshake("/ocpp/CP1"))
        charge_point.send('[2,"1","Heartbeat",null]')
        connected = await central_system.next()
        text = await connected.text()
        message_id = json.loads(text)[1]
        assert text == f'[2,"{message_id}","Heartbeat",null]'
        await connected.send(f'[4,"{message_id}","FormatViolation",null,null]')
        assert await charge_point.text() == '[4,"1","FormatViolation",null,null]'
        assert [record.notes for record in world.heard.records] == [()]
        charge_point.hang_up()


async def test_a_websocket_of_a_stranger_is_refused_and_counted() -> None:
    async with a_gateway(configuration()) as world:
        answer = await exchange_bytes(world.url, handshake("/ocpp/cs/CP9"))
        assert answer.startswith(b"HTTP/1.1 404 ")
        page = await world.metrics()
        assert 'wattbridge_connections_refused_total{listener="soap",reason="auth"} 1.0' in page
        assert "\nwattbridge_chargers_unknown 1.0\n" in page


# --- what the operator sees ---


async def test_the_gauges_tell_what_is_there() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        await post(world.url, soap_request("Heartbeat"))
        page = await world.metrics()
        assert {family.name for family in text_string_to_metric_families(page)} >= {"wattbridge_ready"}
        for line in (
            "wattbridge_ready 1.0",
            "wattbridge_draining 0.0",
            'wattbridge_chargers{protocol="ocpp1.6-soap",state="connected"} 1.0',
            'wattbridge_chargers{protocol="ocpp1.6-json",state="connected"} 0.0',
            'wattbridge_chargers{protocol="none",state="offline"} 1.0',
            'wattbridge_csms_sessions{state="open",upstream="main"} 1.0',
            'wattbridge_csms_sessions{state="backoff",upstream="main"} 0.0',
            'wattbridge_csms_connects_total{upstream="main"} 1.0',
            'wattbridge_upstream_up{upstream="main"} 1.0',
            'wattbridge_calls_in_flight{direction="to_csms"} 0.0',
            'wattbridge_connections_opened_total{listener="soap"} 1.0',
        ):
            assert f"\n{line}\n" in page


async def test_links_are_counted_by_their_state_until_they_are_gone() -> None:
    async with a_central_system(USUAL_ANSWERS) as central_system:
        async with a_gateway(configuration(central_system.url)) as world:
            await post(world.url, soap_request("Heartbeat"))
            assert world.gateway._state().sessions["main", "open"] == 1
        assert set(world.gateway._state().sessions.values()) == {0}


async def test_a_request_that_is_too_large_is_refused_and_told() -> None:
    async with a_gateway(configuration(limits="{body: 1KiB}")) as world:
        response = await post(world.url, soap_request("Heartbeat", "x" * 2000))
        assert response.status == 413
        [event] = world.heard.told("request refused")
        assert (event.reason, event.labels) == ("too_large", {"listener": "soap", "source": "127.0.0.1"})
        assert 'wattbridge_requests_refused_total{listener="soap",reason="too_large"} 1.0' in (
            await world.metrics()
        )


async def test_a_connection_too_many_is_refused_and_told() -> None:
    async with a_gateway(configuration(limits="{connections: 1}")) as world:
        _, writer = await asyncio.open_connection("127.0.0.1", int(world.url.split(":")[2].split("/")[0]))
        await world.heard.until(lambda: bool(world.heard.told("connection opened")))
        assert await exchange_bytes(world.url, post_bytes(world.url, soap_request("Heartbeat"))) == b""
        writer.close()
        assert [event.reason for event in world.heard.told("connection refused")] == ["rate_limited"]


# --- starting and stopping ---


async def test_readiness_drops_first_and_what_is_in_flight_ends() -> None:
    async with a_central_system() as central_system, a_gateway(configuration(central_system.url)) as world:
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(post(world.url, soap_request("StartTransaction")))
            charge_point = await central_system.next()
            call = await charge_point.frame()
            world.stopping.set()
            await until_unready(world)
            response = await get(f"{world.admin}/readyz")
            assert (response.status, response.body) == (503, "the gateway is stopping\n")
            assert (await get(f"{world.admin}/livez")).status == 200
            page = await world.metrics()
            assert "\nwattbridge_ready 0.0\n" in page
            assert "\nwattbridge_draining 1.0\n" in page
            with pytest.raises(ConnectionRefusedError):
                await post(world.url, soap_request("Heartbeat"))
            await charge_point.send(
                json.dumps([3, call[1], {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}])
            )
        assert "<ocpp:transactionId>7</ocpp:transactionId>" in starting.result().body
        assert await charge_point.close_code() == 1001
        await world.end()
        with pytest.raises(ConnectionRefusedError):
            await get(f"{world.admin}/livez")


async def until_unready(world: World) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await get(f"{world.admin}/readyz")).status == 200:
            pass


async def test_a_callback_in_flight_ends_before_the_socket_closes() -> None:
    async with (
        a_charge_point(STATUS) as charge_point,
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        async with asyncio.TaskGroup() as tasks:
            header = from_header(charge_point.url)
            tasks.create_task(post(world.url, soap_request("Heartbeat", headers=header)))
            connected = await central_system.next()
            await connected.answer({"currentTime": "2024-05-01T10:00:00Z"})
        charge_point.may_answer.clear()
        await connected.send('[2,"a","TriggerMessage",{"requestedMessage":"Heartbeat"}]')
        await charge_point.request()
        world.stopping.set()
        await until_unready(world)
        charge_point.may_answer.set()
        assert await connected.frame() == [3, "a", {"status": "Accepted"}]
        assert await connected.close_code() == 1001
        await world.end()


async def test_a_callback_that_takes_too_long_is_told_to_the_central_system() -> None:
    async with (
        a_charge_point(STATUS) as charge_point,
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url, drain="100ms")) as world,
    ):
        async with asyncio.TaskGroup() as tasks:
            header = from_header(charge_point.url)
            tasks.create_task(post(world.url, soap_request("Heartbeat", headers=header)))
            connected = await central_system.next()
            await connected.answer({"currentTime": "2024-05-01T10:00:00Z"})
        charge_point.may_answer.clear()
        await connected.send('[2,"a","TriggerMessage",{"requestedMessage":"Heartbeat"}]')
        await charge_point.request()
        await world.end()
        record = world.heard.records[-1]
        assert (record.action, record.reason) == ("TriggerMessage", "draining")
        assert await connected.close_code() == 1001


async def test_a_call_that_outlasts_the_drain_is_cut_and_recorded() -> None:
    async with (
        a_central_system() as central_system,
        a_gateway(configuration(central_system.url, drain="50ms")) as world,
        asyncio.TaskGroup() as tasks,
    ):
        starting = tasks.create_task(
            exchange_bytes(world.url, post_bytes(world.url, soap_request("StartTransaction")))
        )
        connected = await central_system.next()
        await connected.frame()
        world.stopping.set()
        with suppress(ConnectionResetError):
            assert await starting == b""
        await world.end()
        [record] = world.heard.records
        assert (record.action, record.reason) == ("StartTransaction", "draining")


async def test_a_stop_while_the_central_system_is_away_does_not_hang() -> None:
    async with a_gateway(configuration(drain="100ms")) as world, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            exchange_bytes(world.url, post_bytes(world.url, soap_request("StopTransaction")))
        )
        await world.heard.until(lambda: bool(world.heard.told("central system unreachable")))
        await world.end()
        with suppress(ConnectionResetError):
            assert await waiting == b""


async def test_a_taken_address_is_named_and_nothing_is_left_running() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for changes, section in (({"port": port}, "listeners.soap"), ({"metrics_port": port}, "metrics")):
            gateway = Gateway(read_text(configuration(**changes)).config)
            with pytest.raises(CannotStart) as problem:
                await gateway.run(asyncio.Event())
            assert str(problem.value) == f"{section}.bind: 127.0.0.1:{port}: address already in use"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_address_of_another_host_is_named() -> None:
    text = configuration().replace('bind: "127.0.0.1:0", paths', 'bind: "192.0.2.1:0", paths')
    with pytest.raises(
        CannotStart, match=r"^listeners\.soap\.bind: 192\.0\.2\.1:0: cannot assign requested address$"
    ):
        await Gateway(read_text(text).config).run(asyncio.Event())


# --- as a process ---


@dataclass
class Process:
    """``wattbridge run``, and what it writes."""

    process: asyncio.subprocess.Process

    async def line(self, event: str) -> dict[str, Any]:
        """Wait for a log line."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30.0):
            while True:
                line: dict[str, Any] = json.loads(await self.process.stderr.readline())
                if line["event"] == event:
                    return line

    async def end(self) -> tuple[int, str]:
        """Exit code, and what was written since the last line that was read."""
        async with asyncio.timeout(30.0):
            _, rest = await self.process.communicate()
            assert self.process.returncode is not None
            return self.process.returncode, rest.decode()


@asynccontextmanager
async def a_process(
    folder: Path, text: str, *, files: tuple[int, int] | None = None
) -> AsyncIterator[Process]:
    """``files`` are the soft and the hard limit of open files."""
    file = folder / "gateway.yaml"
    file.write_text(text)

    def limit() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, files)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wattbridge", "run", "-c", str(file),
        stderr=asyncio.subprocess.PIPE, preexec_fn=limit,
    )  # fmt: skip
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    async with (
        a_central_system() as central_system,
        a_process(tmp_path, configuration(central_system.url)) as process,
        asyncio.TaskGroup() as tasks,
    ):
        url = (await process.line("ready"))["listeners"]["soap"]
        starting = tasks.create_task(post(url, soap_request("StartTransaction")))
        connected = await central_system.next()
        call = await connected.frame()
        process.process.send_signal(number)
        assert (await process.line("stopping"))["signal"] == number.name
        await connected.send(
            json.dumps([3, call[1], {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}])
        )
        assert (await starting).status == 200
        assert await connected.close_code() == 1001
        code, rest = await process.end()
        assert code == 0
        assert json.loads(rest.splitlines()[-1])["event"] == "stopped"


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with (
        a_central_system() as central_system,
        a_process(tmp_path, configuration(central_system.url, drain="1m")) as process,
    ):
        url = (await process.line("ready"))["listeners"]["soap"]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
        writer.write(post_bytes(url, soap_request("StopTransaction")))
        await (await central_system.next()).frame()
        process.process.terminate()
        await process.line("stopping")
        process.process.terminate()
        assert (await process.line("stopped at once"))["level"] == "warning"
        assert (await process.end())[0] == 128 + signal.SIGTERM
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_a_taken_port_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with a_process(tmp_path, configuration(port=port)) as process:
            assert await process.end() == (
                2,
                f"wattbridge: cannot start: listeners.soap.bind: 127.0.0.1:{port}: address already in use\n",
            )


async def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(tmp_path: Path) -> None:
    text = configuration(limits="{connections: 200}")
    async with a_process(tmp_path, text, files=(100, 1000)) as process:
        page = (await get((await process.line("ready"))["metrics"])).body
        assert "process_max_fds 1000.0" in page
        process.process.terminate()
        await process.end()


async def test_a_limit_of_open_files_that_is_too_low_is_a_warning(tmp_path: Path) -> None:
    text = configuration(limits="{connections: 200}")
    async with a_process(tmp_path, text, files=(100, 150)) as process:
        line = await process.line("too few open files allowed")
        assert (line["level"], line["allowed"], line["needed"]) == ("warning", 150, 464)
        await process.line("ready")
        process.process.terminate()
        assert (await process.end())[0] == 0
