"""What a central system sees of being taken out of service and put back, and charge points meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.fakes import (
    USUAL_ANSWERS,
    CannedChargePoint,
    PlainWebSocket,
    a_central_system,
    a_charge_point,
    get,
    post,
    soap_central_system,
    soap_request,
)
from tests.interop.running import Running, running
from tests.test_fleet import CONNECT, RESET_BY_SOAP, TIME, a_websocket, configuration, metrics
from tests.test_reload import a_gateway
from tests.test_reload import configuration as reloaded
from wattbridge.relay.duty import State

ALL = "name: all, match: any, upstream: main"
QUICK = "failover: {after: 100ms, back_after: 100ms}"
METER_VALUES = {
    "connectorId": 1,
    "transactionId": 7,
    "meterValue": [{"timestamp": "2024-05-01T10:30:00Z", "sampledValue": [{"value": "450"}]}],
}
STOP = {"transactionId": 7, "timestamp": "2024-05-01T11:00:00Z", "meterStop": 900}
START = {"connectorId": 1, "idTag": "TAG", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 0}
STATUS = {"connectorId": 1, "status": "Available", "errorCode": "NoError"}


def say(gateway: Running, name: str, state: State) -> None:
    gateway.gateway.duties.change(name, state, "the test")


async def what_is_kept(charge_point: PlainWebSocket) -> None:
    """It says what goes on; all of it is answered without its central system."""
    assert await charge_point.call("2", "MeterValues", METER_VALUES) == [3, "2", {}]
    assert await charge_point.call("3", "StopTransaction", STOP) == [3, "3", {}]
    assert await charge_point.call("4", "StatusNotification", STATUS) == [3, "4", {}]
    reply = await charge_point.call("5", "Heartbeat", {})
    assert reply[2] != TIME  # it is the gateway's


SAID = ["StartTransaction", "MeterValues", "StopTransaction", "StatusNotification"]


def actions(central_system: CannedChargePoint) -> list[str]:
    return [found for each in central_system.heard for found in re.findall(r"Action[^>]*>/(\w+)<", each)]


async def test_a_json_central_system_gets_after_its_maintenance_what_was_said_meanwhile() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        running(configuration({"main": main.url}, ALL)) as gateway,
    ):
        charge_point = await a_websocket(gateway)
        await charge_point.call("1", "StartTransaction", START)
        before = await main.next()
        say(gateway, "main", "maint")
        await before.socket.wait_closed()
        assert before.socket.close_code == 1001
        assert before.socket.close_reason == "the central system is in maintenance"
        await what_is_kept(charge_point)
        assert [record.how for record in gateway.records] == ["", "kept", "kept", "kept", "offline"]
        page = await metrics(gateway)
        assert 'wattbridge_upstream_up{upstream="main"} 0.0' in page
        assert 'wattbridge_upstream_in_service{state="maint",upstream="main"} 1.0' in page
        assert 'wattbridge_upstream_in_service{state="ready",upstream="main"} 0.0' in page
        ready = await get(gateway.gateway.metrics_address.replace("/metrics", "/readyz"))
        assert ready.status == 200
        assert (main.identities, [call[2] for call in main.calls]) == (["CP1"], ["StartTransaction"])

        say(gateway, "main", "ready")
        await gateway.until(lambda: len(gateway.told("message delivered")) == 3)
        assert [call[2] for call in main.calls] == SAID
        assert main.calls[2][3]["transactionId"] == 7
        assert (main.identities, main.most_at_once) == (["CP1", "CP1"], 1)
        assert await charge_point.call("6", "Heartbeat", {}) == [3, "6", TIME]
        assert gateway.told("central system unreachable") == gateway.told("central system lost") == []
        assert 'wattbridge_upstream_up{upstream="main"} 1.0' in await metrics(gateway)
        charge_point.hang_up()


async def test_a_soap_central_system_gets_after_its_maintenance_what_was_said_meanwhile() -> None:
    """Whoever does the maintenance may have it call charge points all the same."""
    async with (
        a_charge_point(soap_central_system) as main,
        running(configuration({"main": main.url}, ALL)) as gateway,
    ):
        charge_point = await a_websocket(gateway)
        await charge_point.call("1", "StartTransaction", START)
        say(gateway, "main", "maint")
        await what_is_kept(charge_point)
        assert actions(main) == ["StartTransaction"]
        assert 'wattbridge_upstream_up{upstream="main"} 0.0' in await metrics(gateway)

        async with asyncio.TaskGroup() as tasks:
            address = gateway.url.removesuffix("/ocpp/cs") + "/ocpp/cp/CP1"
            asking = tasks.create_task(post(address, RESET_BY_SOAP.format(identity="CP1")))
            call = json.loads(await charge_point.text())
            assert call[2:] == ["Reset", {"type": "Soft"}]
            charge_point.send(json.dumps([3, call[1], {"status": "Accepted"}]))
        assert "Accepted" in asking.result().body

        say(gateway, "main", "ready")
        await gateway.until(lambda: len(gateway.told("message delivered")) == 3)
        assert actions(main) == SAID
        assert await charge_point.call("6", "Heartbeat", {}) == [3, "6", TIME]
        charge_point.hang_up()


@pytest.mark.parametrize("protocol", ["json", "soap"])
async def test_the_fallback_takes_over_at_once_and_until_after_the_maintenance(protocol: str) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as by_json,
        a_charge_point(soap_central_system) as by_soap,
        a_central_system(USUAL_ANSWERS) as spare,
    ):
        url = by_json.url if protocol == "json" else by_soap.url
        main = f"url: '{url}', {CONNECT}, probe: {{every: 100ms}}"
        way = f"{ALL}, fallback: spare, failover: {{after: 1h, back_after: 100ms}}"
        async with running(configuration({"main": main, "spare": spare.url}, way)) as gateway:
            charge_point = await a_websocket(gateway)
            assert await charge_point.call("1", "Heartbeat", {}) == [3, "1", TIME]
            say(gateway, "main", "maint")
            await gateway.until(lambda: bool(gateway.told("fail-over")))
            assert gateway.told("fail-over")[0].text == "to spare: main is in maintenance"
            assert await charge_point.call("2", "Heartbeat", {}) == [3, "2", TIME]
            assert gateway.records[-1].upstream == "spare"
            for state in ("drain", "maint"):  # neither is a reason to go back
                say(gateway, "main", state)
                await asyncio.sleep(0.3)
            assert gateway.told("fail-back") == []
            say(gateway, "main", "ready")
            await gateway.until(lambda: bool(gateway.told("fail-back")))
            assert await charge_point.call("3", "Heartbeat", {}) == [3, "3", TIME]
            assert gateway.records[-1].upstream == "main"
            assert len(spare.calls) == 1
            charge_point.hang_up()


async def test_a_drained_central_system_keeps_who_is_connected_and_gets_nobody_else() -> None:
    async with a_central_system(USUAL_ANSWERS) as main, a_central_system(USUAL_ANSWERS) as spare:
        ways = (
            f"name: one, match: {{charger: CP1}}, upstream: main, fallback: spare, {QUICK}",
            f"name: two, match: {{charger: CP2}}, upstream: main, fallback: spare, {QUICK}",
            ALL.replace("all", "three"),
        )
        chargers = "{CP1: , CP2: , CP3: }"
        text = configuration({"main": main.url, "spare": spare.url}, *ways, chargers=chargers)
        async with running(text) as gateway:
            first, third = await a_websocket(gateway), await a_websocket(gateway, "CP3")
            for each in (first, third):
                assert await each.call("1", "Heartbeat", {}) == [3, "1", TIME]
            say(gateway, "main", "drain")
            second = await a_websocket(gateway, "CP2")
            await gateway.until(lambda: bool(gateway.told("fail-over")))
            assert gateway.told("fail-over")[0].text == "to spare: main is being drained"
            for each in (first, second, third):
                assert await each.call("2", "Heartbeat", {}) == [3, "2", TIME]
            assert [record.upstream for record in gateway.records] == ["main"] * 3 + ["spare", "main"]
            assert 'wattbridge_upstream_up{upstream="main"} 1.0' in await metrics(gateway)
            # It closes the connections of both, as it does when it is stopped.
            for _ in range(2):
                await (await main.next()).socket.close(1001)
            await gateway.until(lambda: len(gateway.told("fail-over")) == 2)
            assert await first.call("3", "Heartbeat", {}) == [3, "3", TIME]
            assert await third.call("3", "StatusNotification", STATUS) == [3, "3", {}]
            assert [record.upstream for record in gateway.records[-2:]] == ["spare", "main"]
            assert gateway.records[-1].how == "kept"
            assert sorted(main.identities) == ["CP1", "CP3"]
            await asyncio.sleep(0.3)
            assert (gateway.told("fail-back"), sorted(main.identities)) == ([], ["CP1", "CP3"])

            say(gateway, "main", "ready")
            await gateway.until(lambda: bool(gateway.told("message delivered")))
            await gateway.until(lambda: len(gateway.told("fail-back")) == 2, within=20.0)
            for each in (first, second, third):
                each.hang_up()


async def test_a_drained_soap_central_system_gets_no_new_session() -> None:
    async with a_charge_point(soap_central_system) as main, a_central_system(USUAL_ANSWERS) as spare:
        way = f"{ALL}, fallback: spare, {QUICK}"
        async with running(configuration({"main": main.url, "spare": spare.url}, way)) as gateway:
            first = await a_websocket(gateway)
            assert await first.call("1", "Heartbeat", {}) == [3, "1", TIME]
            say(gateway, "main", "drain")
            second = await a_websocket(gateway, "CP2")
            await gateway.until(lambda: bool(gateway.told("fail-over")))
            for each in (first, second):
                assert await each.call("2", "Heartbeat", {}) == [3, "2", TIME]
            assert [record.upstream for record in gateway.records] == ["main", "main", "spare"]
            await asyncio.sleep(0.3)
            assert gateway.told("fail-back") == []
            first.hang_up()
            second.hang_up()


async def test_a_mirror_in_maintenance_gets_its_copies_when_it_is_back() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_central_system(USUAL_ANSWERS) as mirror,
        running(configuration({"main": main.url, "audit": mirror.url}, f"{ALL}, mirror: [audit]")) as gateway,
    ):
        charge_point = await a_websocket(gateway)
        await charge_point.call("1", "Heartbeat", {})
        await mirror.until_called(1)
        say(gateway, "audit", "maint")
        assert await charge_point.call("2", "StatusNotification", STATUS) == [3, "2", {}]
        assert len(main.calls) == 2
        await asyncio.sleep(0.2)
        assert (len(mirror.calls), mirror.identities) == (1, ["CP1"])
        say(gateway, "audit", "ready")
        await mirror.until_called(2)
        assert [call[2] for call in mirror.calls] == ["Heartbeat", "StatusNotification"]
        charge_point.hang_up()


async def test_a_reload_keeps_it_for_as_long_as_the_name_stays(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_gateway(tmp_path, reloaded(url=main.url)) as world,
    ):
        duties = world.gateway.duties
        duties.change("main", "maint")
        # Also when the central system is built anew.
        await world.reload(reloaded(url=main.url).replace("timeout: 5s", "timeout: 6s"))
        assert duties.of("main").state == "maint"
        await post(world.url, soap_request("StatusNotification", "CP1"))
        assert (main.identities, world.heard.records[-1].how) == ([], "kept")

        renamed = reloaded(url=main.url).replace("  main:", "  other_one:")
        await world.reload(renamed.replace("upstream: main", "upstream: other_one"))
        await world.reload(reloaded(url=main.url))
        assert duties.of("main").state == "ready"
        await world.heard.until(lambda: bool(world.heard.told("message delivered")))
        assert [call[2] for call in main.calls] == ["StatusNotification"]
