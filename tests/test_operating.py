"""What an operator does with charge points: looks at them, calls them, lets them in. The gateway is whole."""

from __future__ import annotations

from pathlib import Path

from tests.admin import CONFIGURATION, a_gateway
from tests.fakes import (
    USUAL_ANSWERS,
    a_central_system,
    a_charge_point,
    dial,
    from_header,
    handshake,
    http_response,
    listen,
    post,
    soap_request,
    soap_result,
)
from wattbridge.ocpp.messages import CallError, CallResult, Side

BOOT = (
    "<cs:chargePointVendor>Elm</cs:chargePointVendor><cs:chargePointModel>E2</cs:chargePointModel>"
    "<cs:firmwareVersion>4.1</cs:firmwareVersion>"
)
STATUS = (
    "<cs:connectorId>1</cs:connectorId><cs:status>Faulted</cs:status><cs:errorCode>GroundFailure</cs:errorCode>"
    "<cs:timestamp>2024-05-01T10:00:00Z</cs:timestamp>"
)
ACCEPTED = http_response(soap_result("resetResponse", "<cp:status>Accepted</cp:status>"))
HTML = http_response("<!DOCTYPE html><title>Login</title>", content_type="text/html")


async def test_all_of_one_charge_point_is_told_at_once(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_charge_point(ACCEPTED) as charge_point,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        url = here.gateway.addresses["field"]
        said = from_header(charge_point.url)
        await post(url, soap_request("BootNotification", "EVB-1", headers=said, inside=BOOT))
        await post(url, soap_request("StatusNotification", "EVB-1", headers=said, inside=STATUS))
        await post(url, soap_request("StartTransaction", "EVB-1", headers=said))
        told = await here.get("/chargers/EVB-1")
        assert (told["state"], told["transport"], told["known_as"]) == ("connected", "soap", "CP1")
        assert (told["vendor"], told["listener"], told["source"]) == ("Elm", "field", "127.0.0.1")
        assert told["boot"]["firmwareVersion"] == "4.1"
        assert told["callback"] == {"url": charge_point.url, "state": "not tried", "last_error": ""}
        assert told["connectors"] == [
            {
                "connector_id": "1",
                "status": "Faulted",
                "error_code": "GroundFailure",
                "when": "2024-05-01T10:00:00Z",
            }
        ]
        [transaction] = told["open_transactions"]
        assert (transaction["number"], transaction["state"]) == (7, "open")
        assert told["report"]["as_is"] is False
        assert told["last_messages_link"] == "/messages?filter=charger%3A%22EVB-1%22"

        await here.ask("POST /chargers/EVB-1/calls", {"action": "Reset", "payload": {"type": "Soft"}})
        told = await here.get("/chargers/EVB-1")
        assert told["callback"]["state"] == "works"


async def test_one_that_is_listed_and_was_never_heard(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        told = await here.get("/chargers/CP2")
        assert (told["state"], told["listed"], told["boot"], told["source"]) == (
            "offline",
            True,
            None,
            None,
        )
        assert told["callback"] == {"url": None, "state": "none", "last_error": ""}
        unknown = await here.ask("GET /chargers/CP9")
        assert (unknown.status, unknown.content["title"]) == (404, "charge point 'CP9' is not known here")


async def test_a_call_goes_the_way_of_every_call(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_charge_point(ACCEPTED) as charge_point,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        records = listen(here.gateway.journal).records
        heartbeat = soap_request("Heartbeat", headers=from_header(charge_point.url))
        await post(here.gateway.addresses["field"], heartbeat)
        answer = await here.ask("POST /chargers/CP1/calls", {"action": "Reset", "payload": {"type": "Soft"}})
        assert (answer.status, answer.content) == (200, {"reply": {"status": "Accepted"}})
        assert ":resetRequest" in charge_point.requests.get_nowait()
        record = records[-1]
        assert (record.identity, record.action, record.arrived_from) == ("CP1", "Reset", Side.CENTRAL_SYSTEM)
        assert isinstance(record.reply, CallResult)
        head, _, frame = record.arrived.text.decode().partition('"Reset"')
        assert head.startswith('[2,"operator-')
        assert frame == ',{"type":"Soft"}]'
        assert record.replied.text.decode().endswith(',{"status":"Accepted"}]')
        assert (record.asked_by, record.upstream) == ("operator", "")

        charge_point.answer = lambda _: HTML
        answer = await here.ask("POST /chargers/CP1/calls", {"action": "Reset", "payload": {"type": "Soft"}})
        failure = answer.content["error"]
        assert (failure["code"], failure["reason"]) == ("GenericError", "malformed")
        assert isinstance(records[-1].reply, CallError)
        told = await here.get("/chargers/CP1")
        assert told["callback"]["state"] == "fails"
        assert "with an HTML page" in told["callback"]["last_error"]
        [problem] = (await here.get("/problems?charger=CP1"))["problems"]
        assert problem["kind"] == "html-instead-of-soap"
        assert problem["said"] == failure["description"]


async def test_what_is_no_call_is_never_sent(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_charge_point(ACCEPTED) as charge_point,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        calls = "POST /chargers/CP1/calls"
        nobody = await here.ask(calls, {"action": "ClearCache"})
        assert (nobody.status, nobody.content["reason"]) == (404, "not_connected")
        heartbeat = soap_request("Heartbeat", headers=from_header(charge_point.url))
        await post(here.gateway.addresses["field"], heartbeat)
        for body, status, said in (
            ({"action": "Reset", "payload": {"type": "Medium"}}, 422, "Reset.type: 'Medium' is not one of"),
            ({"action": "Fly"}, 422, "Fly"),
            ({"action": "Heartbeat"}, 422, "Heartbeat"),
            ({"action": "Reset", "payload": []}, 400, "payload: Input should be"),
            ({"payload": {}}, 400, "action: Field required"),
        ):
            refused = await here.ask(calls, body)
            assert (refused.status, said in refused.content["title"]) == (status, True), refused
        assert charge_point.requests.empty()


async def test_a_json_charge_point_is_called_on_its_websocket(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        address = here.gateway.websocket_addresses["field"]
        socket = await dial(int(address.split(":")[2].partition("/")[0]), handshake("/ocpp/CP1"))
        test = await here.ask("POST /chargers/CP1/callback-test")
        assert test.content == {
            "reachable": True,
            "text": "it is connected by a WebSocket, and is called on that",
        }
        told = await here.get("/chargers/CP1")
        assert (told["state"], told["transport"], told["callback"]["url"]) == ("connected", "json", None)
        socket.writer.close()


async def test_whether_it_can_be_called_is_tried_without_a_message(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        test = "POST /chargers/CP1/callback-test"
        assert (await here.ask(test)).status == 404
        async with a_charge_point(ACCEPTED) as charge_point:
            heartbeat = soap_request("Heartbeat", headers=from_header(charge_point.url))
            await post(here.gateway.addresses["field"], heartbeat)
            reached = (await here.ask(test)).content
            where = charge_point.url.split("/")[2]
            assert reached == {
                "reachable": True,
                "text": f"{where} takes connections, which is from wsa:From",
            }
            assert charge_point.requests.empty()
        gone = (await here.ask(test)).content
        assert gone == {"reachable": False, "text": f"connection refused by {where}"}
        # The policy of addresses holds here too: nobody has the gateway knock at doors for them.
        elsewhere = soap_request("Heartbeat", headers=from_header("http://169.254.169.254/latest"))
        await post(here.gateway.addresses["field"], elsewhere)
        refused = (await here.ask(test)).content
        assert refused["reachable"] is False
        assert "refused (cloud metadata service)" in refused["text"]


async def test_one_that_nobody_knows_is_told_with_the_line_that_lets_it_in(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        url = here.gateway.addresses["field"]
        for _ in range(2):
            await post(url, soap_request("Heartbeat", "0012"))
        [unknown] = (await here.get("/overview"))["unknown"]
        assert (unknown["charger"], unknown["count"], unknown["source"]) == ("0012", 2, "127.0.0.1")
        assert unknown["line"] == "'0012': {}"
        way = await here.ask("POST /routes/test", {"charger": "0012"})
        assert (way.content["route"], way.content["let_in"]) == ("everybody", False)
        [told] = (await here.get("/chargers?state=unknown"))["chargers"]
        assert (told["charger"], told["state"], told["session"]) == ("0012", "unknown", False)
        allow = await here.ask("POST /chargers/0012/allow")
        assert allow.content == {"charger": "0012", "lines": "chargers:\n  '0012': {}\n"}
        assert (await here.ask("POST /chargers/CP1/allow")).status == 409
        assert (await here.ask("POST /chargers/%01/allow")).status == 400

        text = here.file.read_text().replace("chargers: {", "chargers: {'0012': , ")
        here.file.write_text(text)
        await here.ask("POST /config/reload")
        assert (await here.get("/overview"))["unknown"] == []
        assert (await post(url, soap_request("Heartbeat", "0012"))).status == 200
        assert (await here.get("/chargers/0012"))["state"] == "connected"


async def test_a_session_is_closed_on_both_sides_and_its_charge_point_comes_back(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        address = here.gateway.websocket_addresses["field"]
        port = int(address.split(":")[2].partition("/")[0])
        socket = await dial(port, handshake("/ocpp/CP1"))
        assert (await here.get("/sessions/CP1"))["connected"] is True
        closed = await here.ask("POST /chargers/CP1/kick")
        assert (closed.status, closed.content["charger"]) == (200, "CP1")
        assert await socket.closed() == (1001, "the operator has closed it")
        await socket.rest()
        socket.writer.close()
        assert (await here.ask("GET /sessions/CP1")).status == 404
        assert (await here.ask("DELETE /sessions/CP1")).status == 404
        again = await dial(port, handshake("/ocpp/CP1"))
        assert (await here.ask("DELETE /sessions/CP1")).status == 200
        assert await again.closed() == (1001, "the operator has closed it")
        await again.rest()
        again.writer.close()


async def test_one_that_is_gone_for_good_is_forgotten(tmp_path: Path) -> None:
    text = CONFIGURATION.replace("gateway: {{", "gateway: {{unknown: accept, ")
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url, text=text) as here,
    ):
        url = here.gateway.addresses["field"]
        await post(url, soap_request("BootNotification", "OLD-1", inside=BOOT))
        await post(url, soap_request("StatusNotification", "OLD-1", inside=STATUS))
        there = await here.ask("DELETE /chargers/OLD-1")
        assert (there.status, "close its session first" in there.content["title"]) == (409, True)
        await here.ask("POST /chargers/OLD-1/kick")
        assert (await here.get("/chargers/OLD-1"))["connectors"] != []
        gone = await here.ask("DELETE /chargers/OLD-1")
        assert (gone.status, gone.content) == (200, {"charger": "OLD-1", "forgotten": True})
        assert [row["charger"] for row in (await here.get("/chargers"))["chargers"]] == [
            "CP1",
            "CP2",
            "EVB-1",
        ]
        assert (await here.ask("DELETE /chargers/OLD-1")).status == 404
        listed = await here.ask("DELETE /chargers/CP1")
        assert (listed.status, "is listed" in listed.content["title"]) == (409, True)
        await post(url, soap_request("Heartbeat", "OLD-1"))  # it comes back as if it had never been there
        told = await here.get("/chargers/OLD-1")
        assert (told["state"], told["vendor"], told["connectors"]) == ("connected", None, [])


async def test_what_waits_is_a_reason_to_forget_nothing(tmp_path: Path) -> None:
    text = CONFIGURATION.replace("gateway: {{", "gateway: {{unknown: accept, ")
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/", text=text) as here:
        await post(
            here.gateway.addresses["field"], soap_request("StatusNotification", "OLD-1", inside=STATUS)
        )
        await here.ask("POST /chargers/OLD-1/kick")
        refused = await here.ask("DELETE /chargers/OLD-1")
        assert (refused.status, "wait" in refused.content["title"]) == (409, True)
        assert [row["charger"] for row in (await here.get("/queue"))["queue"]] == ["OLD-1"]


async def test_charge_points_are_found_by_state_and_by_word(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        url = here.gateway.addresses["field"]
        await post(url, soap_request("BootNotification", "EVB-1", inside=BOOT))

        async def found(query: str) -> list[str]:
            return [row["charger"] for row in (await here.get(f"/chargers?{query}"))["chargers"]]

        assert await found("") == ["CP1", "CP2", "EVB-1"]
        assert await found("state=connected") == ["EVB-1"]
        assert await found("state=offline") == ["CP1", "CP2"]
        assert await found("state=stale") == []
        assert await found("q=elm") == ["EVB-1"]
        assert await found("q=cp&state=offline") == ["CP1", "CP2"]
        assert await found("q=renamed") == ["EVB-1"]
        assert await found("q=soap%201.6") == ["EVB-1"]
        page = await here.get("/chargers?state=offline&limit=1")
        assert page["cursor"] == "CP1"
        assert await found("state=offline&limit=1&cursor=CP1") == ["CP2"]
        assert (await here.ask("GET /chargers?state=asleep")).status == 400


async def test_the_audit_log_says_who_called_and_no_secret(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_charge_point(ACCEPTED) as charge_point,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        heartbeat = soap_request("Heartbeat", headers=from_header(charge_point.url))
        await post(here.gateway.addresses["field"], heartbeat)
        key = {"key": "AuthorizationKey", "value": "f00dfeed"}
        await here.ask("POST /chargers/CP1/calls", {"action": "ChangeConfiguration", "payload": key})
        start = {"idTag": "04E91C5A", "connectorId": 1}
        await here.ask("POST /chargers/CP1/calls", {"action": "RemoteStartTransaction", "payload": start})
        started, changed = (await here.get("/audit"))["audit"]
        assert (changed["who"], changed["role"], changed["charger"], changed["status"]) == (
            "admin",
            "admin",
            "CP1",
            200,
        )
        assert changed["details"]["payload"] == {"key": "AuthorizationKey", "value": "***"}
        assert started["details"]["payload"] == {"idTag": "***", "connectorId": 1}
        page = await here.get(f"/audit?limit=1&cursor={started['number']}")
        assert [each["number"] for each in page["audit"]] == [changed["number"]]
