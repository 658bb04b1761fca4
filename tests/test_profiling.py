"""Which profile a charge point has, and what that does to its messages: on real sockets, SOAP and JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import (
    USUAL_ANSWERS,
    CannedCentralSystem,
    PlainWebSocket,
    a_central_system,
    a_charge_point,
    dial,
    fault,
    from_header,
    get,
    handshake,
    http_response,
    post,
    soap_central_system,
    soap_request,
    soap_result,
)
from tests.interop.running import Running, running
from wattbridge.app import Gateway
from wattbridge.config import load, read_text
from wattbridge.config.profiles import built_in_names
from wattbridge.links.handling import USUAL, Boot
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallResult, Change, Side
from wattbridge.profiling import Profiles
from wattbridge.relay.journal import Record
from wattbridge.reloading import Reloader
from wattbridge.store.base import Store
from wattbridge.store.memory import MemoryStore

ACME = """
  acme:
    products: [{vendor: ACME, model: "CC-*"}]
    firmware: "<2"
    unknown: {errorCode: {becomes: OtherError}}
    text: {truncate: firmwareVersion}
"""
TEXT = """
gateway: {{drain: 2s, unknown: {unknown}}}
listeners: {{all: {{bind: "127.0.0.1:0", paths: [/ocpp/cs, "/ocpp/{{charger}}"]}}}}
upstreams:
  main: {{url: "{url}", connect: {{timeout: 5s, rate: 1000/s, backoff: {{first: 10ms, max: 20ms}}}}}}
{routes}
profiles: {profiles}
chargers: {chargers}
callbacks: {{networks: [127.0.0.0/8], timeout: 5s}}
metrics: {{bind: "127.0.0.1:0"}}
"""
BOOT = {"chargePointVendor": "ACME", "chargePointModel": "CC-1", "firmwareVersion": "1.3"}
ODD_STATUS = {"connectorId": 1, "status": "Faulted", "errorCode": "Oops"}
MENDED = {"connectorId": 1, "status": "Faulted", "errorCode": "OtherError", "vendorErrorCode": "Oops"}


def configuration(
    url: str,
    profiles: str = ACME,
    chargers: str = "{CP1: , CP2: }",
    routes: str = "",
    unknown: str = "refuse",
) -> str:
    return TEXT.format(url=url, profiles=profiles, chargers=chargers, routes=routes, unknown=unknown)


async def a_websocket(gateway: Running, identity: str = "CP1", **options: Any) -> PlainWebSocket:
    return await dial(gateway.host_and_port[1], handshake(f"/ocpp/{identity}", **options))


def boot_by_soap(vendor: str = "ACME", model: str = "CC-1", firmware: str = "1.3", more: str = "") -> str:
    fields = {"chargePointVendor": vendor, "chargePointModel": model, "firmwareVersion": firmware}
    return "".join(f"<cs:{name}>{value}</cs:{name}>" for name, value in fields.items()) + more


def status_by_soap(error: str = "Oops") -> str:
    return soap_request(
        "StatusNotification",
        inside=f"<cs:connectorId>1</cs:connectorId><cs:status>Faulted</cs:status><cs:errorCode>{error}</cs:errorCode>",
    )


def last(central_system: CannedCentralSystem) -> list[Any]:
    return central_system.calls[-1]


# --- by what a BootNotification says ---


async def test_a_json_charge_point_gets_the_profile_of_what_it_says_it_is() -> None:
    """Between two that speak JSON: without a profile its messages pass as they are."""
    async with a_central_system(USUAL_ANSWERS) as central, running(configuration(central.url)) as gateway:
        charge_point = await a_websocket(gateway)
        await charge_point.call("1", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == ODD_STATUS
        await charge_point.call("2", "BootNotification", BOOT)
        await charge_point.call("3", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == MENDED
        assert [record.profile for record in gateway.records] == ["", "acme", "acme"]
        assert [note.rule for note in gateway.records[-1].notes] == ["profile-fallback", "profile-kept"]
        # Another one has none, and another firmware of it neither.
        other = await a_websocket(gateway, "CP2")
        await other.call("1", "BootNotification", {**BOOT, "firmwareVersion": "2.0"})
        await other.call("2", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == ODD_STATUS
        await charge_point.call("4", "BootNotification", {**BOOT, "firmwareVersion": "2.0"})
        await charge_point.call("5", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == ODD_STATUS
        charge_point.hang_up()
        other.hang_up()


async def test_that_very_message_is_read_by_it() -> None:
    async with a_central_system(USUAL_ANSWERS) as central, running(configuration(central.url)) as gateway:
        charge_point = await a_websocket(gateway)
        await charge_point.call("1", "BootNotification", {**BOOT, "firmwareVersion": "1." + "3" * 60})
        assert last(central)[3]["firmwareVersion"] == "1." + "3" * 48
        charge_point.hang_up()
        answer = await post(
            gateway.url,
            soap_request("BootNotification", "CP2", inside=boot_by_soap(firmware="1." + "3" * 60)),
        )
        assert answer.status == 200
        assert last(central)[3]["firmwareVersion"] == "1." + "3" * 48


async def test_a_soap_charge_point_gets_the_profile_of_what_it_says_it_is() -> None:
    async with a_central_system(USUAL_ANSWERS) as central, running(configuration(central.url)) as gateway:
        refused = await post(gateway.url, status_by_soap())
        assert "'Oops' is not one of" in fault(refused.body)[2]
        await post(gateway.url, soap_request("BootNotification", inside=boot_by_soap()))
        assert (await post(gateway.url, status_by_soap())).status == 200
        assert last(central)[3] == MENDED
        assert gateway.gateway.fleet.told == {"CP1": Boot("ACME", "CC-1", "1.3")}


async def test_what_passes_between_soap_parties_does_not_with_rules() -> None:
    async with (
        a_charge_point(soap_central_system) as central,
        running(
            configuration(central.url).replace("{drain: 2s,", "{drain: 2s, public_url: 'http://gw:8080',")
        ) as gateway,
    ):
        await post(gateway.url, status_by_soap("NoError").replace("cs:", "mine:").replace(":cs=", ":mine="))
        assert "<mine:errorCode>" in await central.request()
        await post(gateway.url, soap_request("BootNotification", inside=boot_by_soap()))
        await central.request()
        await post(gateway.url, status_by_soap().replace("cs:", "mine:").replace(":cs=", ":mine="))
        assert "<ocpp:errorCode>OtherError</ocpp:errorCode>" in await central.request()


async def test_one_with_settings_alone_passes() -> None:
    profiles = "{acme: {products: [{vendor: ACME}], calls: {answered_here: Reset}}}"
    async with (
        a_central_system(USUAL_ANSWERS) as central,
        running(configuration(central.url, profiles)) as gateway,
    ):
        charge_point = await a_websocket(gateway)
        await charge_point.call("1", "BootNotification", {**BOOT, "own": "x"})
        await charge_point.call("2", "StatusNotification", ODD_STATUS)
        assert [call[3] for call in central.calls] == [{**BOOT, "own": "x"}, ODD_STATUS]
        session = gateway.gateway.registry.find("CP1")
        assert session is not None
        assert (session.profile, session.answered_here) == ("acme", frozenset({"Reset"}))
        charge_point.hang_up()


async def test_an_unlisted_charge_point_has_one_too() -> None:
    text = configuration("{}", chargers="{}", unknown="accept")
    async with (
        a_central_system(USUAL_ANSWERS) as central,
        running(text.replace("{}", central.url, 1)) as gateway,
    ):
        charge_point = await a_websocket(gateway, "stranger")
        await charge_point.call("1", "BootNotification", BOOT)
        await charge_point.call("2", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == MENDED
        charge_point.hang_up()


# --- by name ---


async def test_a_charge_point_has_the_profile_it_is_given() -> None:
    chargers = "{CP1: {profile: acme}, CP2: {profile: none}}"
    async with (
        a_central_system(USUAL_ANSWERS) as central,
        running(configuration(central.url, chargers=chargers)) as gateway,
    ):
        first, second = await a_websocket(gateway), await a_websocket(gateway, "CP2")
        await first.call("1", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == MENDED
        await first.call("2", "BootNotification", {**BOOT, "chargePointVendor": "Other"})
        await first.call("3", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == MENDED
        await second.call("1", "BootNotification", BOOT)
        await second.call("2", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == ODD_STATUS
        first.hang_up()
        second.hang_up()


async def test_a_route_gives_a_profile_to_those_that_take_it() -> None:
    routes = """
