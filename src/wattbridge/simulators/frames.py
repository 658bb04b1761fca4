"""What OCPP-J asks of frames, for the simulators of both sides: one ``Rules`` for each end of a connection.

Knows the three kinds of frames, ids and times; payloads are judged by the `ocpp` package's schemas, which
know nothing of these.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

SUBPROTOCOL = "ocpp1.6"
LONGEST_MESSAGE_ID = 36  # characters (OCPP-J 1.6, 4.1.4)
# OCPP-J 1.6, table 7, with its two misspellings, which the errata keep (5.1, 5.2).
ERROR_CODES = {
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "FormationViolation",
    "PropertyConstraintViolation",
    "OccurenceConstraintViolation",
    "TypeConstraintViolation",
    "GenericError",
}
# JSON schema calls them date-time, which is RFC 3339; the `ocpp` package does not look at formats.
TIMES = {
    *("timestamp", "currentTime", "expiryDate", "scheduleStart", "startSchedule"),
    *("validFrom", "validTo", "startTime", "stopTime", "retrieveDate"),
}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

# The libraries tell on their loggers what the simulators report as problems.
quiet = logging.getLogger(__name__)
quiet.addHandler(logging.NullHandler())
quiet.propagate = False


class Rules:
    """Judges what arrives at one end of a connection; ``note`` hears each breach as a sentence.

    ``asked`` holds what this end has asked and ``answers`` what came for it, by message id; whoever asks
    keeps the two. ``waiting`` counts the CALLs that arrived and have no answer yet.
    """

    def __init__(self, note: Callable[[str], None], *, is_answered: Callable[[str], bool]) -> None:
        self.asked: dict[str, str] = {}  # message id → action
        self.answers: dict[str, list[Any]] = {}  # message id → frame
        self.waiting = 0
        self._note = note
        self._is_answered = is_answered
        self._seen: set[str] = set()  # message ids of CALLs that arrived

    def replied(self) -> None:
        """A reply is about to leave: a CALL that comes right after it is in order."""
        self.waiting = max(0, self.waiting - 1)

    def judge(self, message: str | bytes) -> int | None:
        """Note what a frame does against OCPP-J 1.6, 4; returns its type, None when it is unusable."""
        shown = repr(message[:200])
        if isinstance(message, bytes):
            self._note(f"a binary frame; expected text: {shown}")
        try:
            frame = json.loads(message)
        except ValueError:
            self._note(f"not JSON: {shown}")
            return None
        lengths = {2: 4, 3: 3, 4: 5}
        if not isinstance(frame, list) or not frame or frame[0] not in lengths:
            self._note(f"not a CALL, CALLRESULT or CALLERROR: {shown}")
            return None
        if len(frame) != lengths[frame[0]]:
            self._note(f"{len(frame)} elements; expected {lengths[frame[0]]}: {shown}")
            return None
        message_id = frame[1]
        if not isinstance(message_id, str) or not 0 < len(message_id) <= LONGEST_MESSAGE_ID:
            self._note(f"message id {message_id!r}; expected text of at most {LONGEST_MESSAGE_ID} characters")
        if not isinstance(message_id, str):
            return None
        return self._judge_call(frame) if frame[0] == 2 else self._judge_reply(frame)

    def _judge_call(self, frame: list[Any]) -> int | None:
        _, message_id, action, payload = frame
        if not isinstance(action, str) or not isinstance(payload, dict):
            self._note(f"action {action!r} with payload {payload!r}; expected text and an object")
            return None
        if message_id in self._seen:
            self._note(f"{action}: message id {message_id!r} was used before on this connection (4.1.4)")
        self._seen.add(message_id)
        if self.waiting:
            self._note(f"{action}: sent while {self.waiting} CALL of the same side had no answer (4.1.1)")
        if self._is_answered(action):
            # One that gets no answer times out for the other side, which may then go on.
            self.waiting += 1
        self._judge_times(action, payload)
        return 2

    def _judge_reply(self, frame: list[Any]) -> int | None:
        message_id = frame[1]
        action = self.asked.get(message_id)
        if action is None or message_id in self.answers:
            self._note(f"a reply to {message_id!r}, which {'was answered' if action else 'nobody asked'}")
            return None
        if frame[0] == 4:
            code, description, details = frame[2:]
            if code not in ERROR_CODES:
                self._note(f"{action}: error code {code!r} is not one of OCPP-J 1.6")
            if not isinstance(description, str) or not isinstance(details, dict):
                self._note(
                    f"{action}: CALLERROR with {description!r} and {details!r}; expected text and object"
                )
                return None
        elif not isinstance(frame[2], dict):
            self._note(f"{action}: CALLRESULT with {frame[2]!r}; expected an object")
            return None
        else:
            self._judge_times(action, frame[2])
        return int(frame[0])

    def _judge_times(self, action: str, value: Any) -> None:
        if isinstance(value, list):
            for inner in value:
                self._judge_times(action, inner)
        elif isinstance(value, dict):
            for name, inner in value.items():
                if name in TIMES and isinstance(inner, str) and not RFC_3339.fullmatch(inner):
                    self._note(f"{action}: {name} {inner!r} is not a date-time of RFC 3339")
                self._judge_times(action, inner)


def floats(value: Any) -> Any:
    """Decimals as the floats the `ocpp` package writes; it prints them with their one digit."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: floats(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [floats(inner) for inner in value]
    return value
