"""Rows to keep."""

from __future__ import annotations

from wattbridge.store.base import Exchange, Remembered, Transaction, Waiting


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