routes:
  - {name: odd, match: {model: "X*"}, upstream: main, profile: acme}
  - {name: rest, match: any, upstream: main}
"""
    async with (
        a_central_system(USUAL_ANSWERS) as central,
        running(configuration(central.url, routes=routes)) as gateway,
    ):
        charge_point = await a_websocket(gateway)
        await charge_point.call("1", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == ODD_STATUS
        await charge_point.call("2", "BootNotification", {"chargePointVendor": "V", "chargePointModel": "X1"})
        await charge_point.call("3", "StatusNotification", ODD_STATUS)
        assert last(central)[3] == MENDED
        assert gateway.records[-1].route == "odd"
        charge_point.hang_up()
        # Elsewhere what it says counts; by SOAP it is the same.
        await post(gateway.url, soap_request("BootNotification", "CP2", inside=boot_by_soap()))
        await post(gateway.url, status_by_soap().replace("CP1", "CP2"))
        assert last(central)[3] == MENDED
        assert gateway.records[-1].route == "rest"


# --- calls to charge points ---


async def call(gateway: Running, call: Call, identity: str = "CP1") -> Any:
    session = gateway.gateway.registry.find(identity)
    assert session is not None
    return (await session.ask(Side.CHARGE_POINT, call)).reply


async def test_calls_to_a_soap_charge_point_have_the_form_it_wants() -> None:
    profiles = """
  odd:
    products: [{vendor: ACME}]
    soap: {prefix: ns1, from: text, must_understand: no, reply_to: no, to: from}
    fields: [{action: Reset, set: {type: Soft}}]
