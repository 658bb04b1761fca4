"""Which messages are repetitions: known by what they say, never by their message id.

A charge point that got no reply sends its transaction message again, under a new id (EVerest/libocpp #298).
What was answered once is answered the same again.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass

import orjson

from wattbridge.ocpp.messages import Call, CallResult

# What tells one message from another of the same charge point; of others, the whole payload.
# Source: OCPP 1.6, 4.8 and 4.10; abhasdudeja/ocpp-broker, plans/transaction-ids.md.
TELLING = {
    "StartTransaction": ("connectorId", "idTag", "meterStart", "timestamp"),
    "StopTransaction": ("transactionId", "timestamp", "meterStop"),
}

# Of one charge point, in memory. It repeats the message it sent last, or the few it sent at once.
MOST_METER_VALUES = 32
MOST_OTHERS = 32


def content_key(call: Call) -> str:
    """What a transaction message says, in 32 characters: equal for its repetitions, whatever the gateway has
    put into them."""
    fields = TELLING.get(call.action)
    said = {name: call.payload.get(name) for name in fields} if fields else call.payload
    if call.added:
        said = {name: value for name, value in said.items() if name not in call.added}
    try:
        text = orjson.dumps([call.action, said], default=str, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits, or half of a surrogate pair
        text = json.dumps([call.action, said], sort_keys=True, default=str).encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def message_id_of(identity: str, key: str, refusals: int = 0) -> str:
    """The message id under which a central system gets a message, however often it is sent: 36 characters.

    It is made of the content, so that it is the same after a crash that nothing was written before. After a
    refusal it is another one: the central system has had its word on the one before.
    """
    digest = hashlib.blake2b(f"{refusals}\0{key}\0{identity}".encode(errors="surrogatepass"), digest_size=16)
    return str(uuid.UUID(bytes=digest.digest(), version=4))


@dataclass(slots=True)
class Answered:
    """A reply that was given. ``kept`` tells whether the store has it, so that it may be given again."""

    result: CallResult
    at: float  # seconds since the epoch
    kept: bool = True


class Replies:
    """The last replies to the transaction messages of one charge point, by content."""

    # There is one for each charge point.
    __slots__ = (
        "_meter_values",
        "_others",
    )

    def __init__(self) -> None:
        self._meter_values: dict[str, Answered] = {}  # the latest last
        self._others: dict[str, Answered] = {}

    def find(self, key: str) -> Answered | None:
        return self._meter_values.get(key) or self._others.get(key)

    def remember(self, action: str, key: str, answered: Answered) -> None:
        metered = action == "MeterValues"
        of_this_kind = self._meter_values if metered else self._others
        of_this_kind.pop(key, None)
        of_this_kind[key] = answered
        if len(of_this_kind) > (MOST_METER_VALUES if metered else MOST_OTHERS):
            del of_this_kind[next(iter(of_this_kind))]
