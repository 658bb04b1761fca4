"""OCPP-J 1.6: frames, and ``Endpoint``, one connection without socket or clock.

Frames are read tolerantly and written strictly. An endpoint knows which CALL waits for which reply, on both
sides, and how long; what a payload means is left to the codec of the link that owns it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from wattbridge.ocpp.errors import FAULT_BY_CODE, Unreachable, Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Change, Note, Original, Payload, Reply

CALL = 2
CALLRESULT = 3
CALLERROR = 4

FORM = "json 1.6"  # of an Original: what stands in a frame behind its head

FRAME_NAMES = {CALL: "CALL", CALLRESULT: "CALLRESULT", CALLERROR: "CALLERROR"}
FRAME_SIZES = {CALL: (4, 4), CALLRESULT: (3, 3), CALLERROR: (3, 5)}  # elements, fewest and most we read

ERROR_CODES = frozenset(FAULT_BY_CODE)  # OCPP-J 1.6, table 7

# What implementations write → what table 7 prints, mistake included (OCPP-J 1.6 errata, 5.1, 5.2).
CODE_SPELLINGS = {
    "FormatViolation": "FormationViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
}

MESSAGE_ID_LENGTH = 36  # characters (OCPP-J 1.6, 4.1.4)
MESSAGE_ID_LENGTH_READ = (
    255  # characters; charge points with longer ids exist, and an id never leaves its connection
)
DESCRIPTION_LENGTH = 255  # characters (OCPP-J 1.6, 4.2.3)
MAX_DEPTH = 64  # arrays and objects inside each other; OCPP itself needs 9
MAX_EXPONENT = 400  # powers of ten; a double ends at 308


@dataclass(frozen=True, slots=True)
class CallFrame:
    """``[2, message_id, action, payload]``; ``notes`` tells what the reader forgave."""

    message_id: str
    action: str
    payload: Payload
    text: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultFrame:
    """``[3, message_id, payload]``"""

    message_id: str
    payload: Payload
    text: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """``[4, message_id, code, description, details]``, with ``code`` a word of table 7."""

    message_id: str
    code: str
    description: str
    details: Payload
    text: str
    notes: tuple[Note, ...] = ()


Frame = CallFrame | ResultFrame | ErrorFrame


class BrokenFrame(Violation):
    """A text that is no frame of OCPP-J, with as much of its head as could be read.

    ``message_type`` is None and the strings are empty when they could not. ``text`` is what was read.
    """

    text = ""

    def __init__(
        self, path: str, problem: str, message_type: int | None = None, message_id: str = "", action: str = ""
    ) -> None:
        super().__init__("FormationViolation", path, problem, reason="malformed")
        self.message_type = message_type
        self.message_id = message_id
        self.action = action


# --- reading ----------------------------------------------------------------------------------------------

# The head of a text that is not JSON: enough to answer it, or to end the call it would have answered.
_HEAD = re.compile(
    r'\ufeff?\s*\[\s*([234])\s*,\s*"([^"\\\x00-\x1f]{1,255})"\s*,(?:\s*"([A-Za-z]{1,50})"\s*,)?'
)

# White space before a colon: such a member is not counted by '":'.
_SPACED_COLON = re.compile(r"[ \n\t\r]:")


def read_frame(text: str | bytes) -> Frame:
    """Read one frame; bytes are UTF-8.

    Payloads are exact: integers of any size are ``int``, every other number is ``Decimal``.
    What is forgiven, each with a note: ``null`` for an empty payload, message ids longer than 36 characters,
    and the CALLERRORs of the field (parts missing or null, other spellings): to refuse an error reply would
    leave our call without its end.
    Raises BrokenFrame (a Violation, reason "malformed").
    Source: OCPP-J 1.6, 4.1 and 4.2.
    """
    try:
        return _read_frame(text)
    except BrokenFrame as broken:
        broken.text = text if isinstance(text, str) else text.decode(errors="replace")
        raise


def _read_frame(text: str | bytes) -> Frame:
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as bad:
            raise BrokenFrame("", f"is not UTF-8: byte {bad.start}, {bad.reason}") from None
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError as bad:
        raise _broken_text(text, f"is not JSON: {bad}") from None
    if type(frame) is not list:
        raise BrokenFrame("", f"found {_kind(frame)}, expected an array")
    members, containers, fractions = _survey(frame)
    if containers > MAX_DEPTH and _too_deep(frame):
        raise _broken_text(text, f"is nested more than {MAX_DEPTH} deep")
    # orjson makes doubles of fractions and of integers beyond 64 bits, and keeps the last of two members of
    # one name. '":' stands once in every member; when the counts agree there are no two of one name.
    if fractions or members != text.count('":') or _SPACED_COLON.search(text):
        try:
            frame = json.loads(text, parse_float=_exact, object_pairs_hook=_unique)
        except ValueError as bad:
            raise _broken_text(text, str(bad)) from None
    return _frame(frame, text)


def _broken_text(text: str, problem: str) -> BrokenFrame:
    head = _HEAD.match(text)
    if head is None:
        return BrokenFrame("", problem)
    message_type = int(head[1])
    action = head[3] or "" if message_type == CALL else ""
    return BrokenFrame(FRAME_NAMES[message_type], problem, message_type, head[2], action)


def _survey(frame: list[Any]) -> tuple[int, int, bool]:
    """How many members and containers there are, and whether there is a number orjson made a double of."""
    members, fractions = 0, False
    containers: list[Any] = [frame]
    for container in containers:  # grows on the way
        if type(container) is dict:
            members += len(container)
            container = container.values()
        for child in container:
            kind = type(child)
            if kind is dict or kind is list:
                containers.append(child)
            elif kind is float:
                fractions = True
    return members, len(containers), fractions


def _too_deep(frame: list[Any]) -> bool:
    level: list[Any] = [frame]
    for _ in range(MAX_DEPTH):
        children = [child for each in level for child in (each.values() if type(each) is dict else each)]
        level = [child for child in children if type(child) is dict or type(child) is list]
    return bool(level)


def _exact(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except ArithmeticError:
        number = None
    # Whoever writes such a number in full would write a gigabyte of zeros.
    if number is None or abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError(f"number out of range: {text[:40]}")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> Payload:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"member {twice[:50]!r} occurs twice in one object")
    return members


def _frame(frame: list[Any], text: str) -> Frame:
    message_type = frame[0] if frame else None
    if type(message_type) is not int or message_type not in FRAME_NAMES:
        found = message_type if type(message_type) is int else _kind(message_type) if frame else "nothing"
        raise BrokenFrame("messageTypeId", f"found {found}, expected 2, 3 or 4")
    name = FRAME_NAMES[message_type]
    size = len(frame)
    message_id = frame[1] if size > 1 else None
    if type(message_id) is not str or not 0 < len(message_id) <= MESSAGE_ID_LENGTH_READ:
        found = f"{len(message_id)} characters" if type(message_id) is str else _kind(message_id)
        raise BrokenFrame(
            f"{name}.uniqueId", f"found {found}, expected a string of 1 to 36 characters", message_type
        )
    action = frame[2] if message_type == CALL and size > 2 and type(frame[2]) is str else ""
    fewest, most = FRAME_SIZES[message_type]
    if not fewest <= size <= most:
        raise BrokenFrame(name, f"found {size} elements, expected {most}", message_type, message_id, action)
    notes: tuple[Note, ...] = ()
    if len(message_id) > MESSAGE_ID_LENGTH:
        notes = (Change("uniqueId", message_id, message_id, "long-message-id"),)
    if message_type == CALLERROR:
        return _error_frame(message_id, frame[2:], text, notes)
    payload = frame[-1]
    if payload is None:  # allowed for an empty payload (OCPP-J 1.6, 4.2.1 and 4.2.2)
        payload = {}
        notes += (Change("payload", "null", "{}", "null-payload"),)
    if type(payload) is not dict:
        raise BrokenFrame(
            f"{name}.payload", f"found {_kind(payload)}, expected an object", message_type, message_id, action
        )
    if message_type == CALLRESULT:
        return ResultFrame(message_id, payload, text, notes)
    if not action:
        found = "an empty string" if frame[2] == "" else _kind(frame[2])
        raise BrokenFrame("CALL.action", f"found {found}, expected a name", message_type, message_id)
    return CallFrame(message_id, action, payload, text, notes)


def _error_frame(message_id: str, rest: list[Any], text: str, notes: tuple[Note, ...]) -> ErrorFrame:
    """Make a CALLERROR of what the field sends: null codes, three or four elements, details as a string."""
    found_code, found_description, found_details = rest + [None] * (3 - len(rest))
    description = "" if found_description is None else found_description
    if type(description) is not str:
        description = _written(description)
    code = CODE_SPELLINGS.get(found_code, found_code) if type(found_code) is str else "GenericError"
    if code not in ERROR_CODES:
        if code:  # the word is lost otherwise
            description = f"{code}: {description}" if description else code
        code = "GenericError"
    if code != found_code:
        was = found_code if type(found_code) is str else _written(found_code)
        notes += (Change("errorCode", was, code, "error-code"),)
    if type(found_details) is dict:
        details = found_details
    else:
        details = {} if found_details in (None, "") else {"details": found_details}
        notes += (Change("errorDetails", _written(found_details), _written(details), "error-details"),)
    return ErrorFrame(message_id, code, description, details, text, notes)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds: dict[type, str] = {str: "a string", dict: "an object", list: "an array"}
    return kinds.get(type(value), "a number")


# What stands before the payload, in a text that was read: its type, its id and, in a CALL, its action.
_STRING = r'\s*"(?:[^"\\]++|\\.)*+"\s*,\s*'
_BEFORE = {CallFrame: re.compile(rf"\s*\[\s*2\s*,{_STRING}{_STRING}")} | {
    kind: re.compile(rf"\s*\[\s*[34]\s*,{_STRING}") for kind in (ResultFrame, ErrorFrame)
}


def original_of(frame: Frame) -> Original:
    """What stands in *frame* behind its head, as its sender wrote it: a payload, or code, description and
    details. *frame* is one that was read."""
    before = _BEFORE[type(frame)].match(frame.text)
    assert before is not None  # it was read, so it is a frame
    return Original(FORM, frame.text[before.end() : frame.text.rindex("]")].rstrip().encode())


# --- writing ----------------------------------------------------------------------------------------------


def write_call(message_id: str, action: str, payload: Payload) -> str:
    """Write a CALL: compact JSON. Raises Violation when the payload cannot be written, as do the other two.

    Numbers are ``int`` of any size and finite ``Decimal``; both are written exactly.
    """
    return _written([CALL, message_id, action, payload])


def write_result(message_id: str, payload: Payload) -> str:
    return _written([CALLRESULT, message_id, payload])


def write_error(message_id: str, code: str, description: str, details: Payload) -> str:
    """Write a CALLERROR; a description of more than 255 characters is cut."""
    if len(description) > DESCRIPTION_LENGTH:
        description = description[: DESCRIPTION_LENGTH - 1] + "…"
    return _written([CALLERROR, message_id, code, description, details])


def write_original(message_type: int, message_id: str, original: Original, action: str = "") -> str:
    """Write a frame around what its sender wrote; the rest of a frame is written as usual."""
    head = _written([message_type, message_id, action] if action else [message_type, message_id])
    return f"{head[:-1]},{original.text.decode()}]"


def write_payload(payload: Payload) -> str:
    """Write a payload alone, as it stands in a frame. Raises Violation."""
    return _written(payload)


def read_payload(text: str) -> Payload:
    """What ``write_payload`` wrote, or what stood in a frame that was read; numbers are exact."""
    payload = json.loads(text, parse_float=_exact)
    assert isinstance(payload, dict)
    return payload


def write_reply(message_id: str, reply: Reply) -> str:
    if reply.original is not None and reply.original.form == FORM:
        kind = CALLRESULT if isinstance(reply, CallResult) else CALLERROR
        return write_original(kind, message_id, reply.original)
    if isinstance(reply, CallResult):
        return write_result(message_id, reply.payload)
    return write_error(message_id, reply.code, reply.description, reply.details)


def _written(value: Any) -> str:
    try:
        return orjson.dumps(value, default=_fragment).decode()
    except TypeError:  # an integer beyond 64 bits, or nothing that JSON can say
        try:
            return orjson.dumps(_with_big_integers(value), default=_fragment).decode()
        except (TypeError, ValueError, RecursionError) as bad:
            raise Violation(
                "TypeConstraintViolation", "payload", f"cannot be written as JSON: {bad}"
            ) from None


def _fragment(value: Any) -> orjson.Fragment:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise TypeError(f"{value!r} is no JSON value")
    # 8.1 is written 8.1, and 1E+2 is written 100, which every peer reads.
    plain = abs(value.adjusted()) <= MAX_EXPONENT
    return orjson.Fragment(format(value, "f") if plain else str(value))


def _with_big_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_big_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_big_integers(item) for item in value]
    if type(value) is int:
        return orjson.Fragment(str(value))
    return value


# --- one connection ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """One of our calls has ended; each does exactly once.

    ``asked`` is the CALL as it was written. ``outcome`` is the reply, a BrokenFrame when the reply cannot be
    read, or Unreachable: "timeout" and "unreachable" when it was sent, "busy" and "not_connected" when
    it never was.
    """

    message_id: str
    action: str
    asked: str
    outcome: ResultFrame | ErrorFrame | BrokenFrame | Unreachable


@dataclass(frozen=True, slots=True)
class Refused:
    """A CALL of the other party was answered with a CALLERROR here; ``answer`` is that frame.

    It is empty when the connection was lost before the CALL could be served.
    """

    action: str
    reply: CallError
    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something arrived that nobody waits for. ``text`` is what arrived, ``problem`` a sentence for people.

    ``kind`` is one of ``malformed message``, ``late reply``, ``unknown reply``, ``repeated call``,
    ``reused message id``.
    """

    kind: str
    problem: str
    text: str


