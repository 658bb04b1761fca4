"""What goes wrong, grouped by cause and named in plain words, each with what to do about it.

It listens to the journal and keeps a bounded number of groups: one for each kind of cause, charge point and
central system, and one for all charge points that meet the same trouble at a central system. What has passed
says so. Whatever is not in the table is no problem here; the message history has every call.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from wattbridge.ocpp.messages import CallError, CallResult, Side
from wattbridge.relay.journal import Event, Journal, Record

MOST = 5000  # groups; the one that was seen longest ago gives way
MOST_MET = 20_000  # charge points of one group
MOST_CLOCKS = 20_000  # charge points whose clock is looked at
LONGEST = 500  # characters of what a party said

ASTRAY = 120.0  # seconds that a clock may be wrong
ALIKE = 15.0  # seconds by which two messages may differ that tell of the same wrong clock
QUIET = 60.0  # seconds without a charge point that waits to connect, after which none does any more
APART = 20.0  # seconds between them: what was kept while a line was down comes all at once


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of cause: what it comes to, what to do, and where the guide says more."""

    text: str
    fix: str
    guide: str = ""  # an anchor of docs/guides/troubleshooting.md


CAUSES = {
    "unknown-charger": Cause(
        "The charge point is not known to this gateway: its identity is not listed, or is spelled otherwise.",
        "Compare the identity letter by letter with the one in the configuration. If it belongs here, "
        "list it under chargers and reload.",
        "is-not-known-to-this-gateway",
    ),
    "wrong-password": Cause(
        "The charge point shows no password, or the wrong one.",
        "Compare chargers.IDENTITY.password with its AuthorizationKey; the user name has to be its identity.",
        "a-websocket-is-refused",
    ),
    "wrong-url": Cause(
        "The charge point has the wrong URL: it uses an address of this gateway that is not meant for it.",
        "Correct the URL on the charge point, or list its path under listeners.NAME.paths.",
        "wrong-address",
    ),
    "wrong-protocol": Cause(
        "The charge point speaks another version of OCPP than is served where it connects.",
        "Set it to OCPP 1.6, or serve its version: listeners.NAME.versions and protocol.",
        "it-connects-and-is-closed-at-once",
    ),
    "not-let-in": Cause(
        "Somebody connects from an address that is not let in.",
        "If it is a charge point, add its network to listeners.NAME.allow.",
        "may-not-connect-here",
    ),
    "no-callback": Cause(
        "The charge point cannot be called: there is no route to the address it gave, or a firewall is "
        "in between.",
        "From this machine, open a connection to the callback address. Open the firewall, forward the "
        "port, or set chargers.IDENTITY.callback_url to the address where it is reached from here.",
        "no-usable-callback-address-connection-refused-by-no-answer-from",
    ),
    "callback-not-allowed": Cause(
        "The charge point names a callback address that must not be called, or none at all.",
        "Set chargers.IDENTITY.callback_url, or list the network of the charge points in callbacks.networks.",
        "no-usable-callback-address-connection-refused-by-no-answer-from",
    ),
    "tls": Cause(
        "TLS fails: the certificate is not trusted, has ended, or is of another name; or one side "
        "speaks no TLS.",
        "Look at who issued the certificate (tls.ca), until when it is valid, whether its name is that "
        "of the URL, and whether both sides mean the same of http and https, ws and wss.",
        "the-central-system-does-not-take-the-charge-point",
    ),
    "html-instead-of-soap": Cause(
        "What answers sends a page of HTML instead of SOAP: a login page, a proxy, or the charge "
        "point's own web server.",
        "Correct path and port of the callback address (chargers.IDENTITY.callback_url) or of the "
        "central system's URL.",
        "html-instead-of-soap",
    ),
    "not-ocpp": Cause(
        "What arrives cannot be read as OCPP: it is not XML, not SOAP or not a frame of JSON.",
        "Look at the message: a browser, a scanner or a proxy looks like this, and a device with a "
        "fault too.",
        "expected-a-soap-envelope-not-well-formed-xml",
    ),
    "csms-credentials": Cause(
        "The central system does not accept the credential that is shown to it.",
        "Correct upstreams.NAME.auth.basic, or upstream_password of the charge point.",
        "the-central-system-does-not-take-the-charge-point",
    ),
    "csms-unknown": Cause(
        "The central system does not know this charge point, or the path of its URL is wrong.",
        "Add the charge point there under the name that the gateway uses for it, or correct "
        "upstreams.NAME.url.",
        "the-central-system-does-not-take-the-charge-point",
    ),
    "csms-unreachable": Cause(
        "The central system cannot be reached.",
        "`wattbridge check --connect` tries it step by step: name, port, firewall, TLS, path.",
        "the-central-system-does-not-take-the-charge-point",
    ),
    "connect-rate": Cause(
        "Charge points wait for the gateway itself: more of them connect than it lets through to their "
        "central system in a second.",
        "Raise upstreams.NAME.connect.rate to what the central system takes, or let the fleet come back more "
        "slowly; what is said here has the number that holds.",
        "it-is-not-this-charge-points-turn-yet-to-connect",
    ),
    "authorization-refused": Cause(
        "The central system refuses an idTag: the driver is not let charge.",
        "Look up the idTag in the central system: blocked, expired, or not known there.",
    ),
    "authorization-offline": Cause(
        "Somebody wanted to charge while the central system was away, and was answered by the gateway.",
        "Bring the central system back; what the gateway answers meanwhile is offline.answer.",
    ),
    "configuration-value": Cause(
        "The charge point cannot hold a configuration value: it refused it, or does not know the key.",
        "Ask it for what it has (GetConfiguration), and set a value that it takes: some round, or have "
        "bounds.",
    ),
    "clock-skew": Cause(
        "The clock of the charge point is wrong: its times are not those of now.",
        "Set its time zone and time server. When it sends local time without an offset, set "
        "chargers.IDENTITY.zone; the clock follows the currentTime of each Heartbeat on most devices.",
        "times-are-off-by-hours",
    ),
    "duplicate": Cause(
        "Two devices use one identity, or the gateway still hears an older connection of it.",
        "Look for a second device with this identity; the address of each is in the log.",
        "has-another-connection-which-answers",
    ),
    "two-addresses": Cause(
        "Another address speaks for a charge point that is called at its old one.",
        "If it has a new address, this ends by itself when the old one stops answering. If not, "
        "somebody uses its identity.",
    ),
    "rate-limited": Cause(
        "The charge point connects too often.",
        "Look at why it comes back: at its mobile line, at ping settings, at what stands between.",
        "it-is-cut-off-again-and-again",
    ),
    "message-parked": Cause(
        "The central system has refused a kept message as often as is tried.",
        "Look at it (`wattbridge queue list`), then retry or drop it.",
        "message-parked",
    ),
}

