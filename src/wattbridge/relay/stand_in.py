"""What the gateway knows of a charge point, so that it can answer where that cannot.

Charge points of OCPP 1.2 and 1.5 lack operations that a central system of 1.6 uses, and say less in those
they have. What is said here in their place has been said by them, or by their central system.
"""

from __future__ import annotations

from dataclasses import dataclass

from wattbridge.ocpp import ocppj
from wattbridge.ocpp.messages import Call, CallResult, Payload
from wattbridge.ocpp.older import Connector, occupied
from wattbridge.ocpp.security_extension import PASSWORD_KEYS
from wattbridge.relay.transactions import Transactions
from wattbridge.store.base import Change, ConfigurationKey, ConnectorStatus, Transaction, as_text

MOST_CONNECTORS = 64  # of one charge point, the oldest forgotten first
_BUSY = frozenset({"Charging", "SuspendedEV", "SuspendedEVSE", "Finishing"})
_OCCUPIED = frozenset({"Preparing", "Charging", "Finishing"})  # what Occupied becomes
# Earlier times are of a clock that was never set: no charge point of OCPP was there.
_UNSET_CLOCK = "2009"


@dataclass(frozen=True, slots=True)
class _Status:
    payload: Payload  # of the last StatusNotification.req
    heard: float
    occupied: bool  # what it said was no more than that, and what that means changes with its transactions


