"""What a gateway keeps while its central system is away, and over a restart, seen from outside.

What a delivery promises in any order of events is in ``relay/test_delivery_model.py``; ``tests/torture``
kills a gateway a few hundred times. Here each case stands alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import (
    PATIENCE,
    USUAL_ANSWERS,
    PlainWebSocket,
    a_central_system,
    a_charge_point,
    dial,
    exchange_bytes,
    fault,
    from_header,
    get,
    handshake,
    http_response,
    post,
    post_bytes,
    soap_request,
    soap_result,
)
from tests.interop.running import a_free_port
from tests.test_app import NOBODY, World, a_gateway, configuration
from wattbridge.config import read_text
from wattbridge.reloading import CannotReload
from wattbridge.store.memory import MemoryStore
from wattbridge.store.sqlite import SqliteStore

PROVISIONAL = "{answer: {start_transaction: provisional}, hold: 200ms}"
STOPPED = http_response(soap_result("remoteStopTransactionResponse", "<cp:status>Accepted</cp:status>"))


@asynccontextmanager
async def a_gateway_with(folder: Path, text: str) -> AsyncIterator[World]:
    """A gateway with a store in *folder*."""
    store = await SqliteStore.open(folder / "state.db")
    try:
        async with a_gateway(text, store) as world:
            yield world
    finally:
        await store.close()


async def until_delivered(world: World, count: int) -> None:
    await world.heard.until(lambda: len(world.heard.told("message delivered")) >= count)


def transaction_id(body: str) -> int:
    found = re.search(r"transactionId>(\d+)<", body)
    assert found is not None, body
    return int(found[1])


# --- over a restart ---


async def test_a_session_comes_back_with_its_address_and_its_numbers_and_without_a_boot(
    tmp_path: Path,
) -> None:
    port = a_free_port()
    text = configuration(f"ws://127.0.0.1:{port}/ocpp", offline=PROVISIONAL)
    async with a_charge_point(STOPPED) as charge_point:
        async with a_gateway_with(tmp_path, text) as world:
            headers = from_header(charge_point.url)
            started = await post(world.url, soap_request("StartTransaction", headers=headers))
            number = transaction_id(started.body)
            assert number >= 2_000_000_000
        async with (
            a_central_system(USUAL_ANSWERS, port) as central_system,
            a_gateway_with(tmp_path, text) as world,
        ):
            connected = await central_system.next()
            await until_delivered(world, 1)
            assert [call[2] for call in central_system.calls] == ["StartTransaction"]
            given = USUAL_ANSWERS["StartTransaction"]["transactionId"]
            await connected.send(f'[2,"stop","RemoteStopTransaction",{{"transactionId":{given}}}]')
            request = await charge_point.request()
            assert f"<ocpp:transactionId>{number}</ocpp:transactionId>" in request
            await world.heard.until(lambda: bool(world.heard.records))
            assert world.heard.records[-1].reason == ""
            stopped = soap_request(
                "StopTransaction",
                inside=f"<cs:transactionId>{number}</cs:transactionId>"
                "<cs:timestamp>2024-05-01T11:00:00Z</cs:timestamp><cs:meterStop>900</cs:meterStop>",
            )
            assert (await post(world.url, stopped)).status == 200
            assert central_system.calls[-1][3]["transactionId"] == given


async def test_one_that_stays_silent_after_a_restart_is_not_brought_back_at_the_next(tmp_path: Path) -> None:
    async with a_central_system(USUAL_ANSWERS) as central_system:
        text = configuration(central_system.url) + "sessions: {alive: 1, heartbeat: 1s}\n"
        async with a_gateway_with(tmp_path, text) as world:
            await post(world.url, soap_request("Heartbeat"))
        async with a_gateway_with(tmp_path, text) as world:
            await world.heard.until(lambda: bool(world.heard.told("session closed")))
        async with a_gateway_with(tmp_path, text) as world:
            await post(world.url, soap_request("Heartbeat", "CP2"))
            assert [event.identity for event in world.heard.told("session opened")] == ["CP2"]


async def test_a_boot_is_told_again_where_that_is_configured(tmp_path: Path) -> None:
    async with a_central_system(USUAL_ANSWERS) as central_system:
        text = configuration(central_system.url, offline="{boot_after_restart: yes}")
        async with a_gateway_with(tmp_path, text) as world:
            await post(world.url, soap_request("BootNotification"))
        async with a_gateway_with(tmp_path, text):
            await central_system.until_called(2)
            assert central_system.calls[0][2:] == central_system.calls[1][2:]


async def test_a_charge_point_that_is_no_longer_listed_does_not_come_back(tmp_path: Path) -> None:
    text = configuration()
    async with a_gateway_with(tmp_path, text) as world:
        assert (await post(world.url, soap_request("MeterValues", "CP2"))).status == 200
    async with a_gateway_with(tmp_path, text.replace("CP1: {}, CP2: {}", "CP1: {}")) as world:
        await world.heard.until(lambda: bool(world.heard.told("session not restored")))
        [event] = world.heard.told("session not restored")
        assert (event.identity, event.text) == ("CP2", "it is not known to this gateway any more")
        assert world.gateway.deliveries.waiting.messages == 1  # it is still there


async def test_what_a_json_charge_point_left_is_delivered_without_it(tmp_path: Path) -> None:
    """Its session lasts until that is done; then the central system sees it leave."""
    port = a_free_port()
    text = configuration(f"ws://127.0.0.1:{port}/ocpp") + "sessions: {linger: 100ms}\n"
    async with a_gateway_with(tmp_path, text) as world:
        charge_point = await a_websocket(world)
        assert await charge_point.call("1", "MeterValues", METERED) == [3, "1", {}]
        charge_point.hang_up()
    async with (
        a_central_system(USUAL_ANSWERS, port) as central_system,
        a_gateway_with(tmp_path, text) as world,
    ):
        await until_delivered(world, 1)
        assert central_system.calls[0][2:] == ["MeterValues", METERED]
        await world.heard.until(lambda: bool(world.heard.told("central system left")))


async def test_after_a_kill_what_was_confirmed_arrives_and_what_is_repeated_gets_the_same_answer(
    tmp_path: Path,
) -> None:
    port = a_free_port()
    text = configuration(f"ws://127.0.0.1:{port}/ocpp", offline=PROVISIONAL)
    async with a_process(tmp_path, text) as gateway:
        first = await post(gateway.url, soap_request("StartTransaction"))
        assert (await post(gateway.url, soap_request("MeterValues"))).status == 200
        gateway.process.kill()
    async with a_central_system(USUAL_ANSWERS, port) as central_system, a_process(tmp_path, text) as gateway:
        again = await post(gateway.url, soap_request("StartTransaction"))
        assert transaction_id(again.body) == transaction_id(first.body)
        await central_system.until_called(2)
        assert [call[2] for call in central_system.calls] == ["StartTransaction", "MeterValues"]


async def test_a_second_gateway_does_not_start_on_the_same_store(tmp_path: Path) -> None:
    text = configuration()
    async with a_process(tmp_path, text) as gateway:
        second = await run_gateway(tmp_path)
        assert await asyncio.wait_for(second.wait(), PATIENCE) == 2
        assert second.stderr is not None
        said = (await second.stderr.read()).decode()
        assert "wattbridge: cannot start: store: " in said
        assert f"is in use by another process (pid {gateway.process.pid})" in said


# --- what the charge point sees while its central system is away ---

METERED: dict[str, Any] = {
    "connectorId": 1,
    "meterValue": [{"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "1"}]}],
}
STARTED = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2024-05-01T10:00:00Z"}


async def a_websocket(world: World) -> PlainWebSocket:
    port = int(world.url.split(":")[2].split("/")[0])
    return await dial(port, handshake("/ocpp/CP1"))


async def test_a_json_charge_point_whose_start_was_held_in_vain_is_cut_off_and_keeps_it() -> None:
    port = a_free_port()
    text = configuration(f"ws://127.0.0.1:{port}/ocpp", offline="{hold: 300ms}")
    async with a_gateway(text) as world:
        charge_point = await a_websocket(world)
        charge_point.send('[2,"1","StartTransaction",' + json.dumps(STARTED) + "]")
        assert (await charge_point.closed())[0] == 1013
        charge_point.hang_up()
        async with a_central_system(USUAL_ANSWERS, port):
            charge_point = await a_websocket(world)
            reply = await charge_point.call("2", "StartTransaction", STARTED)
            assert reply[:2] == [3, "2"]
            charge_point.hang_up()


async def test_a_start_that_is_held_is_answered_when_the_central_system_comes_back() -> None:
    port = a_free_port()
    async with (
        a_gateway(configuration(f"ws://127.0.0.1:{port}/ocpp")) as world,
        asyncio.TaskGroup() as tasks,
    ):
        assert (await post(world.url, soap_request("MeterValues"))).status == 200
        starting = tasks.create_task(post(world.url, soap_request("StartTransaction")))
        async with a_central_system(USUAL_ANSWERS, port) as central_system:
            assert transaction_id((await starting).body)
            assert [call[2] for call in central_system.calls] == ["MeterValues", "StartTransaction"]
            assert (await post(world.url, soap_request("Heartbeat"))).status == 200


async def test_another_policy_counts_from_the_reload_on() -> None:
    async with a_gateway(configuration(offline="{hold: 0s}")) as world:
        start = post_bytes(world.url, soap_request("StartTransaction"))
        assert await exchange_bytes(world.url, start) == b""
        await world.gateway.take_over(read_text(configuration(offline=PROVISIONAL)).config)
        assert transaction_id((await post(world.url, soap_request("StartTransaction"))).body)
        with pytest.raises(CannotReload, match=r"store\.url cannot change"):
            await world.gateway.take_over(read_text(configuration() + "store: {url: memory}\n").config)


async def test_a_route_has_a_policy_of_its_own() -> None:
    routes = "routes: [{name: all, match: any, upstream: main, offline: {authorize: accept}}]\n"
    async with a_gateway(configuration() + routes) as world:
        response = await post(world.url, soap_request("Authorize"))
        assert "<ocpp:status>Accepted</ocpp:status>" in response.body


# --- a store that cannot keep ---


async def test_while_nothing_can_be_kept_nothing_is_confirmed_and_the_gateway_is_not_ready() -> None:
    store = MemoryStore()
    async with a_gateway(configuration(NOBODY), store) as world:
        assert (await post(world.url, soap_request("MeterValues"))).status == 200
        store.problem = "the disk is full"
        other = soap_request("MeterValues").replace("450", "451")
        assert await exchange_bytes(world.url, post_bytes(world.url, other)) == b""
        beating = await post(world.url, soap_request("Heartbeat"))
        assert fault(beating.body)[:2] == ("Receiver", "InternalError")
        assert "the disk is full" in beating.body
        readiness = await get(f"{world.admin}/readyz?verbose")
        assert readiness.status == 503
        assert "messages cannot be kept: the disk is full" in readiness.body
        assert (await get(f"{world.admin}/livez")).status == 200
        store.problem = ""
        assert (await post(world.url, other)).status == 200
        assert (await post(world.url, soap_request("Heartbeat"))).status == 200
        assert (await get(f"{world.admin}/readyz")).status == 200


# --- a gateway of its own ---


@dataclass
class Running:
    process: asyncio.subprocess.Process
    url: str


async def run_gateway(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wattbridge", "run", "-c", str(folder / "gateway.yaml"),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@asynccontextmanager
async def a_process(folder: Path, text: str) -> AsyncIterator[Running]:
    """``wattbridge run``, with its store beside its configuration."""
    (folder / "gateway.yaml").write_text(text)
    process = await run_gateway(folder)
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b'"event":"ready"' not in (line := await process.stderr.readline()):
            assert line, "it has ended"
    address = json.loads(line)["listeners"]["soap"]
    try:
        yield Running(process, address)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.communicate()
