"""Exchanges as a history has them: one to be changed, and those of the corpus as a gateway keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.exchange_files import Exchange as Files
from tests.test_exchanges import carry
from wattbridge.ocpp.messages import CallError, CallResult, Passage, Reply, Side
from wattbridge.operation.history import History, Keeping
from wattbridge.operation.redaction import Redaction
from wattbridge.relay.journal import Record
from wattbridge.store.base import Exchange
from wattbridge.store.memory import MemoryStore

NOW = 1_714_557_600.0  # 2024-05-01T10:00:00Z
NUMBER = 1_714_557_600_000_001
METER_VALUES = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:a="http://www.w3.org/2005/08/addressing" xmlns="urn://Ocpp/Cs/2015/10/"><s:Header>'
    "<chargeBoxIdentity>BER-0001</chargeBoxIdentity><a:Action>/MeterValues</a:Action>"
    "<a:MessageID>urn:uuid:4711</a:MessageID></s:Header><s:Body><meterValuesRequest>"
    "<connectorId>1</connectorId><meterValue><timestamp>2024-05-01T12:00:00+02:00</timestamp>"
    "<sampledValue><value>5.25</value><unit>Wh</unit></sampledValue></meterValue></meterValuesRequest>"
    "</s:Body></s:Envelope>"
)
RELAYED = (
    '[2,"7d1f","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2024-05-01T10:00:00Z",'
    '"sampledValue":[{"value":"5.25","unit":"Wh"}]}]}]'
)
RESPONSE = (
    '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:wsa="http://www.w3.org/2005/08/addressing"><soap:Header><wsa:MessageID>urn:uuid:1</wsa:MessageID>'
    "<wsa:RelatesTo>urn:uuid:4711</wsa:RelatesTo></soap:Header><soap:Body>"
    '<meterValuesResponse xmlns="urn://Ocpp/Cs/2015/10/"/></soap:Body></soap:Envelope>'
)
TO_UTC = {
    "changed": "MeterValues.meterValue[0].timestamp",
    "value": "2024-05-01T12:00:00+02:00",
    "became": "2024-05-01T10:00:00Z",
    "rule": "to-utc",
    "at": "arrived",
}


def traced(**changes: Any) -> Exchange:
    """MeterValues of a SOAP charge point, relayed to a JSON central system in 61 ms."""
    usual = Exchange(
        number=NUMBER,
        identity="BER-0001",
        began=NOW,
        arrived_from="charge_point",
        action="MeterValues",
        reason="",
        seconds=0.061,
        peer_seconds=0.06,
        upstream="cloud",
        arrived=METER_VALUES,
        asked=RELAYED,
        answered='[3,"7d1f",{}]',
        replied=RESPONSE,
        notes=json.dumps([TO_UTC]),
        route="all",
        known_as="BER-0001",
        source="10.20.0.7",
        charger_transport="soap",
        csms_transport="json",
        charger_version="1.6",
        csms_version="1.6",
        changes=1,
        read_seconds=0.0003,
        write_seconds=0.0002,
    )
    return replace(usual, **changes)


def a_record(reply: Reply | None = None, **changes: Any) -> Record:
    """The same as a journal tells it."""
    usual = Record(
        identity="BER-0001",
        arrived_from=Side.CHARGE_POINT,
        action="MeterValues",
        payload={},
        reply=reply or CallResult({}),
        began=NOW,
        seconds=0.061,
        peer_seconds=0.06,
        arrived=Passage("soap", METER_VALUES.encode()),
        asked=Passage("json", RELAYED.encode()),
        answered=Passage("json", b'[3,"7d1f",{}]'),
        replied=Passage("soap", RESPONSE.encode()),
        upstream="cloud",
        other_transport="json",
    )
    return replace(usual, **changes)


def of_corpus(files: Files) -> Exchange:
    """An exchange of the corpus as a gateway would have kept it; all its notes are of its first message."""
    carried = carry(files)
    asked, answered = (carried.relayed, files.messages[2]) if carried.relayed is not None else (None, None)
    calling, other = files.transports[files.asked_by], files.transports[files.asked]
    record = Record(
        identity="CP3211",
        known_as="CP3211",
        arrived_from=Side(files.asked_by),
        action=files.action,
        payload={},
        reply=CallError("GenericError") if b"Fault>" in carried.replied else CallResult({}),
        began=NOW,
        seconds=0.061,
        peer_seconds=0.06,
        arrived=Passage(calling, files.messages[0], carried.notes),
        asked=None if asked is None else Passage(other, asked),
        answered=None if answered is None else Passage(other, answered),
        replied=Passage(calling, carried.replied),
        other_transport=other,
        version=files.version(files.asked_by),
        other_version=files.version(files.asked),
    )
    history = History(MemoryStore(), Keeping(1.0, redaction=Redaction()), lambda: NOW)
    return history.row(NUMBER, record)