class StandIn:
    """What one charge point has told, and what its central system has set.

    ``statuses`` and ``configuration`` are rows of the store, ``boot`` the payload of its last
    BootNotification.req. Rows are given back for whoever keeps them; nothing is written here.
    """

    def __init__(self, identity: str) -> None:
        self.boot: Payload | None = None
        self._identity = identity
        self._statuses: dict[object, _Status] = {}
        self._meter_values: dict[object, Payload] = {}
        self._configuration: dict[str, ConfigurationKey] = {}  # by the key in lower case

    def load(
        self, statuses: list[ConnectorStatus], configuration: list[ConfigurationKey], *, is_older: bool
    ) -> None:
        for status in sorted(statuses, key=lambda row: row.heard):
            payload = ocppj.read_payload(status.payload)
            self._seen(payload, status.heard, is_older and payload.get("status") in _OCCUPIED)
        self._configuration = {row.key_name.lower(): row for row in configuration}

    def heard(self, call: Call, now: float) -> None:
        """The charge point has said *call*."""
        if call.action == "StatusNotification":
            self._seen(call.payload, now, "status" in call.added)
        elif call.action == "MeterValues":
            connector = call.payload.get("connectorId")
            self._meter_values.pop(connector, None)
            self._meter_values[connector] = call.payload
            _bound(self._meter_values)

    def _seen(self, payload: Payload, heard: float, is_occupied: bool) -> None:
        connector = payload.get("connectorId")
        self._statuses.pop(connector, None)
        self._statuses[connector] = _Status(payload, heard, is_occupied)
        _bound(self._statuses)

    # --- what a message of an older version leaves unsaid ---

    def connector(self, call: Call, transactions: Transactions) -> Connector:
        """What is known of the connector that *call* speaks of (``older.understood``)."""
        here = [row for row in transactions if row.connector_id == as_text(call.payload.get("connectorId"))]
        if call.action == "MeterValues":
            return Connector(_measured(call, here))
        return self._state_of(call.payload.get("connectorId"), here)

    def _state_of(self, connector_id: object, here: list[Transaction]) -> Connector:
        running = next((row for row in reversed(here) if not row.stopped), None)
        if running is not None:
            return Connector(int(running.local_id))
        last = self._statuses.get(connector_id)
        if last is None:
            return Connector(has_charged=bool(here))
        ended_since = any(row.changed >= last.heard for row in here)
        return Connector(has_charged=ended_since or last.payload.get("status") in _BUSY)

    # --- what a charge point cannot be asked ---

    def configuration(self, call: Call, heartbeat_interval: float | None) -> CallResult:
        """The reply to a GetConfiguration, from what is known: *heartbeat_interval* is in seconds."""
        known = {
            name: {"key": row.key_name, "readonly": bool(row.readonly)}
            | ({} if row.value is None else {"value": row.value})
            for name, row in self._configuration.items()
        }
        if heartbeat_interval is not None and "heartbeatinterval" not in known:
            interval = {"key": "HeartbeatInterval", "readonly": False, "value": f"{heartbeat_interval:.0f}"}
            known["heartbeatinterval"] = interval
        asked = call.payload.get("key") or []
        if not asked:
            return CallResult({"configurationKey": list(known.values())})
        found = [known[key.lower()] for key in asked if key.lower() in known]
        unknown = [key for key in asked if key.lower() not in known]
        payload: Payload = {"configurationKey": found} if found else {}
        return CallResult(payload | ({"unknownKey": unknown} if unknown else {}))

    def configured(self, call: Call, reply: CallResult, now: float) -> list[Change]:
        """A charge point has accepted a ChangeConfiguration, or told its configuration: rows to be kept."""
        told: list[Payload] = []
        if call.action == "GetConfiguration":
            told = reply.payload.get("configurationKey") or []
        elif reply.payload.get("status") in ("Accepted", "RebootRequired"):
            told = [{**call.payload, "readonly": False}]
        changes: list[Change] = []
        for each in told:
            name, value = as_text(each.get("key")), each.get("value")
            if not name or PASSWORD_KEYS.search(name):  # a password is never kept
                continue
            row = ConfigurationKey(
                self._identity,
                name,
                None if value is None else str(value),
                int(each.get("readonly") is True),
                now,
            )
            self._configuration[name.lower()] = row
            changes.append(row)
        return changes

    def triggered(self, call: Call, transactions: Transactions) -> list[Call]:
        """The messages that a TriggerMessage asks for, as far as they can be sent truthfully; none where they
        cannot.

        Meter values of a transaction that has ended would look as if it went on.
        """
        wanted, connector = call.payload.get("requestedMessage"), call.payload.get("connectorId")
        if wanted == "Heartbeat":
            return [Call("Heartbeat", {})]
        if wanted == "BootNotification":
            return [Call("BootNotification", self.boot)] if self.boot else []
        if wanted == "StatusNotification":
            said = {number: self._status_now(number, transactions) for number in self._statuses}
        elif wanted == "MeterValues":
            ended = {int(row.local_id) for row in transactions if row.stopped}
            said = {
                number: payload
                for number, payload in self._meter_values.items()
                if payload.get("transactionId") not in ended
            }
        else:
            return []
        numbers = [number for number in said if connector is None or number == connector]
        return [Call(wanted, said[number]) for number in sorted(numbers, key=str)]

    def _status_now(self, connector_id: object, transactions: Transactions) -> Payload:
        """The last status of a connector; one that was only Occupied, by what its transactions are now."""
        status = self._statuses[connector_id]
        if not status.occupied:
            return status.payload
        here = [row for row in transactions if row.connector_id == as_text(connector_id)]
        now = occupied(connector_id, self._state_of(connector_id, here))
        return {**status.payload, "status": now}


def _measured(call: Call, here: list[Transaction]) -> int | None:
    """The transaction that was open when the meter was read, by time; None where the values of one message
    are of several, or of none. A clock that was never set tells no time: then it is the one that is open now.
    """
    if call.payload.get("connectorId") == 0:  # the meter of the whole charge point
        return None
    times = [as_text(value.get("timestamp")) for value in call.payload.get("meterValue") or ()]
    found = {_open_at(when, here) for when in times}
    return found.pop() if len(found) == 1 else None


def _open_at(when: str, here: list[Transaction]) -> int | None:
    for row in reversed(here):
        if row.started <= when and (not row.stopped or when <= row.stopped):
            return int(row.local_id)
    running = [row for row in here if not row.stopped]
    return int(running[0].local_id) if len(running) == 1 and when < _UNSET_CLOCK else None


def _bound(said: dict[object, object] | dict[object, _Status] | dict[object, Payload]) -> None:
    if len(said) > MOST_CONNECTORS:
        del said[next(iter(said))]
