"""A mixed fleet on real sockets: which way each charge point goes, under which name, and who reads along."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidHandshake
from websockets.typing import Subprotocol

from tests.fakes import (
    USUAL_ANSWERS,
    CannedCentralSystem,
    PlainWebSocket,
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
    post,
    post_bytes,
    soap_central_system,
    soap_request,
    soap_result,
)
from tests.interop.running import Running, a_free_port, running
from wattbridge.operation import logs

CONFIGURATION = """
gateway: {{drain: 2s, unknown: {unknown}, public_url: "http://gateway.example"}}
listeners: {{all: {{bind: "127.0.0.1:0", paths: [/ocpp/cs, "/ocpp/{{charger}}"]}}}}
upstreams:
{upstreams}
routes:
{routes}
chargers: {chargers}
callbacks: {{networks: [127.0.0.0/8]}}
metrics: {{bind: "127.0.0.1:0"}}
"""
CONNECT = "connect: {timeout: 5s, rate: 1000/s, backoff: {first: 10ms, max: 20ms}}"


def configuration(
    upstreams: dict[str, str], *routes: str, chargers: str = "{CP1: , CP2: }", unknown: str = "refuse"
) -> str:
    """*upstreams* are URLs by name, or the inside of a section; *routes* the insides of theirs, in order."""
    sections = [
        f"  {name}: {{{section if section.startswith('url:') else f'url: {section!r}, {CONNECT}'}}}"
        for name, section in upstreams.items()
    ]
    return CONFIGURATION.format(
        upstreams="\n".join(sections),
        routes="\n".join(f"  - {{{route}}}" for route in routes),
        chargers=chargers,
        unknown=unknown,
    )


async def a_websocket(gateway: Running, identity: str = "CP1", *headers: str) -> PlainWebSocket:
    return await dial(gateway.host_and_port[1], handshake(f"/ocpp/{identity}", *headers))


async def metrics(gateway: Running) -> str:
    return (await get(gateway.gateway.metrics_address)).body


BOOT = {"chargePointVendor": "ACME", "chargePointModel": "M"}
BOOT_BY_SOAP = "<cs:chargePointVendor>ACME</cs:chargePointVendor><cs:chargePointModel>M</cs:chargePointModel>"
TIME = {"currentTime": "2024-05-01T10:00:00Z"}


# --- routes -------------------------------------------------------------------------------------------------


async def test_each_charge_point_goes_to_the_central_system_of_its_route() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as one,
        a_charge_point(soap_central_system) as other,
        running(
            configuration(
                {"one": one.url, "other": other.url},
                "name: first, match: {charger: CP1}, upstream: one",
                "name: rest, match: any, upstream: other",
            )
        ) as gateway,
    ):
        first, second = await a_websocket(gateway, "CP1"), await a_websocket(gateway, "CP2")
        assert await first.call("1", "Heartbeat", {}) == [3, "1", TIME]
        assert await second.call("1", "Heartbeat", {}) == [3, "1", TIME]
        assert one.identities == ["CP1"]
        assert "chargeBoxIdentity>CP2<" in await other.request()
        assert [(record.identity, record.route, record.upstream) for record in gateway.records] == [
            ("CP1", "first", "one"),
            ("CP2", "rest", "other"),
        ]
        first.hang_up()
        second.hang_up()


BY_VENDOR = (
    "name: acme, match: {vendor: ACME}, upstream: acme",
    "name: rest, match: any, upstream: main",
)


async def test_a_json_charge_point_goes_its_way_when_it_has_said_what_it_is() -> None:
    async with (
        a_central_system() as main,
        a_central_system() as acme,
        running(configuration({"main": main.url, "acme": acme.url}, *BY_VENDOR)) as gateway,
    ):
        charge_point = await a_websocket(gateway)
        charge_point.send('[2,"1","Heartbeat",{}]')
        at_main = await main.next()
        await at_main.answer(TIME, "Heartbeat")
        assert json.loads(await charge_point.text()) == [3, "1", TIME]

        charge_point.send(json.dumps([2, "2", "BootNotification", BOOT]))
        at_acme = await acme.next()
        await at_acme.answer(USUAL_ANSWERS["BootNotification"], "BootNotification")
        assert json.loads(await charge_point.text())[2]["status"] == "Accepted"
        assert await at_main.close_code() == 1001
        [changed] = gateway.told("route changed")
        assert (changed.identity, changed.text) == ("CP1", "acme to acme")

        await at_acme.send('[2,"a","Reset",{"type":"Soft"}]')
        reset = json.loads(await charge_point.text())
        charge_point.send(json.dumps([3, reset[1], {"status": "Accepted"}]))
        assert await at_acme.frame() == [3, "a", {"status": "Accepted"}]
        charge_point.hang_up()

        # What was learned is known when it comes back.
        await gateway.until(lambda: bool(gateway.told("charge point disconnected")))
        charge_point = await a_websocket(gateway)
        charge_point.send('[2,"3","Heartbeat",{}]')
        await at_acme.answer(TIME, "Heartbeat")
        assert json.loads(await charge_point.text()) == [3, "3", TIME]
        charge_point.hang_up()


async def test_no_message_is_lost_when_the_route_changes_in_the_middle_of_it() -> None:
    """Messages of a SOAP charge point may be under way at the same time, and calls of its central system."""
    async with (
        a_charge_point(
            http_response(soap_result("resetResponse", "<cp:status>Accepted</cp:status>"))
        ) as called,
        a_central_system() as main,
        a_central_system() as acme,
        running(configuration({"main": main.url, "acme": acme.url}, *BY_VENDOR)) as gateway,
        asyncio.TaskGroup() as tasks,
    ):
        header = from_header(called.url)
        starting = tasks.create_task(post(gateway.url, soap_request("StartTransaction", headers=header)))
        at_main = await main.next()
        start = await at_main.frame()
        called.may_answer.clear()
        await at_main.send('[2,"a","Reset",{"type":"Soft"}]')
        await called.request()

        # Boot: the two exchanges with the old central system are under way, this one goes to the new one.
        boot = soap_request("BootNotification", inside=BOOT_BY_SOAP)
        booting = tasks.create_task(post(gateway.url, boot))
        waiting = tasks.create_task(post(gateway.url, soap_request("Heartbeat")))
        at_acme = await acme.next()
        for _ in range(2):
            call = await at_acme.frame()
            await at_acme.send(json.dumps([3, call[1], USUAL_ANSWERS[call[2]]]))
        assert "Accepted" in (await booting).body
        assert (await waiting).status == 200
        assert not starting.done()

        called.may_answer.set()
        assert await at_main.frame() == [3, "a", {"status": "Accepted"}]
        await at_main.send(json.dumps([3, start[1], USUAL_ANSWERS["StartTransaction"]]))
        assert "<ocpp:transactionId>7</ocpp:transactionId>" in (await starting).body
        assert await at_main.close_code() == 1001
        assert [record.reason for record in gateway.records] == [""] * 4


# --- charge points that are turned away ---------------------------------------------------------------------

STRANGERS = (
    "name: strangers, match: {known: false}, "
    "reject: {boot_status: Rejected, interval: 2h, error: SecurityError, description: not here}",
    "name: rest, match: any, upstream: main",
)


async def test_a_json_stranger_is_rejected_at_boot_and_refused_after() -> None:
    async with running(configuration({"main": "ws://127.0.0.1:9/ocpp"}, *STRANGERS)) as gateway:
        stranger = await a_websocket(gateway, "X9")
        assert stranger.status == 101
        booted = await stranger.call("1", "BootNotification", BOOT)
        assert booted[:2] == [3, "1"]
        assert (booted[2]["status"], booted[2]["interval"]) == ("Rejected", 7200)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", booted[2]["currentTime"])
        for action, payload in (("Heartbeat", {}), ("Authorize", {"idTag": "1"})):
            assert await stranger.call("2", action, payload) == [4, "2", "SecurityError", "not here", {}]
        stranger.hang_up()


async def test_a_soap_stranger_is_rejected_at_boot_and_refused_after() -> None:
    async with running(configuration({"main": "ws://127.0.0.1:9/ocpp"}, *STRANGERS)) as gateway:
        booted = await post(gateway.url, soap_request("BootNotification", "X9"))
        assert "<ocpp:status>Rejected</ocpp:status>" in booted.body
        assert "<ocpp:interval>7200</ocpp:interval>" in booted.body
        for action in ("Heartbeat", "StartTransaction"):  # it is not kept to be sent again: nobody wants it
            refused = await post(gateway.url, soap_request(action, "X9"))
            assert fault(refused.body) == ("Sender", "SecurityError", "SecurityError: not here")


# --- what central systems call it ---------------------------------------------------------------------------

REWRITTEN = "name: all, match: any, upstream: main, identity: {rewrite: '^(.*)$', to: 'SITE7-\\\\1'}"


async def test_a_json_central_system_calls_it_by_another_name(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", "json")
    async with (
        a_central_system() as main,
        running(configuration({"main": main.url}, REWRITTEN.replace("'", '"'))) as gateway,
    ):
        logs.ExchangeLog().listen_to(gateway.gateway.journal)
        charge_point = await a_websocket(gateway)
        charge_point.send('[2,"1","Heartbeat",{}]')
        connected = await main.next()
        assert connected.path == "/ocpp/SITE7-CP1"
        await connected.answer(TIME, "Heartbeat")
        assert json.loads(await charge_point.text()) == [3, "1", TIME]
        charge_point.hang_up()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    [relayed] = [line for line in lines if line["event"] == "call relayed"]
    assert (relayed["identity"], relayed["known_as"]) == ("CP1", "SITE7-CP1")
    logs.set_up("error", "console")


@pytest.mark.parametrize("transport", ["soap", "json"])
async def test_a_soap_central_system_calls_it_by_another_name(transport: str) -> None:
    """In the header, in the address where it is called, and in what comes there; it hears only its own."""
    accepted = http_response(soap_result("resetResponse", "<cp:status>Accepted</cp:status>"))
    async with (
        a_charge_point(soap_central_system) as main,
        a_charge_point(accepted) as called,
        running(configuration({"main": main.url}, REWRITTEN.replace("'", '"'))) as gateway,
        asyncio.TaskGroup() as tasks,
    ):
        socket = await a_websocket(gateway) if transport == "json" else None
        if socket is not None:
            assert await socket.call("1", "Heartbeat", {}) == [3, "1", TIME]
        else:
            heartbeat = soap_request("Heartbeat", headers=from_header(called.url))
            assert (await post(gateway.url, heartbeat)).status == 200
        asked = await main.request()
        assert "chargeBoxIdentity>SITE7-CP1<" in asked
        found = re.search(r"<wsa:From><wsa:Address>http://gateway\.example(.*?)</wsa:Address>", asked)
        assert found is not None
        assert found[1] == "/ocpp/cp/SITE7-CP1"

        reset = RESET_BY_SOAP.format(identity="SITE7-CP1")
        address = gateway.url.removesuffix("/ocpp/cs") + found[1]
        resetting = tasks.create_task(post(address, reset))
        if socket is not None:
            call = json.loads(await socket.text())
            assert call[2:] == ["Reset", {"type": "Soft"}]
            socket.send(json.dumps([3, call[1], {"status": "Accepted"}]))
        else:
            heard = await called.request()
            assert "chargeBoxIdentity>CP1</" in heard
            assert "SITE7" not in heard
        assert "Accepted" in (await resetting).body
        names = {(record.identity, record.known_as) for record in gateway.records}
        assert names == {("CP1", "SITE7-CP1")}
        # Its own name is not its name there.
        response = await post(address.replace("SITE7-", ""), RESET_BY_SOAP.format(identity="CP1"))
        assert response.status in (400, 500)
        if socket is not None:
            socket.hang_up()


async def test_two_that_get_one_name_are_told() -> None:
    """A central system sees each name once; the second charge point waits until the first is gone."""
    rewritten = 'name: all, match: any, upstream: main, identity: {rewrite: "^CP[12]$", to: "CP"}'
    text = configuration({"main": f"url: 'URL', {CONNECT.replace('5s', '1s')}"}, rewritten)
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        running(text.replace("URL", main.url)) as gateway,
    ):
        first, second = await a_websocket(gateway, "CP1"), await a_websocket(gateway, "CP2")
        assert await first.call("1", "Heartbeat", {}) == [3, "1", TIME]
        assert (await second.call("1", "DataTransfer", {"vendorId": "V"}))[:3] == [4, "1", "GenericError"]
        [taken] = gateway.told("name taken")
        assert (taken.identity, taken.text) == (
            "CP2",
            "central system main knows CP1 as CP already; until that is gone, there may be no connection for "
            "this one",
        )
        assert main.most_at_once == 1
        first.hang_up()
        second.hang_up()


RESET_BY_SOAP = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:cp="urn://Ocpp/Cp/2015/10/">'
    "<s:Header><cp:chargeBoxIdentity>{identity}</cp:chargeBoxIdentity></s:Header>"
    "<s:Body><cp:resetRequest><cp:type>Soft</cp:type></cp:resetRequest></s:Body></s:Envelope>"
)


# --- mirrors ------------------------------------------------------------------------------------------------


async def test_a_mirror_has_transaction_numbers_of_its_own_and_no_say() -> None:
    async with (
        a_central_system() as main,
        a_central_system() as mirror,
        running(
            configuration(
                {"main": main.url, "billing": mirror.url},
                "name: all, match: any, upstream: main, mirror: [billing]",
            )
        ) as gateway,
    ):
        charge_point = await a_websocket(gateway)
        start: dict[str, Any] = {"connectorId": 1, "idTag": "T", "timestamp": TIME["currentTime"]}
        charge_point.send(json.dumps([2, "1", "StartTransaction", start | {"meterStart": 0}]))
        at_main, at_mirror = await main.next(), await mirror.next()
        await at_main.answer({"transactionId": 7, "idTagInfo": {"status": "Accepted"}}, "StartTransaction")
        assert json.loads(await charge_point.text())[2]["transactionId"] == 7
        copied = await at_mirror.answer(
            {"transactionId": 99, "idTagInfo": {"status": "Blocked"}}, "StartTransaction"
        )
        assert copied[3] == start | {"meterStart": 0}

        stop = {"transactionId": 7, "timestamp": TIME["currentTime"], "meterStop": 900}
        charge_point.send(json.dumps([2, "2", "StopTransaction", stop]))
        assert (await at_main.answer({}, "StopTransaction"))[3] == stop
        assert json.loads(await charge_point.text()) == [3, "2", {}]
        assert (await at_mirror.answer({}, "StopTransaction"))[3] == stop | {"transactionId": 99}

        await at_mirror.send('[2,"r","RemoteStartTransaction",{"idTag":"T"}]')
        assert (await at_mirror.frame())[:3] == [4, "r", "NotSupported"]
        [refused] = gateway.told("mirror refused")
        assert refused.text == "RemoteStartTransaction of mirror billing was refused: a mirror has no say"
        assert 'wattbridge_mirror_refusals_total{upstream="billing"} 1.0' in await metrics(gateway)
        assert [record.action for record in gateway.records] == ["StartTransaction", "StopTransaction"]
        charge_point.hang_up()


async def test_a_soap_mirror_is_not_told_where_the_charge_point_is_called() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_charge_point(soap_central_system) as mirror,
        running(
            configuration(
                {"main": main.url, "billing": mirror.url},
                "name: all, match: any, upstream: main, mirror: [billing]",
            )
        ) as gateway,
    ):
        assert (await post(gateway.url, soap_request("Heartbeat"))).status == 200
        copied = await mirror.request()
        assert "heartbeatRequest" in copied
        assert "wsa:From" not in copied
        # Nor may it call there.
        address = gateway.url.removesuffix("/ocpp/cs") + "/ocpp/cp/CP1"
        response = await post(address, RESET_BY_SOAP.format(identity="CP1"))
        assert fault(response.body)[:2] == ("Receiver", "InternalError")


async def test_a_mirror_that_never_answers_costs_the_main_path_nothing() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_central_system() as mirror,
        running(
            configuration(
                {"main": main.url, "billing": mirror.url, "gone": "ws://127.0.0.1:9/ocpp"},
                "name: all, match: any, upstream: main, mirror: [billing, gone], mirror_queue: 3",
            )
        ) as gateway,
    ):
        charge_point = await a_websocket(gateway)
        for number in range(10):
            message_id = str(number)
            assert await charge_point.call(message_id, "Heartbeat", {}) == [3, message_id, TIME]
        assert len(main.calls) == 10
        at_mirror = await mirror.next()
        assert (await at_mirror.frame())[2] == "Heartbeat"  # and nothing more, as long as it does not answer
        dropped = gateway.told("mirror dropped")
        assert {event.labels["upstream"] for event in dropped} == {"billing", "gone"}
        assert {event.reason for event in dropped} == {"queue_full"}
        assert [record.reason for record in gateway.records] == [""] * 10
        charge_point.hang_up()


# --- fail-over ----------------------------------------------------------------------------------------------


async def test_the_second_central_system_stands_in_until_the_first_is_back() -> None:
    """From JSON to SOAP and back; the charge point notices nothing."""
    port = a_free_port()
    async with (
        a_charge_point(soap_central_system) as second,
        running(
            configuration(
                {
                    "first": f"url: 'ws://127.0.0.1:{port}/ocpp', {CONNECT}, probe: {{every: 100ms}}",
                    "second": second.url,
                },
                "name: all, match: any, upstream: first, fallback: second, "
                "failover: {after: 100ms, back_after: 100ms}",
            )
        ) as gateway,
    ):
        async with a_central_system(USUAL_ANSWERS, port) as first:
            charge_point = await a_websocket(gateway)
            assert await charge_point.call("1", "Heartbeat", {}) == [3, "1", TIME]
            assert gateway.records[-1].upstream == "first"
            assert [call[2] for call in first.calls] == ["Heartbeat"]

        await gateway.until(lambda: bool(gateway.told("fail-over")))
        assert await charge_point.call("2", "Heartbeat", {}) == [3, "2", TIME]
        assert gateway.records[-1].upstream == "second"
        assert "heartbeatRequest" in await second.request()
        [over] = gateway.told("fail-over")
        assert (over.identity, over.text) == ("CP1", "to second: first has not been reachable for 0.1 s")

        async with a_central_system(USUAL_ANSWERS, port) as first:
            await gateway.until(lambda: bool(gateway.told("fail-back")))
            assert await charge_point.call("3", "Heartbeat", {}) == [3, "3", TIME]
            assert gateway.records[-1].upstream == "first"
            assert [call[2] for call in first.calls] == ["Heartbeat"]
            page = await metrics(gateway)
            assert 'wattbridge_failovers_total{upstream="second"} 1.0' in page
            assert 'wattbridge_failovers_total{upstream="first"} 1.0' in page
            charge_point.hang_up()


# --- passwords ----------------------------------------------------------------------------------------------

KEY = "0123456789abcdef0123456789ABCDEF00112233"  # an AuthorizationKey: 20 bytes, as hexadecimal digits


def basic(identity: str, password: bytes) -> str:
    return "Authorization: Basic " + base64.b64encode(identity.encode() + b":" + password).decode()


@asynccontextmanager
async def with_passwords(upstream: str) -> AsyncIterator[Running]:
    text = configuration(
        {"main": f"url: '{upstream}', {CONNECT}, auth: {{basic: {{username: '{{charger}}'}}}}"},
        "name: all, match: any, upstream: main",
        chargers="{CP1: {password: {env: CP1}, upstream_password: {env: UP1}},"
        " CP2: {password: {env: CP2}, upstream_password: {env: UP2}}}",
    )
    async with running(
        text, {"CP1": KEY, "CP2": "pass: wörd", "UP1": "for one", "UP2": "for two"}
    ) as gateway:
        yield gateway


GENUINE = [
    ("CP1", KEY.encode()),
    ("CP1", bytes.fromhex(KEY)),
    ("CP2", "pass: wörd".encode()),
]
FALSE = [
    ("CP1", "pass: wörd".encode()),
    ("CP1", b""),
    ("CP2", KEY.encode()),
]


async def test_every_charge_point_is_let_in_by_its_own_password_and_shown_under_its_own() -> None:
    """Basic authentication in both roles, over JSON and SOAP at either end (OCPP-J 1.6, 6.2)."""
    async with a_central_system(USUAL_ANSWERS) as main, with_passwords(main.url) as gateway:
        for number, (identity, password) in enumerate(GENUINE, 1):
            charge_point = await a_websocket(gateway, identity, basic(identity, password))
            assert charge_point.status == 101
            assert await charge_point.call("1", "Heartbeat", {}) == [3, "1", TIME]
            charge_point.hang_up()
            await gateway.until(lambda: len(gateway.told("charge point disconnected")) == number)  # noqa: B023
            by_soap = soap_request("Heartbeat", identity)
            response = await post_with(gateway, by_soap, basic(identity, password))
            assert response.status == 200
        for identity, password in FALSE:
            refused = await a_websocket(gateway, identity, basic(identity, password))
            assert refused.status == 401
            assert refused.header("WWW-Authenticate") == 'Basic realm="OCPP", charset="UTF-8"'
            refused.hang_up()
            response = await post_with(
                gateway, soap_request("Heartbeat", identity), basic(identity, password)
            )
            assert fault(response.body)[:2] == ("Sender", "SecurityError")
        presented = {}
        while not main.connected.empty():
            connected = await main.next()
            assert connected.socket.request is not None
            presented[connected.identity] = connected.socket.request.headers["Authorization"]
        assert presented == {
            "CP1": basic("CP1", b"for one").partition(": ")[2],
            "CP2": basic("CP2", b"for two").partition(": ")[2],
        }


async def test_a_soap_central_system_is_shown_the_password_of_each_charge_point() -> None:
    async with a_charge_point(soap_central_system) as main, with_passwords(main.url) as gateway:
        for identity, ours, theirs in (
            ("CP1", KEY.encode(), b"for one"),
            ("CP2", "pass: wörd".encode(), b"for two"),
        ):
            charge_point = await a_websocket(gateway, identity, basic(identity, ours))
            assert await charge_point.call("1", "Heartbeat", {}) == [3, "1", TIME]
            charge_point.hang_up()
            assert f"{basic(identity, theirs)}\r\n" in await main.request()


async def post_with(gateway: Running, body: str, header: str) -> Response:
    sent = post_bytes(gateway.url, body, headers=f"{header}\r\n")
    head, _, text = (await exchange_bytes(gateway.url, sent)).decode().partition("\r\n\r\n")
    return Response(int(head.split()[1]), head, text)


# --- TLS ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """Two authorities: *ca* vouches for servers, *clients* for those who connect."""

    folder: Path
    ca: trustme.CA
    clients: trustme.CA

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("127.0.0.1").configure_cert(context)
        return context

    def client(self, *, certificate: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if certificate:
            self.clients.issue_cert("CP1").configure_cert(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path, trustme.CA(), trustme.CA())
    found.ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    found.clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    shown = found.ca.issue_cert("127.0.0.1")
    shown.private_key_pem.write_to_path(tmp_path / "gateway.key")
    shown.cert_chain_pems[0].write_to_path(tmp_path / "gateway.pem")
    return found


def with_tls(files: Files, upstream: str) -> str:
    text = configuration(
        {"main": f"url: '{upstream}', {CONNECT}, tls: {{ca: {files.folder}/ca.pem}}"},
        "name: all, match: any, upstream: main",
    )
    at = files.folder
    secured = (
        f"tls: {{certificate: {at}/gateway.pem, key: {at}/gateway.key, "
        f"client_ca: {at}/clients.pem, client_auth: required}}"
    )
    return text.replace('bind: "127.0.0.1:0", paths', f'{secured}, bind: "127.0.0.1:0", paths')


async def test_a_charge_point_shows_its_certificate_and_its_central_system_is_found_by_wss(
    files: Files,
) -> None:
    canned = CannedCentralSystem(answers=USUAL_ANSWERS)
    async with serve(
        canned.handle, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")], ssl=files.server()
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with running(with_tls(files, f"wss://127.0.0.1:{port}/ocpp")) as gateway:
            address = f"wss://127.0.0.1:{gateway.host_and_port[1]}/ocpp/CP1"
            async with connect(
                address, subprotocols=[Subprotocol("ocpp1.6")], ssl=files.client(), proxy=None
            ) as socket:
                await socket.send('[2,"1","Heartbeat",{}]')
                assert json.loads(await socket.recv()) == [3, "1", TIME]
            assert canned.identities == ["CP1"]
            with pytest.raises((OSError, InvalidHandshake)):
                async with connect(address, ssl=files.client(certificate=False), proxy=None) as socket:
                    await socket.recv()


async def test_a_soap_central_system_is_found_by_https(files: Files) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)content-length: (\d+)", head)
        assert length is not None
        request = head + (await reader.readexactly(int(length[1]))).decode()
        heard.put_nowait(request)
        writer.write(soap_central_system(request))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=files.server())
    port = server.sockets[0].getsockname()[1]
    async with server, running(with_tls(files, f"https://127.0.0.1:{port}/ocpp")) as gateway:
        address = ("127.0.0.1", gateway.host_and_port[1])
        reader, writer = await asyncio.open_connection(*address, ssl=files.client())
        writer.write(post_bytes(gateway.url, soap_request("Heartbeat")))
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert "heartbeatRequest" in await heard.get()
