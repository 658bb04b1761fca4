"""The first page, and the lists of what there is besides charge points."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.admin import CONFIGURATION, a_gateway
from tests.fakes import USUAL_ANSWERS, a_central_system, post, soap_request
from wattbridge.relay.journal import Event

OF_15 = "urn://Ocpp/Cs/2012/06/"


async def test_the_first_page_says_how_all_of_it_is_doing(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        url = here.gateway.addresses["field"]
        await post(url, soap_request("Heartbeat", "CP1"))
        await post(url, soap_request("Heartbeat", "CP2").replace("urn://Ocpp/Cs/2015/10/", OF_15))
        await post(url, soap_request("Heartbeat", "CP9"))
        told = await here.get("/overview")
        assert (told["name"], told["ready"], told["draining"]) == ("depot", True, False)
        assert told["chargers"] == {
            "ocpp1.5-soap": {"connected": 1, "stale": 0},
            "ocpp1.6-soap": {"connected": 1, "stale": 0},
        }
        assert told["offline"] == 1
        assert told["calls"]["failures"] == {"auth": 1}
        assert sum(told["calls"]["spark"]) == 3
        assert len(told["calls"]["spark"]) == 60
        assert told["calls"]["per_second"]["to_charger"] == 0
        [upstream] = told["upstreams"]
        assert (upstream["upstream"], upstream["protocol"], upstream["up"]) == ("cloud", "ocpp1.6-json", True)
        assert upstream["sessions"] == {"open": 2, "connecting": 0, "backoff": 0}
        assert upstream["since"].endswith("Z")
        assert told["queue"] == {"waiting": 0, "parked": 0, "oldest_seconds": 0.0}
        [attention] = told["attention"]
        assert attention["text"] == "Charge points that want in and are not known: 1."
        assert attention["link"] == "/chargers?state=unknown"


async def test_what_is_wrong_needs_attention_and_says_what_to_do(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/") as here:
        gone_wrong = here.file.read_text() + "lisseners: {}\n"
        here.file.write_text(gone_wrong)
        assert (await here.ask("POST /config/reload")).status == 422
        await post(here.gateway.addresses["field"], soap_request("Heartbeat", "CP1"))
        told = await here.get("/overview")
        attention = {one["kind"]: one["text"] for one in told["attention"]}
        assert attention["reload-failed"] == (
            "asked by the API: the configuration has 1 error; the old configuration stays"
        )
        assert attention["csms-unreachable"] == "No charge point reaches central system cloud."
        assert told["upstreams"][0]["up"] is False
        [problem] = (await here.get("/problems"))["problems"]
        assert (problem["kind"], problem["charger"], problem["upstream"]) == (
            "csms-unreachable",
            "CP1",
            "cloud",
        )


async def test_certificates_are_told_with_the_days_they_have(tmp_path: Path) -> None:
    ends = datetime.now(UTC) + timedelta(days=5, hours=1)
    shown = trustme.CA().issue_cert("localhost", not_after=ends)
    shown.private_key_pem.write_to_path(tmp_path / "gw.key")
    shown.cert_chain_pems[0].write_to_path(tmp_path / "gw.pem")
    text = CONFIGURATION.replace(
        '"127.0.0.1:0"}}\nupstreams', '"127.0.0.1:0", tls: {{certificate: gw.pem, key: gw.key}}}}\nupstreams'
    )
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/", text=text) as here:
        [certificate] = (await here.get("/certificates"))["certificates"]
        assert (certificate["name"], certificate["days_left"]) == ("listeners.field", 5)
        assert certificate["file"] == str(tmp_path / "gw.pem")
        told = await here.get("/overview")
        assert told["certificates"] == [{name: certificate[name] for name in told["certificates"][0]}]
        [attention] = told["attention"]
        assert attention["text"] == "The certificate listeners.field ends in 5 days."
        [listener] = (await here.get("/listeners"))["listeners"]
        assert (listener["tls"], listener["soap"].partition(":")[0]) == (True, "https")


async def test_listeners_upstreams_and_profiles_are_listed(tmp_path: Path) -> None:
    text = CONFIGURATION + "profiles: {{acme: {{products: [{{vendor: ACME, model: [A, B]}}]}}}}\n"
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url + "/ocpp?key=secret", text=text) as here,
    ):
        [listener] = (await here.get("/listeners"))["listeners"]
        assert (listener["listener"], listener["protocol"], listener["tls"]) == ("field", "any", False)
        assert listener["soap"] == here.gateway.addresses["field"]
        assert listener["most_connections"] == 2000
        [upstream] = (await here.get("/upstreams"))["upstreams"]
        assert (upstream["up"], upstream["since"], upstream["routes"]) == (
            None,
            None,
            ["renamed", "everybody"],
        )
        assert "secret" not in upstream["url"]
        first, *others = (await here.get("/profiles"))["profiles"]
        assert first == {"profile": "acme", "built_in": False, "products": ["ACME A or B"], "sessions": 0}
        assert {"keba", "vestel-evc04"} <= {other["profile"] for other in others}
        assert all(other["built_in"] for other in others)


async def test_a_central_system_is_taken_out_of_service_and_back(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        await post(here.gateway.addresses["field"], soap_request("Heartbeat", "CP1"))
        events: list[Event] = []
        here.gateway.journal.listen(event=events.append)
        answer = await here.ask("PUT /upstreams/cloud/state", {"state": "maint"})
        [row] = (await here.get("/upstreams"))["upstreams"]
        assert answer.content == row
        assert (row["state"], row["up"], row["sessions"]["open"]) == ("maint", False, 0)
        [told] = [event for event in events if event.kind == "central system out of service"]
        assert told.labels == {"upstream": "cloud", "state": "maint", "who": "admin"}
        [noted] = (await here.get("/audit"))["audit"]
        assert (noted["who"], noted["request"], noted["details"]) == (
            "admin",
            "PUT /upstreams/cloud/state",
            {"state": "maint"},
        )
        overview = await here.get("/overview")
        assert overview["ready"]
        [attention] = overview["attention"]
        assert attention["kind"] == "csms-out-of-service"
        assert attention["text"].startswith("Central system cloud is in maintenance since 20")
        assert attention["fix"] == "When it may be used again: `wattbridge upstreams ready cloud`."
        await post(here.gateway.addresses["field"], soap_request("StatusNotification", "CP1"))
        assert (await here.get("/problems"))["problems"] == []

        assert (await here.ask("PUT /upstreams/cloud/state", {"state": "drain"})).content["up"] is False
        assert (await here.get("/overview"))["attention"][0]["text"].partition(" since ")[0] == (
            "Central system cloud is being drained"
        )
        assert (await here.ask("PUT /upstreams/cloud/state", {"state": "ready"})).content["state"] == "ready"
        await central_system.until_called(2)
        [row] = (await here.get("/upstreams"))["upstreams"]
        assert (row["state"], row["up"]) == ("ready", True)
        assert (await here.get("/overview"))["attention"] == []


async def test_one_that_nobody_needs_is_down_in_maintenance_all_the_same(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/") as here:
        answer = await here.ask("PUT /upstreams/cloud/state", {"state": "maint"})
        assert (answer.content["up"], sum(answer.content["sessions"].values())) == (False, 0)


@pytest.mark.parametrize(
    ("request_", "body", "status", "title"),
    [
        ("PUT /upstreams/moon/state", {"state": "maint"}, 404, "no central system is called 'moon'"),
        (
            "PUT /upstreams/cloud/state",
            {"state": "down"},
            400,
            "state: Input should be 'ready', 'drain' or 'maint'",
        ),
        ("PUT /upstreams/cloud/state", {}, 400, "state: Field required"),
    ],
)
async def test_what_is_no_word_on_a_central_system_is_refused(
    tmp_path: Path, request_: str, body: object, status: int, title: str
) -> None:
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/") as here:
        answer = await here.ask(request_, body)
        assert (answer.status, answer.content["title"]) == (status, title)
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert (await here.get("/upstreams"))["upstreams"][0]["state"] == "ready"


async def test_ten_thousand_charge_points_are_listed_without_a_stall(tmp_path: Path) -> None:
    """Of what stalls the gateway the messages of charge points would tell: here, a timer does."""
    text = CONFIGURATION.replace(
        "chargers: {{CP1: , EVB-1: , CP2: }}",
        "chargers: {{" + ", ".join(f"CP{number:05}: " for number in range(10_000)) + "}}",
    )
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/", text=text) as here:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.ensure_future(count())  # noqa: TID251 -- ended below
        cursor, found = "", 0
        while True:
            page = await here.get(f"/chargers?limit=1000&cursor={cursor}")
            found += len(page["chargers"])
            cursor = page.get("cursor", "")
            if not cursor:
                break
        assert found == 10_000
        before = turns
        assert (await here.get("/chargers?q=CP09999"))["chargers"][0]["charger"] == "CP09999"
        assert turns - before > 15  # it let others have their turn
        counting.cancel()
