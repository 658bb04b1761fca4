"""Fields that belong together in the two encodings."""

from __future__ import annotations

import json

import pytest

from tests.exchange_files import Exchange, load_exchanges, load_older_exchanges
from tests.traced import METER_VALUES, RELAYED, RESPONSE, of_corpus, traced
from wattbridge.operation.trace.pairs import leaves_of, pairs_of

ALL = [
    each
    for each in load_exchanges() + load_older_exchanges()
    if each.case in ("full", "minimal", "every-word")
]
OLDER = {f"{each.older}/{each.folder}/{each.case}": each for each in load_older_exchanges()}


def paired(exchange: Exchange, message: str = "call") -> dict[str, str]:
    """charger → csms"""
    return {
        pair["charger"]: pair["csms"] for pair in pairs_of(of_corpus(exchange)) if pair["message"] == message
    }


def test_each_field_has_its_counterpart() -> None:
    exchange = traced()
    assert [pair for pair in pairs_of(exchange) if pair["message"] == "call"] == [
        {"message": "call", "charger": path, "csms": path, "soap": path, "json": path}
        for path in (
            "connectorId",
            "meterValue[0].timestamp",
            "meterValue[0].sampledValue[0].value",
            "meterValue[0].sampledValue[0].unit",
        )
    ]


def test_which_side_is_which_when_the_central_system_asks() -> None:
    exchange = traced(
        arrived_from="central_system",
        arrived=RELAYED,
        asked=METER_VALUES,
        answered=RESPONSE,
        replied='[3,"1",{}]',
    )
    assert pairs_of(exchange)[0]["soap"] == pairs_of(exchange)[0]["charger"] == "connectorId"


def test_attributes_and_texts_of_1_5_are_fields_of_1_6() -> None:
    found = paired(OLDER["1.5-charge_point/MeterValues/full"])
    assert found["values[0].timestamp"] == "meterValue[0].timestamp"
    assert found["values[0].value[0]"] == "meterValue[0].sampledValue[0].value"
    assert found["values[0].value[0].@unit"] == "meterValue[0].sampledValue[0].unit"


def test_other_names_of_older_versions_are_known() -> None:
    found = paired(OLDER["1.5-charge_point/BootNotification/full"], "reply")
    assert found["heartbeatInterval"] == "interval"
    found = paired(OLDER["1.5-charge_point/StopTransaction/full"])
    assert found["transactionData[0].values[0].value[0]"] == "transactionData[0].sampledValue[0].value"


def test_what_stood_behind_something_lost_has_moved_up() -> None:
    three = [{"value": str(number)} for number in range(3)]
    said = json.dumps([2, "1", "MeterValues", {"meterValue": [{"sampledValue": three}]}])
    relayed = json.dumps([2, "2", "MeterValues", {"meterValue": [{"sampledValue": [three[0], three[2]]}]}])
    lost = {
        "lost": "MeterValues.meterValue[0].sampledValue[1]",
        "value": "",
        "rule": "bad-item",
        "at": "arrived",
    }
    exchange = traced(arrived=said, asked=relayed, notes=json.dumps([lost]), charger_transport="json")
    assert [(pair["charger"], pair["csms"]) for pair in pairs_of(exchange)] == [
        ("meterValue[0].sampledValue[0].value", "meterValue[0].sampledValue[0].value"),
        ("meterValue[0].sampledValue[2].value", "meterValue[0].sampledValue[1].value"),
    ]


@pytest.mark.parametrize("exchange", ALL, ids=lambda exchange: exchange.id)
def test_every_field_of_the_corpus_that_nothing_happened_to_has_one(exchange: Exchange) -> None:
    """What is on one side alone is told in a note, or is what the older version leaves unsaid."""
    kept = of_corpus(exchange)
    for source, target in ((kept.arrived, kept.asked), (kept.answered, kept.replied)):
        if not source or not target or exchange.notes or exchange.older:
            continue
        assert {leaf.key for leaf in leaves_of(source)} == {leaf.key for leaf in leaves_of(target)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html/>",
        "[",
        '[4,"1","GenericError","",{}]',
        "<soap:Envelope xmlns:soap='http://www.w3.org/2003/05/soap-envelope'><soap:Body><soap:Fault/></soap:Body>"
        "</soap:Envelope>",
        "<soap:Envelope xmlns:soap='http://www.w3.org/2003/05/soap-envelope'><soap:Body/></soap:Envelope>",
    ],
)
def test_errors_and_rubbish_have_no_fields(text: str) -> None:
    assert leaves_of(text) == []