# Causes that go away by themselves, and how that is seen: the charge point is called, it comes in, its
# central system takes it or answers.
_PASSED_WHEN_CALLED = ("no-callback", "callback-not-allowed", "tls", "html-instead-of-soap")
_PASSED_WHEN_IN = ("wrong-password", "wrong-protocol", "rate-limited")
_PASSED_WHEN_TAKEN = ("csms-credentials", "csms-unknown")
_PASSED_WHEN_ANSWERED = ("html-instead-of-soap",)
_OF_CENTRAL_SYSTEM = ("csms-unreachable", "tls")
_PASSED_WHEN_OUT_OF_SERVICE = ("csms-unreachable",)

_TLS = re.compile(r"\bTLS\b|\bSSL\b|certificate", re.IGNORECASE)
_NOT_ITS_TURN = re.compile(r"\bconnect\.rate is \d")  # as the link to a central system says it
_STATUS = re.compile(r"HTTP (\d{3})\b")
_POLICY = "no usable callback address"


@dataclass(slots=True)
class Problem:
    """One group: a kind of ``CAUSES``, whom it is about, what was said last. Times are since the epoch.

    ``met_by`` are the charge points of a trouble that lies with their central system. ``passed`` is when it
    was seen to be over, None while it is not.
    """

    kind: str
    charger: str
    upstream: str
    reason: str
    text: str
    source: str
    listener: str
    first: float
    last: float
    count: int = 0
    passed: float | None = None
    met_by: set[str] = field(default_factory=set)

    @property
    def only(self) -> str:
        """The charge point that it is about; nothing when there are several, or none with a name."""
        return next(iter(self.met_by)) if len(self.met_by) == 1 else self.charger

    @property
    def link(self) -> str:
        """Where the console shows more."""
        if self.only and self.kind != "unknown-charger":
            return f"/chargers/{quote(self.only, safe='')}"
        return "/messages?filter=" + quote(f'charger:"{self.charger}"') if self.charger else "/messages"


@dataclass(slots=True)
class _Clock:
    """How far the clock of a charge point was off when it was last looked at, and when that was; seconds."""

    off: float
    seen: float