"""
    accepted = http_response(soap_result("resetResponse", "<cp:status>Accepted</cp:status>"))
    async with (
        a_central_system(USUAL_ANSWERS) as central,
        a_charge_point(accepted) as charge_point,
        running(
            configuration(
                central.url, profiles, chargers=f"{{CP1: {{callback_url: '{charge_point.url}'}}}}"
            ).replace("{drain: 2s,", "{drain: 2s, public_url: 'http://gw:8080',")
        ) as gateway,
    ):
        boot = soap_request(
            "BootNotification", inside=boot_by_soap(), headers=from_header("http://inside/cp")
        )
        await post(gateway.url, boot)
        reset = Call("Reset", {"type": "Hard"})
        assert await call(gateway, reset) == CallResult({"status": "Accepted"})
        request = await charge_point.request()
        assert "<ns1:resetRequest><ns1:type>Soft</ns1:type></ns1:resetRequest>" in request
        assert "<wsa:From>http://gw:8080/ocpp/cs</wsa:From>" in request
        assert "<wsa:To>http://inside/cp</wsa:To>" in request
        assert "mustUnderstand" not in request
        assert "ReplyTo" not in request


async def test_a_call_has_the_time_and_the_tries_of_the_profile() -> None:
    profiles = """
  slow:
    products: [{vendor: ACME}]
    calls: {timeout: 200ms, retries: 2, retry_after: 0s}
