"""What the gateway says for a central system that is away, and how much it keeps for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from wattbridge.ocpp.messages import CallResult, Payload
from wattbridge.ocpp.times import date_time_text

# Acknowledged here and kept, in this order, while their central system is away. Their .conf says nothing
# that a charge point acts on.
KEPT_ACTIONS = frozenset(
    {
        "StopTransaction",
        "MeterValues",
        "StatusNotification",
        "FirmwareStatusNotification",
        "DiagnosticsStatusNotification",
    }
)

# What may be answered here while the central system is away.
ANSWERED_ACTIONS = KEPT_ACTIONS | {"Authorize", "BootNotification", "Heartbeat", "StartTransaction"}

# Calls of a central system that change nothing: when the connection broke behind one, it is asked again.
SAFE_TO_REPEAT = frozenset({"GetConfiguration", "GetLocalListVersion", "GetCompositeSchedule"})


@dataclass(frozen=True, slots=True)
class Answers:
    """What the charge points of one route are answered while their central system is away."""

    authorize: Literal["cached", "none", "accept"] = "cached"
    start_transaction: Literal["hold", "provisional"] = "hold"
    boot_notification: Literal["last", "pending", "hold"] = "last"
    late_refusal: Literal["stop", "record"] = "stop"


@dataclass(frozen=True, slots=True)
class Rules:
    """How long things are held, repeated and kept; the same for all charge points."""

    hold: float = 20.0  # seconds a StartTransaction waits for its central system
    replies: float = 7 * 86400.0  # seconds in which a repeated message gets the reply of the first
    authorizations: float = 30 * 86400.0  # seconds in which an answer to Authorize is repeated
    attempts: int = 3  # refusals until a message is parked
    retry: float = 10.0  # seconds to the second attempt after a refusal, twice that to the third
    rate: float = 500.0  # messages per second that are sent when central systems are back
    most: int = 2000  # messages of one charge point
    most_bytes: int = 4 << 20
    most_in_all: int = 500_000
    most_bytes_in_all: int = 1 << 30
    max_age: float = 30 * 86400.0  # seconds
    boot_after_restart: bool = False
    transactions: float = 90 * 86400.0  # seconds that ended transactions are remembered


PENDING_INTERVAL = 60  # seconds, until a charge point that was told Pending tries again
USUAL_INTERVAL = 300  # seconds between Heartbeats, when the central system never said


def heartbeat(now: float) -> CallResult:
    return CallResult({"currentTime": date_time_text(now)})


def boot(status: str, interval: float, now: float) -> CallResult:
    return CallResult({"status": status, "currentTime": date_time_text(now), "interval": round(interval)})


def authorization(info: Payload, now: float) -> CallResult:
    """What was said of an idTag before, unless it has expired since."""
    expires = info.get("expiryDate")
    if isinstance(expires, str) and info.get("status") == "Accepted" and _is_past(expires, now):
        info = {**info, "status": "Expired"}
    return CallResult({"idTagInfo": info})


def _is_past(text: str, now: float) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return True  # nobody knows until when it holds
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() <= now
