"""What goes wrong is grouped by cause, in plain words, with what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wattbridge.ocpp.messages import CallError, CallResult, Passage, Reply, Side
from wattbridge.operation.problems import CAUSES, MOST_CLOCKS, Problems
from wattbridge.relay.journal import Event, Journal, Record

NOON = 1_790_000_000.0  # 2026-09-21T14:13:20Z
GUIDE = Path(__file__).parents[2] / "docs/guides/troubleshooting.md"


@dataclass
class World:
    now: float = NOON
    journal: Journal = field(default_factory=Journal)
    problems: Problems = field(default_factory=Problems)

    def __post_init__(self) -> None:
        self.problems = Problems(wall_clock=lambda: self.now)
        self.problems.listen_to(self.journal)

    def exchange(
        self,
        action: str,
        reply: Reply,
        payload: dict[str, Any] | None = None,
        *,
        asked_by: Side = Side.CHARGE_POINT,
        identity: str = "CP1",
        **more: Any,
    ) -> None:
        nothing = Passage("soap", b"")
        record = Record(
            identity, asked_by, action, payload or {}, reply, self.now, 0.1, 0.1, nothing, None, None, nothing
        )
        for name, value in more.items():
            object.__setattr__(record, name, value)
        self.journal.record(record)

    def fails(self, reason: str, text: str, **more: Any) -> None:
        self.exchange("Reset", CallError("GenericError", text, reason=reason), **more)

    @property
    def kinds(self) -> list[str]:
        return [problem.kind for problem in self.problems.all()]


def test_what_goes_well_is_no_problem() -> None:
    world = World()
    world.exchange("Heartbeat", CallResult({"currentTime": "2026-09-21T14:13:20Z"}))
    world.exchange("Authorize", CallResult({"idTagInfo": {"status": "Accepted"}}))
    world.exchange("StatusNotification", CallResult({}), {"timestamp": "2026-09-21T14:13:20Z"})
    world.journal.event(Event("session opened", "CP1"))
    assert world.kinds == []


CALLED: dict[str, Any] = {"asked_by": Side.CENTRAL_SYSTEM, "other_transport": "soap"}


@pytest.mark.parametrize(
    ("kind", "reason", "text", "more"),
    [
        ("unknown-charger", "auth", "charge point 'CP1' is not known to this gateway", {"source": "::1"}),
        ("wrong-password", "auth", "its password is missing or wrong", {"source": "::1"}),
        ("not-ocpp", "malformed", "found 'Hallo', expected a SOAP envelope", {"source": "::1"}),
        ("wrong-protocol", "unsupported", "is OCPP 1.5; this address serves OCPP-S 1.6", {"source": "::1"}),
        ("duplicate", "duplicate", "is connected by a WebSocket, which answers", {"source": "::1"}),
        ("no-callback", "refused", "connection refused by 10.0.0.7:8080", CALLED),
        ("no-callback", "timeout", "no connection to 10.0.0.7:8080 within 5 s", CALLED),
        ("tls", "unreachable", "TLS with 10.0.0.7:443 failed: certificate has expired", CALLED),
        ("callback-not-allowed", "not_connected", "no usable callback address for CP1: no wsa:From", CALLED),
        ("html-instead-of-soap", "malformed", "answered HTTP 200 with an HTML page: '<html>'", CALLED),
        ("html-instead-of-soap", "malformed", "answered HTTP 502 with an HTML page: '<html>'", {}),
    ],
)
def test_an_exchange_that_failed_has_a_cause(kind: str, reason: str, text: str, more: dict[str, Any]) -> None:
    world = World()
    world.fails(reason, text, **more)
    [problem] = world.problems.all()
    assert (problem.kind, problem.charger, problem.reason, problem.text) == (kind, "CP1", reason, text)


NOT_ITS_TURN = (
    "central system cloud: it is not this charge point's turn yet to connect: "
    "upstreams.cloud.connect.rate is 50/s"
)


def test_a_fleet_that_waits_to_connect_is_one_problem_that_names_the_rate() -> None:
    world = World()
    for number in range(3):
        world.fails("not_connected", NOT_ITS_TURN, identity=f"CP{number}", upstream="cloud")
    [problem] = world.problems.all()
    assert (problem.kind, problem.charger, problem.upstream, problem.count) == (
        "connect-rate",
        "",
        "cloud",
        3,
    )
    assert (problem.text, problem.met_by) == (NOT_ITS_TURN, {"CP0", "CP1", "CP2"})
    assert "upstreams.NAME.connect.rate" in CAUSES["connect-rate"].fix


def test_nobody_waits_to_connect_any_more_when_a_call_is_answered_a_minute_later() -> None:
    world = World()
    world.fails("not_connected", NOT_ITS_TURN, upstream="cloud")
    [problem] = world.problems.all()
    world.now += 30.0
    world.exchange("Heartbeat", CallResult({}), upstream="cloud")  # others may wait still
    world.now += 31.0
    world.exchange("Heartbeat", CallResult({}), upstream="other")
    world.exchange("MeterValues", CallResult({}), upstream="cloud", how="kept")
    assert problem.passed is None
    world.exchange("Heartbeat", CallResult({}), upstream="cloud")
    assert problem.passed == world.now


def test_what_is_the_other_partys_word_has_none() -> None:
    world = World()
    world.fails("call_error", "NotSupported", **CALLED)
    world.fails("not_connected", "the charge point is not connected", **CALLED)
    world.fails("schema", "Authorize.idTag: is missing", source="::1")
    world.fails("timeout", "no answer", asked_by=Side.CENTRAL_SYSTEM, other_transport="json")
    assert world.kinds == []


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("wrong-url", Event("wrong address", "CP1", "it posts its messages to '/ocpp/CP1'")),
        ("wrong-url", Event("request refused", "", "no OCPP service at '/x'; there is…", "unsupported")),
        ("unknown-charger", Event("connection refused", "CP1", "'CP1' is not known to this gateway", "auth")),
        ("wrong-password", Event("connection refused", "CP1", "its password is missing or wrong", "auth")),
        ("not-let-in", Event("connection refused", "", "10.1.1.1 may not connect here", "auth")),
        ("wrong-protocol", Event("connection refused", "CP1", "ocpp2.0.1 is offered", "unsupported")),
        ("duplicate", Event("connection refused", "CP1", "has another connection", "duplicate")),
        ("rate-limited", Event("connection refused", "CP1", "it connects too often", "rate_limited")),
        ("two-addresses", Event("callback address", "CP1", "10.0.0.9 speaks for it too; calls go to …")),
        ("message-parked", Event("message parked", "CP1", "StopTransaction", "call_error")),
        ("csms-credentials", Event("central system unreachable", "CP1", "it answered HTTP 401 Unauthorized")),
        ("csms-unknown", Event("central system unreachable", "CP1", "it answered HTTP 404 Not Found")),
        ("csms-unreachable", Event("central system unreachable", "CP1", "no connection within 10 s")),
        ("tls", Event("central system unreachable", "CP1", "[SSL] certificate verify failed", "unreachable")),
    ],
)
def test_an_event_has_a_cause(kind: str, event: Event) -> None:
    world = World()
    world.journal.event(event)
    assert world.kinds == [kind]


def test_what_is_counted_elsewhere_is_no_problem() -> None:
    world = World()
    world.journal.event(Event("connection refused", "", "too many handshakes: 512", "rate_limited"))
    world.journal.event(Event("request refused", "", "413", "too_large"))
    world.journal.event(Event("callback address", "CP1", "moved to 10.0.0.9"))
    assert world.kinds == []


def test_a_refused_driver_and_one_that_nobody_could_ask_about() -> None:
    world = World()
    refused = CallResult({"idTagInfo": {"status": "Blocked"}})
    world.exchange("Authorize", refused, upstream="cloud")
    world.exchange("StartTransaction", refused, upstream="cloud")
    world.exchange("Authorize", CallResult({"idTagInfo": {"status": "Accepted"}}), how="offline")
    world.exchange("Authorize", CallResult({"idTagInfo": {"status": "ConcurrentTx"}}))
    offline, blocked = world.problems.all()
    assert (offline.kind, offline.text) == ("authorization-offline", "Authorize was answered Accepted here")
    assert (blocked.kind, blocked.count, blocked.upstream) == ("authorization-refused", 2, "cloud")
    assert blocked.text == "StartTransaction was answered Blocked"


def test_a_value_that_the_charge_point_cannot_hold() -> None:
    world = World()
    asked = {"key": "MeterValueSampleInterval", "value": "5"}
    for status in ("Accepted", "RebootRequired", "Rejected"):
        world.exchange(
            "ChangeConfiguration", CallResult({"status": status}), asked, asked_by=Side.CENTRAL_SYSTEM
        )
    [problem] = world.problems.all()
    assert (problem.kind, problem.text) == ("configuration-value", "MeterValueSampleInterval: Rejected")
    assert "5" not in problem.text  # it may be a password


def status_at(world: World, timestamp: str, later: float = 30.0) -> None:
    world.exchange("StatusNotification", CallResult({}), {"timestamp": timestamp})
    world.now += later


def test_a_clock_that_goes_ahead_is_wrong() -> None:
    world = World()
    status_at(world, "2026-09-21T16:13:20Z")
    [problem] = world.problems.all()
    assert (problem.kind, problem.text) == ("clock-skew", "a timestamp is 2 h 0 min ahead")


def test_a_clock_is_behind_when_it_stays_behind() -> None:
    world = World()
    status_at(world, "2026-09-21T13:13:20Z")
    assert world.kinds == []  # it may have been kept for an hour
    status_at(world, "2026-09-21T13:13:52Z")
    assert [problem.text for problem in world.problems.all()] == ["a timestamp is 60 min behind"]


def test_what_was_kept_while_the_line_was_down_tells_of_no_wrong_clock() -> None:
    world = World()
    for minute in range(10):
        status_at(world, f"2026-09-21T13:{minute:02}:00Z", later=0.2)
    world.exchange("StartTransaction", CallResult({}), {"timestamp": "yesterday"})
    world.exchange("StartTransaction", CallResult({}), {})
    assert world.kinds == []


def test_problems_of_one_kind_and_charge_point_are_one() -> None:
    world = World()
    for identity in ("CP1", "CP2", "CP1"):
        world.now += 10
        unknown = Event("connection refused", identity, "it is not known", "auth", {"source": "10.0.0.7"})
        world.journal.event(unknown)
    first, second = world.problems.all()  # the latest first
    assert (first.charger, first.count, first.first, first.last) == ("CP1", 2, NOON + 10, NOON + 30)
    assert (second.charger, second.count, second.source) == ("CP2", 1, "10.0.0.7")
    assert world.problems.unknown() == [first, second]
    assert world.problems.of("CP2") == [second]
    world.problems.forget_unknown({"CP2"}.__contains__)
    assert world.problems.all() == [first]


def unreachable(world: World, identity: str, text: str = "no connection within 10 s") -> None:
    world.journal.event(Event("central system unreachable", identity, text, "timeout", {"upstream": "cloud"}))


def test_a_central_system_that_is_away_is_one_problem_however_many_meet_it() -> None:
    world = World()
    for number in range(1000):
        unreachable(world, f"CP{number}")
    [problem] = world.problems.all()
    assert (problem.kind, problem.upstream, problem.count) == ("csms-unreachable", "cloud", 1000)
    assert (len(problem.met_by), problem.only, problem.link) == (1000, "", "/messages")
    assert world.problems.of("CP7") == [problem]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (
            Event("central system unreachable", "CP1", "no connection within 10 s", labels={"upstream": "c"}),
            Event("central system connected", "CP2", labels={"upstream": "c"}),
        ),
        (
            Event("central system unreachable", "CP1", "TLS: not trusted", labels={"upstream": "c"}),
            Event("central system answers", "CP1", labels={"upstream": "c"}),
        ),
        (
            Event("central system unreachable", "CP1", "it answered HTTP 401", labels={"upstream": "c"}),
            Event("central system connected", "CP1", labels={"upstream": "c"}),
        ),
        (
            Event("central system unreachable", "CP1", "no connection within 10 s", labels={"upstream": "c"}),
            Event("central system out of service", labels={"upstream": "c", "state": "maint"}),
        ),
        (
            Event("connection refused", "CP1", "its password is missing or wrong", "auth"),
            Event("charge point connected", "CP1"),
        ),
    ],
)
def test_what_has_passed_says_since_when_until_it_comes_again(begin: Event, end: Event) -> None:
    world = World()
    world.journal.event(begin)
    world.journal.event(Event("wrong address", "CP9", "…"))
    world.now += 10
    world.journal.event(end)
    world.now += 10
    world.journal.event(end)
    lasting, passed = world.problems.all()  # what has passed comes last
    assert (lasting.kind, lasting.passed, passed.passed) == ("wrong-url", None, NOON + 10)
    world.journal.event(begin)
    assert [problem.passed for problem in world.problems.all()] == [None, None]


def test_another_central_system_that_is_there_ends_nothing() -> None:
    world = World()
    unreachable(world, "CP1")
    world.journal.event(Event("central system connected", "CP1", labels={"upstream": "other"}))
    assert [problem.passed for problem in world.problems.all()] == [None]


def test_a_charge_point_that_is_called_after_all_is_no_problem_any_more() -> None:
    world = World()
    world.fails("refused", "connection refused by 10.0.0.7:8080", **CALLED)
    world.exchange("Reset", CallResult({"status": "Accepted"}), how="local", **CALLED)  # nobody was called
    assert [problem.passed for problem in world.problems.all()] == [None]
    world.exchange("Reset", CallResult({"status": "Accepted"}), **CALLED)
    assert [problem.passed for problem in world.problems.all()] == [NOON]


def test_a_central_system_that_answers_in_soap_again() -> None:
    world = World()
    soap: dict[str, Any] = {"upstream": "old", "other_transport": "soap"}
    world.fails("malformed", "answered HTTP 502 with an HTML page: '<html>'", **soap)
    world.exchange("Heartbeat", CallResult({}), how="kept", **soap)
    assert [problem.passed for problem in world.problems.all()] == [None]
    world.exchange("Heartbeat", CallResult({}), **soap)
    assert [problem.passed for problem in world.problems.all()] == [NOON]


def test_strangers_without_a_name_are_told_apart_by_their_address() -> None:
    world = World()
    for source in ("10.0.0.7", "10.0.0.8"):
        text = "no OCPP service at '/x'"
        world.journal.event(Event("request refused", "", text, "unsupported", {"source": source}))
    assert [problem.source for problem in world.problems.all()] == ["10.0.0.8", "10.0.0.7"]


def test_whatever_is_sent_only_so_much_is_kept() -> None:
    problems = Problems(most=3)
    for number in range(10):
        problems.hear_event(Event("wrong address", f"CP{number}", "x" * 10_000))
    assert [problem.charger for problem in problems.all()] == ["CP9", "CP8", "CP7"]
    assert {len(problem.text) for problem in problems.all()} == {500}
    world = World()
    for number in range(MOST_CLOCKS + 10):
        world.exchange(
            "StatusNotification", CallResult({}), {"timestamp": "2026-09-21T14:13:20Z"}, identity=str(number)
        )
    assert len(world.problems._clocks) == MOST_CLOCKS


def test_a_reload_that_failed_is_remembered_until_one_works() -> None:
    world = World()
    world.journal.event(Event("reload failed", text="SIGHUP: the configuration has 1 error"))
    assert world.problems.reload_failed == "SIGHUP: the configuration has 1 error"
    world.journal.event(Event("configuration reloaded", text="1 value changed"))
    assert world.problems.reload_failed == ""


def test_links_lead_to_where_there_is_more() -> None:
    world = World()
    world.journal.event(Event("wrong address", 'CP/"1', "…"))
    world.fails("auth", "it is not known", identity="CP 9", source="::1")
    assert [problem.link for problem in world.problems.all()] == [
        "/messages?filter=charger%3A%22CP%209%22",
        "/chargers/CP%2F%221",
    ]


def test_every_cause_is_in_plain_words_and_has_a_fix() -> None:
    headings = re.findall(r"^##+ (.+)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for kind, cause in CAUSES.items():
        assert cause.text.endswith("."), kind
        assert cause.fix, kind
        assert cause.guide in anchors | {""}, kind
