"""Rows to keep."""

from __future__ import annotations

from wattbridge.store.base import (
    AuditEntry,
    Authorization,
    Capture,
    Captured,
    ChargePoint,
    ConfigurationKey,
    ConnectorStatus,
    Exchange,
    Remembered,
    Row,
    Transaction,
    Waiting,
)


def a_waiting(position: int, identity: str = "CP3211", payload: str = '{"connectorId":1}') -> Waiting:
    return Waiting(identity, position, "MeterValues", payload, f"m-{position}", kept=float(position))


def an_exchange(number: int, identity: str = "CP3211", arrived: str = "", began: float = 0.0) -> Exchange:
    return Exchange(
        number=number,
        identity=identity,
        began=began or float(number),
        arrived_from="charge_point",
        action="Heartbeat",
        reason="",
        seconds=0.061,
        peer_seconds=0.06,
        upstream="cloud",
        arrived=arrived,
        asked="",
        answered="",
        replied="",
    )


def a_transaction(local_id: str, state: str = "stopped", changed: float = 0.0) -> Transaction:
    return Transaction("CP3211", local_id, state=state, changed=changed)


def a_reply(content_key: str, answered: float) -> Remembered:
    return Remembered("CP3211", content_key, "StopTransaction", "{}", answered)


CHARGE_POINT = ChargePoint(
    identity="CP3211",
    dialect="soap 1.6",
    listener="field",
    source="10.0.0.7",
    callback='{"url":"http://10.0.0.7:8080/"}',
    vendor="ACME",
    model=None,
    firmware="1.4",
    boot='{"chargePointVendor":"ACME"}',
    accepted=1_714_557_600.125,
    heartbeat_interval=300.0,
    heard=1_714_557_661.0,
    alive=1,
)
ONE_OF_EACH: tuple[Row, ...] = (
    CHARGE_POINT,
    ConnectorStatus("CP3211", "1", '{"status":"Charging"}', 1_714_557_600.0),
    ConfigurationKey("CP3211", "HeartbeatInterval", None, 0, 1_714_557_600.0),
    Authorization("CP3211", "04E91C5A", '{"status":"Accepted"}', 1_714_557_600.0),
    a_transaction("-1", "open", 1_714_557_600.0),
    a_waiting(9_007_199_254_740_993),
    a_reply("6d1f", 1_714_557_600.5),
    an_exchange(1, arrived="<Envelope>Käfer, 充电, 🔌</Envelope>"),
    Capture("6d1f", "Käfer", "charger:BER-*", 1_714_557_600.0, 1_714_558_200.0, None, "", 1, 812, 10, 1000),
    Captured("6d1f", 9_007_199_254_740_993, 1_714_557_600.5, '{"number":1}'),
    AuditEntry(
        1_714_557_600_000_000,
        1_714_557_600.125,
        "depot",
        "operate",
        "10.0.0.9",
        "POST /chargers/CP3211/move",
        "CP3211",
        "",
        200,
        "",
    ),
)