class Problems:
    """Groups what goes wrong; ``all`` has the latest first, and what has passed last."""

    def __init__(self, *, most: int = MOST, wall_clock: Callable[[], float] = time.time) -> None:
        self._most = most
        self._wall_clock = wall_clock
        self._groups: dict[tuple[str, str, str], Problem] = {}  # the last seen comes last
        self._clocks: dict[str, _Clock] = {}
        self.reload_failed = ""  # why the configuration was refused that was read last

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.hear, event=self.hear_event)

    def all(self) -> list[Problem]:
        latest = list(reversed(self._groups.values()))
        return sorted(latest, key=lambda problem: problem.passed is not None)

    def of(self, charger: str) -> list[Problem]:
        return [problem for problem in self.all() if problem.charger == charger or charger in problem.met_by]

    def unknown(self) -> list[Problem]:
        """Charge points that were refused because nobody knows them, the latest first."""
        return [problem for problem in self.all() if problem.kind == "unknown-charger"]

    def forget(self, charger: str) -> None:
        """Nothing is to be told of a charge point any more."""
        for key in [key for key in self._groups if key[1] == charger]:
            del self._groups[key]
        self._clocks.pop(charger, None)

    def forget_unknown(self, is_known: Callable[[str], bool]) -> None:
        """Another configuration may know some of them."""
        known = [key for key in self._groups if key[0] == "unknown-charger" and is_known(key[1])]
        for key in known:
            del self._groups[key]

    # --- exchanges

    def hear(self, record: Record) -> None:
        if isinstance(record.reply, CallError):
            self._hear_failure(record, record.reply)
        elif isinstance(record.reply, CallResult):
            self._hear_result(record, record.reply)

    def _hear_failure(self, record: Record, error: CallError) -> None:
        reason, said = error.reason, error.description
        if record.source:  # no session vouches for who it is from
            kind = {
                "auth": "wrong-password" if "password" in said else "unknown-charger",
                "duplicate": "duplicate",
                "malformed": "not-ocpp",
                "unsupported": "wrong-protocol" if "this address serves" in said else "",
            }.get(reason, "")
            if kind:
                self._note(kind, record.identity, reason, said, source=record.source)
            return
        upstream = record.upstream if record.arrived_from is Side.CHARGE_POINT else ""
        kind = ""
        if reason == "malformed" and "HTML page" in said:
            kind = "html-instead-of-soap"
        elif record.arrived_from is Side.CENTRAL_SYSTEM and record.other_transport == "soap":
            if said.startswith(_POLICY):
                kind = "callback-not-allowed"
            elif reason in ("refused", "unreachable", "timeout"):
                kind = "tls" if _TLS.search(said) else "no-callback"
        elif upstream and reason == "not_connected" and _NOT_ITS_TURN.search(said):
            self._note("connect-rate", "", reason, said, upstream=upstream, met_by=record.identity)
            return
        if kind:
            self._note(kind, record.identity, reason, said, upstream=upstream)

    def _hear_result(self, record: Record, result: CallResult) -> None:
        action, payload = record.action, record.payload
        if record.arrived_from is Side.CHARGE_POINT and not record.how and self._groups:
            waited = self._groups.get(("connect-rate", "", record.upstream))
            if waited is not None and self._wall_clock() - waited.last > QUIET:
                self._passed(("connect-rate",), "", record.upstream)
        if record.other_transport == "soap" and not record.how and self._groups:
            if record.arrived_from is Side.CENTRAL_SYSTEM:
                self._passed(_PASSED_WHEN_CALLED, record.identity, "")
            else:
                self._passed(_PASSED_WHEN_ANSWERED, record.identity, record.upstream)
        if action in ("Authorize", "StartTransaction"):
            status = _of(result.payload.get("idTagInfo"), "status")
            if record.how == "offline":
                said = f"{action} was answered {status or 'without an idTagInfo'} here"
                self._note("authorization-offline", record.identity, "", said, upstream=record.upstream)
            elif status not in ("", "Accepted", "ConcurrentTx"):
                said = f"{action} was answered {status}"
                self._note("authorization-refused", record.identity, "", said, upstream=record.upstream)
        elif action == "ChangeConfiguration" and payload is not None:
            status = str(result.payload.get("status", ""))
            if status in ("Rejected", "NotSupported"):
                self._note("configuration-value", record.identity, "", f"{payload.get('key')}: {status}")
        if action in ("StartTransaction", "StatusNotification") and payload is not None:
            self._look_at_clock(record.identity, payload.get("timestamp"), record.began)

    def _look_at_clock(self, identity: str, timestamp: object, began: float) -> None:
        try:
            off = datetime.fromisoformat(str(timestamp)).timestamp() - began
        except (ValueError, OverflowError):
            return  # none, or none that is one
        before = self._clocks.pop(identity, None)
        self._clocks[identity] = _Clock(off, began)
        if len(self._clocks) > MOST_CLOCKS:
            del self._clocks[next(iter(self._clocks))]
        # What comes late from a charge point that had no line is old, and its clock may be right: it is only
        # wrong when messages that come apart are all off by the same time.
        same = before is not None and abs(before.off - off) < ALIKE and began - before.seen > APART
        if off > ASTRAY or (off < -ASTRAY and same):
            said = f"a timestamp is {_spoken(abs(off))} {'ahead' if off > 0 else 'behind'}"
            self._note("clock-skew", identity, "", said)

    # --- events

    def hear_event(self, event: Event) -> None:
        kind, said = "", event.text
        if event.kind == "reload failed":
            self.reload_failed = said
        elif event.kind == "configuration reloaded":
            self.reload_failed = ""
        if event.kind == "wrong address":
            kind = "wrong-url"
        elif event.kind == "connection refused":
            kind = {
                "auth": "unknown-charger" if "is not known" in said else "wrong-password",
                "unsupported": "wrong-protocol",
                "duplicate": "duplicate",
                "rate_limited": "rate-limited" if event.identity else "",
            }.get(event.reason, "")
            if event.reason == "auth" and not event.identity:
                kind = "not-let-in"
        elif event.kind == "request refused":
            if event.reason == "unsupported" and ("no OCPP service" in said or "no identity" in said):
                kind = "wrong-url"
            elif event.reason == "auth" and "upstream" not in event.labels:
                kind = "not-let-in"
        elif event.kind == "central system unreachable":
            kind = _of_central_system(said)
        elif event.kind == "callback address" and "speaks for it too" in said:
            kind = "two-addresses"
        elif event.kind == "message parked":
            kind = "message-parked"
        labels = event.labels
        upstream = labels.get("upstream", "")
        if event.kind in ("central system connected", "central system answers"):
            self._passed(_OF_CENTRAL_SYSTEM, "", upstream)
            self._passed(_PASSED_WHEN_TAKEN, event.identity, upstream)
        elif event.kind == "central system out of service":  # nobody wants to reach it
            self._passed(_PASSED_WHEN_OUT_OF_SERVICE, "", upstream)
        elif event.kind == "charge point connected":
            self._passed(_PASSED_WHEN_IN, event.identity, "")
        elif event.kind == "central system unreachable" and kind in _OF_CENTRAL_SYSTEM:
            self._note(kind, "", event.reason, said, upstream=upstream, met_by=event.identity)
        elif kind:
            source, listener = labels.get("source", ""), labels.get("listener", "")
            self._note(
                kind, event.identity, event.reason, said, upstream=upstream, source=source, listener=listener
            )

    def _passed(self, kinds: Iterable[str], charger: str, upstream: str) -> None:
        for kind in kinds:
            problem = self._groups.get((kind, charger, upstream))
            if problem is not None and problem.passed is None:
                problem.passed = self._wall_clock()

    def _note(
        self,
        kind: str,
        charger: str,
        reason: str,
        said: str,
        *,
        upstream: str = "",
        source: str = "",
        listener: str = "",
        met_by: str = "",
    ) -> None:
        # Of those nobody knows by name, the address tells them apart.
        key = kind, charger or source, upstream
        now = self._wall_clock()
        problem = self._groups.pop(key, None)
        if problem is None:
            problem = Problem(kind, charger, upstream, reason, "", source, listener, first=now, last=now)
        problem.reason, problem.text = reason, said[:LONGEST]
        problem.source, problem.listener = source or problem.source, listener or problem.listener
        problem.last, problem.passed = now, None
        problem.count += 1
        if met_by and len(problem.met_by) < MOST_MET:
            problem.met_by.add(met_by)
        self._groups[key] = problem
        if len(self._groups) > self._most:
            del self._groups[next(iter(self._groups))]


def _of_central_system(said: str) -> str:
    if _TLS.search(said):
        return "tls"
    status = _STATUS.search(said)
    if status and status[1] in ("401", "403"):
        return "csms-credentials"
    if status and status[1] == "404":
        return "csms-unknown"
    return "csms-unreachable"


def _of(value: object, name: str) -> str:
    return str(value.get(name, "")) if isinstance(value, dict) else ""


def _spoken(seconds: float) -> str:
    """``45 s``, ``12 min``, ``2 h 0 min``, ``3 days``."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days"