"""
    async with (
        a_central_system(USUAL_ANSWERS) as central,
        a_charge_point() as charge_point,
        running(configuration(central.url, profiles)) as gateway,
    ):
        charge_point.may_answer.clear()
        boot = soap_request("BootNotification", inside=boot_by_soap(), headers=from_header(charge_point.url))
        await post(gateway.url, boot)
        with pytest.raises(Unreachable, match=r"within 0\.2 s"):
            await call(gateway, Call("Reset", {"type": "Hard"}))
        assert len(charge_point.heard) == 1  # nobody knows whether it was done
        with pytest.raises(Unreachable, match=r"within 0\.2 s"):
            await call(gateway, Call("GetConfiguration", {}))
        assert len(charge_point.heard) == 4
        by_json = await a_websocket(gateway, "CP2")
        await by_json.call("1", "BootNotification", BOOT)
        with pytest.raises(Unreachable, match=r"within 0\.2 s"):
            await call(gateway, Call("GetConfiguration", {}), "CP2")
        asked = [json.loads(await by_json.text())[2] for _ in range(3)]
        assert asked == ["GetConfiguration"] * 3
        by_json.hang_up()


async def test_faults_have_the_status_of_the_profile() -> None:
    profiles = "{odd: {soap: {fault_status: 200}}}"
    answers = {key: value for key, value in USUAL_ANSWERS.items() if key != "Authorize"}
    async with (
        a_central_system(answers) as central,
        running(configuration(central.url, profiles, "{CP1: {profile: odd}, CP2: }")) as gateway,
    ):
        for identity, status in (("CP1", 200), ("CP2", 400)):
            broken = await post(gateway.url, status_by_soap().replace("CP1", identity))
            assert (broken.status, fault(broken.body)[1]) == (status, "ProtocolError")
            unknown = await post(
                gateway.url, soap_request("Heartbeat", identity).replace("heartbeatR", "flyR")
            )
            assert unknown.status == (200 if identity == "CP1" else 500)


async def test_a_refusal_of_the_central_system_has_it_too() -> None:
    profiles = "{odd: {soap: {fault_status: 200}}}"
    async with (
        a_central_system() as central,
        running(configuration(central.url, profiles, "{CP1: {profile: odd}}")) as gateway,
    ):
        posting = asyncio.ensure_future(post(gateway.url, soap_request("DataTransfer")))  # noqa: TID251
        asked = await central.next()
        frame = await asked.frame()
        await asked.send(json.dumps([4, frame[1], "NotSupported", "no", {}]))
        refused = await posting
        assert (refused.status, fault(refused.body)[1]) == (200, "NotSupported")


# --- WebSockets ---


async def test_subprotocols_are_those_of_the_profile() -> None:
    profiles = "{odd: {websocket: {also: [OCPP16]}}, strict: {websocket: {subprotocol: required}}}"
    chargers = "{CP1: {profile: odd}, CP2: , CP3: {profile: strict}}"
    async with (
        a_central_system(USUAL_ANSWERS) as central,
        running(configuration(central.url, profiles, chargers)) as gateway,
    ):
        served = await a_websocket(gateway, subprotocol="ocpp16")
        assert served.header("sec-websocket-protocol") == "ocpp16"
        served.hang_up()
        for identity, subprotocol in (("CP2", "ocpp16"), ("CP3", None)):
            refused = await a_websocket(gateway, identity, subprotocol=subprotocol)
            assert (await refused.closed())[0] == 1002
            refused.hang_up()


async def test_what_a_route_requires_a_profile_may_leave() -> None:
    routes = "routes: [{name: all, match: any, upstream: main, subprotocol: required}]"
    profiles = "{odd: {websocket: {subprotocol: optional}}}"
    async with (
        a_central_system(USUAL_ANSWERS) as central,
        running(configuration(central.url, profiles, "{CP1: {profile: odd}, CP2: }", routes)) as gateway,
    ):
        served = await a_websocket(gateway, subprotocol=None)
        await served.call("1", "Heartbeat", {})
        served.hang_up()
        refused = await a_websocket(gateway, "CP2", subprotocol=None)
        assert (await refused.closed())[0] == 1002
        refused.hang_up()


def test_a_profile_has_zone_and_pings_of_its_own() -> None:
    profiles = "{p: {time: {zone: Asia/Tokyo}, websocket: {ping: {every: 7s}}}}"
    chargers = "{CP1: {profile: p}, CP2: {profile: p, zone: Europe/Berlin, ping: {every: 9s}}, CP3: }"
    config = read_text(configuration("ws://127.0.0.1:9/", profiles, chargers)).config
    fleet = Gateway(config).fleet
    found = {
        identity: (known.dialect.options.zone, known.ping_interval, known.passes)
        for identity, known in fleet.listed.items()
    }
    assert found == {
        "CP1": ("Asia/Tokyo", 7.0, False),
        "CP2": ("Europe/Berlin", 9.0, False),
        "CP3": ("UTC", 60.0, True),
    }
    assert fleet.listed["CP3"].handling is USUAL


# --- restart and reload ---


@asynccontextmanager
async def with_store(text: str, store: Store) -> AsyncIterator[tuple[Gateway, list[Record], str]]:
    gateway = Gateway(read_text(text).config, store)
    records: list[Record] = []
    gateway.journal.listen(record=records.append)
    ready, stopping = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.run(stopping, ready.set))
        await ready.wait()
        try:
            yield gateway, records, gateway.addresses["all"]
        finally:
            stopping.set()


async def test_what_a_charge_point_is_stays_known_after_a_restart() -> None:
    store = MemoryStore()
    async with a_central_system(USUAL_ANSWERS) as central:
        async with with_store(configuration(central.url), store) as (_, _, url):
            await post(url, soap_request("BootNotification", inside=boot_by_soap()))
            websocket = await dial(int(url.split(":")[2].partition("/")[0]), handshake("/ocpp/CP2"))
            await websocket.call("1", "BootNotification", BOOT)
            websocket.hang_up()
        async with with_store(configuration(central.url), store) as (_, records, url):
            assert (await post(url, status_by_soap())).status == 200
            assert last(central)[3] == MENDED
            websocket = await dial(int(url.split(":")[2].partition("/")[0]), handshake("/ocpp/CP2"))
            await websocket.call("1", "StatusNotification", ODD_STATUS)
            assert last(central)[3] == MENDED
            websocket.hang_up()
            assert [record.profile for record in records] == ["acme", "acme"]


async def test_a_reload_changes_the_profile_from_the_next_message_on(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with a_central_system(USUAL_ANSWERS) as central:
        file.write_text(configuration(central.url, "{}"))
        loaded = load(file)
        gateway = Gateway(loaded.config)
        reloader = Reloader(gateway, partial(load, file), loaded)
        ready, stopping = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.run(stopping, ready.set))
            await ready.wait()
            url = gateway.addresses["all"]
            websocket = await dial(int(url.split(":")[2].partition("/")[0]), handshake("/ocpp/CP2"))
            await websocket.call("1", "BootNotification", BOOT)
            await websocket.call("2", "StatusNotification", ODD_STATUS)
            assert last(central)[3] == ODD_STATUS
            await post(url, soap_request("BootNotification", inside=boot_by_soap()))
            for profiles, identity, status in (
                (ACME, "acme", MENDED),
                (ACME.replace("acme", "other").replace("OtherError", "InternalError"), "other",
                 {**MENDED, "errorCode": "InternalError"}),
                ("{}", "", ODD_STATUS),
            ):  # fmt: skip
                file.write_text(configuration(central.url, profiles))
                await reloader.reload("the test")
                for charger in ("CP1", "CP2"):
                    session = gateway.registry.find(charger)
                    assert session is not None
                    assert session.profile == identity
                await websocket.call(f"3-{identity}", "StatusNotification", ODD_STATUS)
                assert last(central)[3] == status
                answer = await post(url, status_by_soap())
                assert answer.status == (200 if identity else 400)
                if identity:
                    assert last(central)[3] == status
            websocket.hang_up()
            stopping.set()


# --- what the operator sees ---


async def test_what_a_profile_does_is_counted_and_told() -> None:
    async with a_central_system(USUAL_ANSWERS) as central, running(configuration(central.url)) as gateway:
        await post(gateway.url, soap_request("BootNotification", inside=boot_by_soap()))
        await post(gateway.url, status_by_soap())
        page = (await get(gateway.gateway.metrics_address)).body
        assert 'wattbridge_quirks_applied_total{profile="acme",quirk="profile-fallback"} 1.0' in page
        [change, _] = gateway.records[-1].notes
        assert change == Change("StatusNotification.errorCode", "Oops", "OtherError", "profile-fallback")
        gateway.gateway.metrics.count(replace(gateway.records[-1], profile="gone"))
        assert (
            'wattbridge_quirks_applied_total{profile="_other",quirk="profile-fallback"} 1.0'
            in (await get(gateway.gateway.metrics_address)).body
        )


# --- the choice ---


def profiles(text: str = "{}") -> Profiles:
    return Profiles(read_text(configuration("ws://127.0.0.1:9/", text)).config)


def test_ours_are_there_and_the_operators_own_come_first() -> None:
    found = profiles("{mine: {products: [{vendor: Legrand}]}, keba: {}}")
    assert found.names()[:2] == ["mine", "keba"]
    assert set(found.names()) == built_in_names() | {"mine"}
    legrand, keba = found.choose(Boot("LEGRAND", "GreenUp", "")), found.choose(Boot("KEBA", "P30", ""))
    assert legrand is not None
    assert (legrand.name, legrand.own) == ("mine", True)
    assert keba is None  # it has taken the place of ours, and is for nobody
    assert found.named("keba").own
    with pytest.raises(KeyError):
        found.named("nobody")


@pytest.mark.parametrize(
    ("boot", "name"),
    [
        (Boot("ABB", "CDT_TACW22::NET_WIFI", "TAC3Z9119006710273::V1.8.21"), "abb-terra-ac"),
        (Boot("ABB", "CDT_TACW22::NET_WIFI", "TAC3Z9119006710273::V1.6.9"), "abb-terra-ac"),
        (Boot("ABB", "CDT_TACW22::NET_WIFI", "TAC3Z9119006710273::V1.8.32"), None),
        (Boot("", "ACChargePoint", ""), "huawei-scharger"),
        (Boot("Huawei", "ACChargePoint", ""), "huawei-scharger"),
        (Boot("Other", "ACChargePoint", ""), None),
        (Boot("Growatt", "THOR_11AS", "THOR_11AS-V5.2.4-20230307-NOVO"), "growatt-thor"),
        (Boot("Keba AG", "KC-P30-ES2400E2-M0A", ""), "keba"),
        (Boot("ACME", "CC-1", "1.3"), None),
        (Boot("", "", ""), None),
    ],
)
def test_ours_are_for_the_charge_points_that_were_seen(boot: Boot, name: str | None) -> None:
    found = profiles().choose(boot)
    assert (found.name if found else None) == name


def test_no_two_of_ours_are_for_the_same_charge_point() -> None:
    found = profiles()
    for boot in (Boot("Vestel", "EVC04", "1"), Boot("KEBA", "P30", "1"), Boot("EVduty", "x", "1")):
        assert len([name for name in found.names() if not found.why_not(name, boot)]) == 1


def test_why_a_profile_is_not_chosen() -> None:
    found = profiles("{mine: {products: [{vendor: A*, model: B}, {vendor: C}], firmware: '<2'}}")
    assert found.why_not("mine", Boot("Axx", "B", "1")) == ""
    assert found.why_not("mine", Boot("C", "Z", "3")) == (
        "vendor is 'C', not like 'A*'; model is 'Z', not like 'B'; firmware is '3', not <2"
        " / firmware is '3', not <2"
    )
    assert found.why_not("chago", Boot("Chago", "", "")) == "it names no products"
