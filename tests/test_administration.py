"""What the admin API says of a gateway that runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.admin import a_gateway
from tests.fakes import USUAL_ANSWERS, a_central_system, exchange_bytes, post, soap_request
from tests.kept import NOW, PAYLOAD, DeliveriesInMemory, what_waits
from wattbridge.administration import Administration
from wattbridge.app import Gateway
from wattbridge.config import load
from wattbridge.operation.api import Refusal
from wattbridge.reloading import Reloader
from wattbridge.store.sqlite import SqliteStore

CONFIGURATION = """
gateway: {{name: depot, drain: 0s}}
listeners: {{main: {{bind: "127.0.0.1:0"}}}}
upstreams:
  main: {{url: "{url}"}}
  other: {{url: "{url}"}}
routes:
  - {{name: acme, match: {{vendor: ACME}}, upstream: main, mirror: [other]}}
  - {{name: strangers, match: {{known: false}}, reject: {{}}}}
  - {{name: renamed, match: {{charger: "EVB-*"}}, upstream: main, fallback: other,
     identity: {{rewrite: "^EVB-", to: "CP"}}}}
  - {{name: all, match: any, upstream: main}}
chargers: {{EVB-1: , CP2: }}
callbacks: {{networks: [127.0.0.0/8]}}
metrics: {{bind: "127.0.0.1:0"}}
"""


@asynccontextmanager
async def a_running_gateway(folder: Path) -> AsyncIterator[tuple[Gateway, Administration]]:
    async with a_central_system(USUAL_ANSWERS) as central_system:
        file = folder / "gateway.yaml"
        file.write_text(CONFIGURATION.format(url=central_system.url))
        loaded = load(file)
        gateway = Gateway(loaded.config)
        administration = Administration(gateway, Reloader(gateway, partial(load, file), loaded))
        ready, stopping = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.run(stopping, ready.set))
            await ready.wait()
            try:
                yield gateway, administration
            finally:
                stopping.set()


async def test_it_tells_what_runs_here(tmp_path: Path) -> None:
    async with a_running_gateway(tmp_path) as (gateway, administration):
        info = administration.info()
        assert (info["name"], info["not_ready_because"], info["sessions"]) == ("depot", [], 0)
        assert info["listeners"] == gateway.addresses


async def test_routes_are_told_with_the_reasons_why_not(tmp_path: Path) -> None:
    async with a_running_gateway(tmp_path) as (_, administration):
        assert administration.test_route({"charger": "EVB-1"}) == {
            "route": "renamed",
            "upstream": "main",
            "fallback": "other",
            "known_as": "CP1",
            "let_in": True,
            "passed_over": [
                {"name": "acme", "why_not": "vendor is not known before BootNotification"},
                {"name": "strangers", "why_not": "it is a known charge point"},
            ],
        }
        assert administration.test_route({"charger": "CP9"})["reject"] == {
            "boot_status": "Rejected",
            "error": "SecurityError",
        }
        assert administration.test_route({"charger": "CP9", "known": True})["route"] == "all"
        assert administration.test_route({"charger": "CP9", "known": True})["let_in"] is True
        assert administration.list_routes()[0] == {
            "route": "acme",
            "upstream": "main",
            "mirrors": ["other"],
            "sessions": 0,
        }


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "charger is missing or no text"),
        ({"charger": 1}, "charger is missing or no text"),
        ({"charger": "CP1", "vendro": "ACME"}, "found 'vendro'"),
        ({"charger": "CP1", "vendor": 1}, "vendor: found 1, expected a text"),
        ({"charger": "CP1", "listener": "nowhere"}, "listener: there is none called 'nowhere'"),
        ({"charger": "CP1", "source": "zzz"}, "source: found 'zzz', expected an address"),
        ({"charger": "CP1", "known": "yes"}, "known: found 'yes', expected true or false"),
    ],
)
async def test_what_is_no_question_about_a_route_is_refused(
    tmp_path: Path, asked: dict[str, object], said: str
) -> None:
    async with a_running_gateway(tmp_path) as (_, administration):
        with pytest.raises(Refusal, match=said) as refused:
            administration.test_route(asked)
        assert refused.value.status == 400


async def test_sessions_are_told_under_both_names_and_moved(tmp_path: Path) -> None:
    async with a_running_gateway(tmp_path) as (gateway, administration):
        for identity in ("EVB-1", "CP2"):
            response = await post(gateway.addresses["main"], soap_request("Heartbeat", identity))
            assert response.status == 200
        first, second = administration.list_sessions("", 10)
        assert (second["charger"], second["known_as"], second["route"]) == ("EVB-1", "CP1", "renamed")
        assert first == {
            "charger": "CP2",
            "known_as": "CP2",
            "route": "all",
            "upstream": "main",
            "profile": None,
            "charger_transport": "soap",
            "csms_transport": "json",
            "connected": False,
            "calls_in_flight": 0,
        }
        assert administration.list_sessions("CP2", 10) == [second]
        assert administration.list_sessions("", 1) == [first]
        assert administration.move("CP2") == {**first, "moved": False}
        with pytest.raises(Refusal, match="charge point 'CP3' has no session") as refused:
            administration.move("CP3")
        assert refused.value.status == 404


async def test_a_configuration_that_is_wrong_is_refused_with_its_errors(tmp_path: Path) -> None:
    async with a_running_gateway(tmp_path) as (gateway, administration):
        file = tmp_path / "gateway.yaml"
        text = file.read_text()
        file.write_text(text.replace("name: depot", "nmae: depot"))
        for asking in (administration.check(), administration.reload(move=False)):
            with pytest.raises(Refusal) as refused:
                await asking
            assert refused.value.status == 422
            assert [error["path"] for error in refused.value.more["errors"]] == ["gateway.nmae"]
        file.write_text(text.replace("name: depot", "name: north"))
        assert (await administration.check())["changed"] == ["gateway.name: depot → north"]
        assert gateway.config.gateway.name == "depot"
        told = await administration.reload(move=True)
        assert (told["changed"], told["moved"]) == (["gateway.name: depot → north"], 0)
        assert administration.info()["name"] == "north"


async def test_another_token_counts_at_once_and_another_address_is_opened(tmp_path: Path) -> None:
    async with a_running_gateway(tmp_path) as (gateway, administration):
        file, token = tmp_path / "gateway.yaml", tmp_path / "token"
        text = file.read_text()
        gateway.reload_with(administration.reloader)

        async def status(address: str | None, token: str) -> int:
            assert address is not None
            request = f"GET /api/v1/info HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
            answer = await exchange_bytes(address, f"{request}Connection: close\r\n\r\n".encode())
            return int(answer.split()[1])

        token.write_text("first")
        file.write_text(text + 'admin: {bind: "127.0.0.1:0", token: {file: token}}\n')
        await administration.reload(move=False)
        first = gateway.admin_address
        assert [await status(first, each) for each in ("first", "second")] == [200, 401]
        token.write_text("second")
        await administration.reload(move=False)
        assert gateway.admin_address == first
        assert [await status(first, each) for each in ("first", "second")] == [401, 200]
        file.write_text(text + 'admin: {bind: "127.0.0.2:0", token: {file: token}}\n')
        await administration.reload(move=False)
        assert gateway.admin_address != first
        assert await status(gateway.admin_address, "second") == 200
        file.write_text(text)
        await administration.reload(move=False)
        assert gateway.admin_address is None


def an_administration_of(
    folder: Path, deliveries: DeliveriesInMemory, *, url: str = "ws://127.0.0.1:9/", soap: str = ""
) -> Administration:
    """Of a gateway that does not run: only what it keeps is asked for. *url* is that of its central systems,
    *soap* what is said of those of SOAP."""
    file = folder / "gateway.yaml"
    text = CONFIGURATION.format(url=url)
    if soap:
        text = text.replace(f'url: "{url}"', f'url: "{url}", {soap}')
        text = text.replace("name: depot", 'name: depot, public_url: "http://127.0.0.1:8080"')
    file.write_text(text)
    loaded = load(file)
    gateway = Gateway(loaded.config)
    reloader = Reloader(gateway, partial(load, file), loaded)
    return Administration(gateway, reloader, now=lambda: NOW, deliveries=deliveries)


async def test_what_waits_is_told_in_its_order_without_payloads(tmp_path: Path) -> None:
    administration = an_administration_of(tmp_path, what_waits())
    first, second, parked = await administration.list_waiting("", "", None, 10)
    assert first == {
        "charger": "CP/1",
        "position": 17,
        "action": "StopTransaction",
        "state": "waiting",
        "kept": "2026-09-21T14:09:08Z",
        "kept_seconds": 252.0,
        "upstream": None,
        "refusals": 0,
        "problem": "",
    }
    assert await administration.list_waiting("", "", ("CP/1", 17), 1) == [second]
    assert await administration.list_waiting("", "parked", None, 10) == [parked]
    assert await administration.list_waiting("CP2", "waiting", None, 10) == []
    told = await administration.show_waiting("CP/1", 17)
    assert told == {**first, "payload": json.loads(PAYLOAD)}


async def test_what_waits_is_sent_or_dropped(tmp_path: Path) -> None:
    deliveries = what_waits()
    administration = an_administration_of(tmp_path, deliveries)
    assert (await administration.retry("CP2", 3))["retried"] is True
    dropped = await administration.drop("CP/1", 17)
    assert dropped["payload"] == json.loads(PAYLOAD)
    assert deliveries.asked == [("retry", "CP2", 3), ("drop", "CP/1", 17)]
    for asking in (
        administration.drop("CP/1", 17), administration.show_waiting("CP9", 1), administration.retry("CP9", 1)
    ):  # fmt: skip
        with pytest.raises(Refusal, match="no message of charge point") as refused:
            await asking
        assert refused.value.status == 404


async def test_transactions_are_told_with_both_numbers(tmp_path: Path) -> None:
    administration = an_administration_of(tmp_path, what_waits())
    first, second = await administration.list_transactions("", "", None, 10)
    assert first == {
        "charger": "CP/1",
        "number": 4711,
        "remote_id": 4711,
        "upstream": "cloud",
        "provisional": False,
        "connector_id": "1",
        "id_tag": "04E91C5A",
        "meter_start": "1000",
        "started": "2026-09-21T13:00:00Z",
        "stopped": None,
        "state": "open",
    }
    assert (second["number"], second["remote_id"], second["provisional"]) == (-9, None, True)
    assert await administration.list_transactions("", "", ("CP/1", 4711), 10) == [second]
    assert await administration.list_transactions("CP2", "open", None, 10) == []
    mapped = await administration.set_remote_id("CP2", -9, 815)
    assert mapped == await administration.show_transaction("CP2", -9) == {**second, "remote_id": 815}
    for asking in (administration.show_transaction("CP2", 9), administration.set_remote_id("CP9", 9, 1)):
        with pytest.raises(Refusal, match="has no transaction 9") as refused:
            await asking
        assert refused.value.status == 404


async def test_numbers_that_no_store_has_are_refused(tmp_path: Path) -> None:
    huge = "99999999999999999999"
    store = await SqliteStore.open(tmp_path / "state.db")  # which is asked in 64 bits
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/", store=store) as here:
        for asked in (
            f"GET /queue?cursor=CP1/{huge}",
            f"GET /queue/CP1/{huge}",
            f"DELETE /queue/CP1/-{huge}",
            f"POST /queue/CP1/{huge}/retry",
            f"GET /audit?cursor={huge}",
            f"GET /messages?cursor={huge}",
            f"GET /messages/stream?last_event_id={huge}",
        ):
            refused = await here.ask(asked)
            assert (refused.status, refused.content["reason"]) == (400, "malformed"), asked
        # OCPP sets no bound to these.
        assert (await here.ask(f"GET /transactions/CP1/{huge}")).status == 404
        assert (await here.get(f"/transactions?cursor=CP1/{huge}"))["transactions"] == []
    await store.close()


async def test_what_cannot_be_read_or_is_not_kept_is_refused_with_why(tmp_path: Path) -> None:
    deliveries = what_waits()
    administration = an_administration_of(tmp_path, deliveries)
    deliveries.store.problem = "disk full"
    for asking in (
        administration.list_waiting("", "", None, 10), administration.drop("CP2", 3),
        administration.retry("CP2", 3), administration.set_remote_id("CP2", -9, 815),
    ):  # fmt: skip
        with pytest.raises(Refusal, match="the store: disk full") as refused:
            await asking
        assert refused.value.status == 503
