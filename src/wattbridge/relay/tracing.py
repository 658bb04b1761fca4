"""Which trace an exchange belongs to: W3C's traceparent in from HTTP and out to it, of no vendor.

Only where a gateway is told to trace (``Journal.tracing``) is there anything of this at run time. A frame of
OCPP-J has no place for a trace, so on a WebSocket it ends with the gateway.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass, field

# W3C Trace Context, 3.2: version, trace-id, parent-id, trace-flags; a later version may say more after that.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01  # of trace-flags
LONGEST_STATE = 512  # characters of tracestate that are passed on (W3C Trace Context, 3.3.1.5)


@dataclass(frozen=True, slots=True)
class Parent:
    """What whoever posted a message said of its own trace. Ids are in lower-case hexadecimal."""

    trace_id: str  # 32 digits
    span_id: str  # 16 digits
    sampled: bool
    state: str = ""  # tracestate, as it came


@dataclass(slots=True)
class Trace:
    """The trace of one exchange: one span for the call as its caller sees it, one for the other party's leg.

    ``asked`` and ``answered`` tell when that leg began and ended, in seconds after the call arrived; both are
    0 when there was none.
    """

    trace_id: str
    span_id: str
    leg_id: str
    sampled: bool
    parent_id: str = ""  # the caller's own span
    state: str = ""
    asked: float = field(default=0.0, compare=False)
    answered: float = field(default=0.0, compare=False)

    @property
    def headers(self) -> dict[str, str]:
        """What the other party is told by HTTP: its part is a child of our leg."""
        headers = {"traceparent": f"00-{self.trace_id}-{self.leg_id}-{'01' if self.sampled else '00'}"}
        if self.state:
            headers["tracestate"] = self.state
        return headers


def read_parent(headers: Mapping[str, str]) -> Parent | None:
    """What the HTTP *headers* (names in lower case) say; None when they say nothing, or nonsense.

    Source: W3C Trace Context, 3.2 and 4.3.
    """
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    state = headers.get("tracestate", "")
    if len(state) > LONGEST_STATE or not state.isprintable():
        state = ""
    return Parent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED), state)


# What came with the HTTP request that is being answered, and the trace of the exchange that is under way: a
# context of asyncio each, so that whatever is asked on behalf of an exchange finds it.
_parent: ContextVar[Parent | None] = ContextVar("parent", default=None)
_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


class Tracing:
    """Begins the trace of each exchange.

    Of those that nobody has begun before us a share of *sample* is recorded; of the others those that whoever
    began them records.
    """

    def __init__(self, sample: float, rng: Callable[[int], int] = random.getrandbits) -> None:
        self.sample = sample
        self._bits = rng

    def heed(self, headers: Mapping[str, str]) -> None:
        """An HTTP request has come; what is relayed on its behalf is part of its trace."""
        _parent.set(read_parent(headers))

    def begin(self) -> Trace:
        """The trace of an exchange that begins now; until ``end`` it is the current one."""
        parent = _parent.get()
        _parent.set(None)  # one request, one exchange
        drawn = format(self._bits(256), "064x")
        span_id, leg_id = drawn[:16], drawn[16:32]
        if parent is not None:
            trace = Trace(parent.trace_id, span_id, leg_id, parent.sampled, parent.span_id, parent.state)
        else:
            trace_id = drawn[32:]
            # By the half of the id that others who sample by share look at, too.
            trace = Trace(trace_id, span_id, leg_id, int(trace_id[16:], 16) < self.sample * 2**64)
        _current.set(trace)
        return trace

    def end(self) -> None:
        _current.set(None)


def of_no_trace() -> Context:
    """The context of a task that an exchange happens to begin, and that goes on for others."""
    return Context()


def headers_to_send() -> dict[str, str]:
    """What goes along with an HTTP request for the exchange under way; empty where none is traced."""
    trace = _current.get()
    return trace.headers if trace is not None else {}