Event = Ended | Refused | Noted


@dataclass(slots=True)
class _Asked:
    """One of our calls: waiting for its turn until ``deadline``, then for its reply.

    ``again`` is one that was sent before and whose reply has not come: nothing is sent for it.
    """

    message_id: str
    action: str
    text: str
    deadline: float
    again: bool = False


class Endpoint:
    """One end of one connection, without socket or clock.

    Texts to be sent appear in ``outgoing``, in order; whoever owns the socket takes them from there after
    each method. ``now`` is seconds on any clock that never goes back; ``tick`` wants to be called when
    ``deadline`` has come.

    One CALL at a time in each direction (OCPP-J 1.6, 4.1.1); CALLs of the two parties may cross. Our further
    calls wait their turn. A party that sends CALLs without waiting is served one by one, in order.
    """

    # There is one for each connection.
    __slots__ = (
        "_answered",
        "_arrived",
        "_gone",
        "_late",
        "_max_waiting",
        "_new_message_id",
        "_pending",
        "_repeat_window",
        "_serving",
        "_timed_out",
        "_waiting",
        "_waiting_timeout",
        "call_timeout",
        "outgoing",
    )

    def __init__(
        self,
        new_message_id: Callable[[], str],
        call_timeout: float = 30.0,  # seconds, from when the CALL is sent
        waiting_timeout: float = 30.0,  # seconds a call may wait for its turn
        max_waiting: int = 32,  # calls, in each direction
        repeat_window: float = 60.0,  # seconds in which the same CALL again is a repetition
    ) -> None:
        self.outgoing: list[str] = []
        self._new_message_id = new_message_id
        self.call_timeout = call_timeout  # of CALLs that are sent from now on
        self._waiting_timeout = waiting_timeout
        self._max_waiting = max_waiting
        self._repeat_window = repeat_window
        self._gone = ""  # why the connection is lost
        # Ours. When none is pending none waits.
        self._pending: _Asked | None = None
        self._waiting: list[_Asked] = []
        self._timed_out: list[_Asked] = []  # the last few
        self._late: list[Ended] = []  # those of them whose reply has come since
        # Theirs, each with the time it arrived.
        self._serving: tuple[CallFrame, float] | None = None
        self._arrived: list[tuple[CallFrame, float]] = []
        self._answered: tuple[CallFrame, float, str] | None = None  # the last one, with our reply

    @property
    def deadline(self) -> float | None:
        """When ``tick`` must be called at the latest; None while nothing can time out."""
        if self._pending is None:
            return None
        if self._waiting:
            return min(self._pending.deadline, self._waiting[0].deadline)
        return self._pending.deadline

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone, so that nothing can be said on it any more."""
        return bool(self._gone)

    @property
    def idle(self) -> bool:
        """Neither party waits for the other."""
        return self._pending is None and self._serving is None and not self._arrived

    def call(self, call: Call, now: float) -> str:
        """Ask the other party; returns the message id under which ``Ended`` will come: the one of *call*, or
        a new one.

        One that was sent under this id on this connection and timed out is not sent again, which the rules
        forbid (OCPP-J 1.6, 4.1.4): its reply is waited for once more.
        ``call.payload`` is what stands in the frame, or ``call.original`` when it is of this form.
        Raises Unreachable at once when the connection is lost or too many calls wait, Violation when the
        payload cannot be written.
        """
        if self._gone:
            raise Unreachable("not_connected", f"{self._gone}; {call.action} was not sent")
        if len(self._waiting) >= self._max_waiting:
            raise Unreachable("busy", f"{len(self._waiting)} calls wait already; {call.action} was not sent")
        sent = self._sent_before(call.message_id)
        if sent is not None:
            self._timed_out.remove(sent)
            sent.again = True
            self._ask(sent, now)
            return sent.message_id
        message_id = call.message_id or self._new_message_id()
        if call.original is not None and call.original.form == FORM:
            text = write_original(CALL, message_id, call.original, call.action)
        else:
            text = write_call(message_id, call.action, call.payload)
        self._ask(_Asked(message_id, call.action, text, 0.0), now)
        return message_id

    def _ask(self, asked: _Asked, now: float) -> None:
        if self._pending is None:
            self._send(asked, now)
        else:
            asked.deadline = now + self._waiting_timeout
            self._waiting.append(asked)

    def was_sent(self, message_id: str) -> bool:
        """Whether a call of this id was sent, and has timed out without a reply so far."""
        return self._sent_before(message_id) is not None

    def _sent_before(self, message_id: str) -> _Asked | None:
        if not message_id:
            return None
        return next((asked for asked in self._timed_out if asked.message_id == message_id), None)

    def late_reply(self, message_id: str) -> Ended | None:
        """The reply to a call of this id that came when it had timed out; given once."""
        for ended in self._late:
            if ended.message_id == message_id:
                self._late.remove(ended)
                return ended
        return None

    def withdraw(self, message_id: str) -> None:
        """Forget a call that still waits for its turn: nobody wants its reply. One that was sent stays."""
        for asked in self._waiting:
            if asked.message_id == message_id:
                self._waiting.remove(asked)
                return

    def receive(self, text: str | bytes, now: float) -> list[Event]:
        """Take what the other party sent. CALLs to serve are handed out by ``next_call``."""
        if self._gone:
            return []
        try:
            frame = read_frame(text)
        except BrokenFrame as broken:
            return [self._take_broken(broken, now)]
        if isinstance(frame, CallFrame):
            return self._take_call(frame, now)
        if self._is_pending(frame.message_id):
            return [self._end_pending(frame, now)]
        return [self._take_stray(frame)]

    def next_call(self) -> CallFrame | None:
        """The CALL to serve now; None while one is being served, or when there is none."""
        if self._serving is not None or not self._arrived:
            return None
        self._serving = self._arrived.pop(0)
        return self._serving[0]

    def reply(self, message_id: str, reply: Reply) -> str:
        """Answer the CALL that is being served; returns the frame.

        ``reply.payload`` is what stands in the frame, or ``reply.original`` when it is of this form. When the
        connection is lost the frame goes nowhere.
        Raises Violation when it cannot be written; the CALL then still waits for its reply.
        """
        text = write_reply(message_id, reply)
        if self._gone:
            return text
        if self._serving is None or self._serving[0].message_id != message_id:
            raise ValueError(f"CALL {message_id} is not being served")
        # Only what was done is not done again: a call that failed may be tried once more with its old id.
        self._answered = (*self._serving, text) if isinstance(reply, CallResult) else None
        self._serving = None
        self.outgoing.append(text)
        return text

    def leave(self, message_id: str) -> None:
        """Leave the CALL that is being served without a reply: who sent it keeps it, and sends it again."""
        if self._serving is not None and self._serving[0].message_id == message_id:
            self._serving = self._answered = None

    def tick(self, now: float) -> list[Event]:
        """End what has waited too long."""
        events: list[Event] = []
        overdue = []
        while self._waiting and now >= self._waiting[0].deadline:
            overdue.append(self._waiting.pop(0))
        pending = self._pending
        if pending is not None and now >= pending.deadline:
            self._timed_out = [*self._timed_out[-7:], pending]
            problem = f"no reply to {pending.action} within {self.call_timeout:g} s"
            events.append(self._end_pending(Unreachable("timeout", problem), now))
        for asked in overdue:
            problem = f"{asked.action} was not sent: the calls before it took {self._waiting_timeout:g} s"
            events.append(_ended(asked, Unreachable("busy", problem)))
        return events

    def lost(self, reason: str) -> list[Event]:
        """The connection is gone: end every call. ``reason`` is a sentence for people.

        What the other party has asked and is being served goes on; what waited for its turn is refused.
        """
        self._gone = reason or "the connection is lost"
        events: list[Event] = []
        if self._pending is not None:
            problem = f"{self._gone}; {self._pending.action} was sent, its reply did not come"
            events.append(_ended(self._pending, Unreachable("unreachable", problem)))
        for asked in self._waiting:
            problem = f"{self._gone}; {asked.action} was not sent"
            events.append(_ended(asked, Unreachable("not_connected", problem)))
        for frame, _ in self._arrived:
            problem = f"{self._gone}; {frame.action} waited for its turn and was not served"
            unserved = CallError("GenericError", problem, reason="not_connected")
            events.append(Refused(frame.action, unserved, frame.text, ""))
        self._pending = self._serving = self._answered = None
        self._timed_out.clear()
        self._waiting.clear()
        self._arrived.clear()
        self.outgoing.clear()
        return events

    # Ours.

    def _send(self, asked: _Asked, now: float) -> None:
        # Known as pending before its text can be sent, or a quick reply would find nobody.
        asked.deadline = now + self.call_timeout
        self._pending = asked
        if not asked.again:
            self.outgoing.append(asked.text)

    def _is_pending(self, message_id: str) -> bool:
        return self._pending is not None and self._pending.message_id == message_id

    def _end_pending(
        self, outcome: ResultFrame | ErrorFrame | BrokenFrame | Unreachable, now: float
    ) -> Ended:
        """End the pending call and send the next."""
        assert self._pending is not None
        ended = _ended(self._pending, outcome)
        self._pending = None
        if self._waiting:
            self._send(self._waiting.pop(0), now)
        return ended

    def _take_stray(self, frame: ResultFrame | ErrorFrame) -> Noted:
        for asked in self._timed_out:
            if asked.message_id == frame.message_id:
                self._timed_out.remove(asked)
                self._late = [*self._late[-7:], _ended(asked, frame)]
                return Noted("late reply", f"the reply to {asked.action} came too late", frame.text)
        return Noted("unknown reply", "a reply to no call that waits for one", frame.text)

    # Theirs.

    def _take_broken(self, broken: BrokenFrame, now: float) -> Event:
        if broken.message_type == CALL and broken.message_id:
            reply = CallError(broken.code, str(broken), {"path": broken.path}, reason=broken.reason)
            return self._refuse(broken.message_id, broken.action, reply, broken.text)
        if self._is_pending(broken.message_id):
            return self._end_pending(broken, now)
        return Noted("malformed message", str(broken), broken.text)

    def _take_call(self, frame: CallFrame, now: float) -> list[Event]:
        notes: list[Event] = []
        in_hand = [self._serving, *self._arrived] if self._serving is not None else self._arrived
        for known, _ in in_hand:
            if known.message_id == frame.message_id:
                if known.text == frame.text:
                    problem = f"{frame.action} was repeated while it is being served"
                    return [Noted("repeated call", problem, frame.text)]
                notes = [_reused(frame)]
        if self._answered is not None and self._answered[0].message_id == frame.message_id:
            known, arrived_at, reply = self._answered
            # Devices with one constant id for everything exist, so only the same words soon after are a
            # repetition; and the reply to a Heartbeat is the time, which is no longer the same.
            soon = now - arrived_at <= self._repeat_window
            if known.text == frame.text and soon and frame.action != "Heartbeat":
                self.outgoing.append(reply)
                problem = f"{frame.action} was repeated after it was answered; the same reply was sent again"
                return [Noted("repeated call", problem, frame.text)]
            notes = [_reused(frame)]
        if len(self._arrived) >= self._max_waiting:
            problem = f"{len(self._arrived)} CALLs wait already to be served"
            reply_busy = CallError("GenericError", problem, reason="busy")
            return [*notes, self._refuse(frame.message_id, frame.action, reply_busy, frame.text)]
        self._arrived.append((frame, now))
        return notes

    def _refuse(self, message_id: str, action: str, reply: CallError, text: str) -> Refused:
        answer = write_reply(message_id, reply)
        self.outgoing.append(answer)
        return Refused(action, reply, text, answer)


def _ended(asked: _Asked, outcome: ResultFrame | ErrorFrame | BrokenFrame | Unreachable) -> Ended:
    return Ended(asked.message_id, asked.action, asked.text, outcome)


def _reused(frame: CallFrame) -> Noted:
    problem = f"{frame.action} carries the message id of an earlier CALL and is served as a new one"
    return Noted("reused message id", problem, frame.text)
