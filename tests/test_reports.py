"""The report on a charge point: who it is and who is asked, what that will cost, and what it has cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import post, soap_request
from tests.kept import NOW, DeliveriesInMemory
from tests.test_administration import a_running_gateway, an_administration_of
from wattbridge.operation.api import Refusal
from wattbridge.reports import Reports
from wattbridge.store.base import ChargePoint

OF_15 = "urn://Ocpp/Cs/2012/06/"
BOOT = (
    "<cs:chargePointVendor>Elm</cs:chargePointVendor><cs:chargePointModel>E2</cs:chargePointModel>"
    "<cs:firmwareVersion>4.1</cs:firmwareVersion><cs:mood>good</cs:mood>"
)


def of_15(action: str, identity: str, inside: str | None = None) -> str:
    return soap_request(action, identity, inside=inside).replace("urn://Ocpp/Cs/2015/10/", OF_15)


async def test_a_charge_point_that_is_there_is_told_as_it_speaks(tmp_path: Path) -> None:
    async with a_running_gateway(tmp_path) as (gateway, administration):
        assert (await post(gateway.addresses["main"], of_15("BootNotification", "EVB-1", BOOT))).status == 200
        told = await administration.show_report("EVB-1")
        charger = {name: told[name] for name in list(told)[:11]}
        assert charger | {"heard": None} == {
            "charger": "EVB-1",
            "charger_dialect": "soap 1.5",
            "vendor": "Elm",
            "model": "E2",
            "firmware": "4.1",
            "profile": None,
            "route": "renamed",
            "upstream": "main",
            "csms_dialect": "json 1.6",
            "session": True,
            "heard": None,
        }
        assert told["as_is"] is False
        assert {one["path"]: one["effect"] for one in told["towards_csms"]} == {
            "SendLocalListResponse.hash": "lost",
            "StatusNotification.status": "changed",
            "GetConfigurationResponse.configurationKey.key": "changed",
            "GetConfigurationResponse.unknownKey": "changed",
            "SendLocalListResponse.status": "changed",
        }
        assert "RemoteStartTransaction.chargingProfile" in {one["path"] for one in told["towards_charger"]}
        assert "TriggerMessage" in {row["action"] for row in told["answered_for_charger"]}
        assert told["answered_for_csms"] == []
        [lost] = told["lost"]
        assert (lost["rule"], lost["path"], lost["count"]) == ("unknown-field", "BootNotification.mood", 1)
        assert told["losses"] == 1
        assert told["lost_since"].endswith("Z")


async def test_between_equals_nothing_is_lost(tmp_path: Path) -> None:
    deliveries = DeliveriesInMemory()
    deliveries.store.put(ChargePoint("CP2", "json 1.6"), ChargePoint("CP9", "soap 1.6"))
    administration = an_administration_of(tmp_path, deliveries)
    same = await administration.show_report("CP2")
    assert (same["as_is"], same["towards_csms"], same["towards_charger"]) == (True, [], [])
    assert same["answered_for_charger"] == same["answered_for_csms"] == []


async def test_all_that_are_known_are_listed_page_by_page(tmp_path: Path) -> None:
    """Those of the store, those that are listed, and those that have a session."""
    deliveries = DeliveriesInMemory()
    deliveries.store.put(
        ChargePoint("A1", "soap 1.2", vendor="ACME", model="CC-1", firmware="1.3", heard=NOW),
        ChargePoint("CP2", "json 1.6"),
    )
    administration = an_administration_of(tmp_path, deliveries)
    chargers = await administration.list_chargers("", 10)
    assert [(row["charger"], row["charger_dialect"], row["session"]) for row in chargers] == [
        ("A1", "soap 1.2", False),
        ("CP2", "json 1.6", False),
        ("EVB-1", None, False),
    ]
    first = chargers[0]
    assert first["heard"] == "2026-09-21T14:13:20Z"
    # What it told leads it where its route leads now: it is not listed, and ACME comes first.
    assert (first["vendor"], first["route"], first["upstream"]) == ("ACME", "acme", "main")
    assert await administration.list_chargers("A1", 1) == [chargers[1]]
    reports = await administration.list_reports("", 2)
    assert [report["charger"] for report in reports] == ["A1", "CP2"]
    unheard = await administration.show_report("EVB-1")
    assert (unheard["as_is"], unheard["towards_csms"], unheard["heard"]) == (False, [], None)


async def test_one_that_is_turned_away_has_no_central_system(tmp_path: Path) -> None:
    async with a_running_gateway(tmp_path) as (gateway, administration):
        await post(gateway.addresses["main"], of_15("BootNotification", "CP9"))
        told = await administration.show_report("CP9")
        assert (told["session"], told["route"]) == (True, "strangers")
        assert (told["charger_dialect"], told["upstream"], told["csms_dialect"]) == ("soap 1.5", None, None)
        assert told["towards_csms"] == told["answered_for_charger"] == []
        listed = await administration.list_chargers("", 10)
        assert [row["charger"] for row in listed] == ["CP2", "CP9", "EVB-1"]


async def test_a_soap_central_system_speaks_what_is_configured(tmp_path: Path) -> None:
    deliveries = DeliveriesInMemory()
    deliveries.store.put(ChargePoint("CP2", "json 1.6"))
    administration = an_administration_of(
        tmp_path, deliveries, url="http://127.0.0.1:9/", soap='soap: {ocpp: "1.5"}'
    )
    told = await administration.show_report("CP2")
    assert told["csms_dialect"] == "soap 1.5"
    assert "StopTransaction.reason" in {one["path"] for one in told["towards_csms"]}
    assert {row["action"] for row in told["answered_for_csms"]} >= {"SecurityEventNotification"}


async def test_nobody_and_a_store_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    deliveries = DeliveriesInMemory()
    administration = an_administration_of(tmp_path, deliveries)
    with pytest.raises(Refusal, match="charge point 'CP7' is not known here") as refused:
        await administration.show_report("CP7")
    assert refused.value.status == 404
    deliveries.store.problem = "disk full"
    for asking in (administration.show_report("CP2"), administration.list_chargers("", 1)):
        with pytest.raises(Refusal, match="the store: disk full") as refused:
            await asking
        assert refused.value.status == 503


async def test_the_profile_is_that_of_the_session(tmp_path: Path) -> None:
    async with a_running_gateway(tmp_path) as (gateway, administration):
        await post(gateway.addresses["main"], soap_request("Heartbeat", "CP2"))
        session = gateway.registry.find("CP2")
        assert session is not None
        session.profile = "acme-cc1"
        assert (await administration.list_chargers("", 1))[0]["profile"] == "acme-cc1"
        reports = Reports(gateway, gateway.deliveries.store)
        assert (await reports.show("CP2"))["charger_dialect"] == "soap 1.6"
