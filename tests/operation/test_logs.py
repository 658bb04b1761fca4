"""One line per exchange and event, whatever a peer writes, and no flood when a central system goes away."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes import Clock
from tests.virtual_time import VirtualLoop
from wattbridge.ocpp.messages import CallError, CallResult, Change, Loss, Note, Passage, Reply, Side
from wattbridge.operation import logs
from wattbridge.operation.logs import ExchangeLog
from wattbridge.relay.journal import Event, How, Journal, Record
from wattbridge.relay.tracing import Trace

LOSS = Loss("a", "1", "unknown-field", "…")
CHANGE = Change("b", "2", "3", "to-utc")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    logs.set_up("error", "console")


class Lines:
    """A log whose lines can be read back."""

    def __init__(self, level: str = "info", form: str = "json", clock: Clock | None = None) -> None:
        self._out = io.StringIO()
        logs.set_up(level, form, self._out)
        self.log = ExchangeLog(clock or Clock())

    def again(self, level: str) -> None:
        """Set up as after a reload."""
        self._out = io.StringIO()
        logs.set_up(level, "json", self._out)

    @property
    def texts(self) -> list[str]:
        return self._out.getvalue().splitlines()

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.texts]

    def only(self) -> dict[str, Any]:
        [line] = self.all
        del line["timestamp"]
        return line

    def of(self, level: str) -> list[dict[str, Any]]:
        return [line for line in self.all if line["level"] == level]


def a_record(
    reply: Reply | None = None,
    *,
    identity: str = "CP1",
    arrived_from: Side = Side.CHARGE_POINT,
    replied: bytes = b"<fault/>",
    notes: tuple[Note, ...] = (),
    asked: Passage | None = Passage("json", b"[SECRET-FRAME]"),  # noqa: B008 -- frozen
    source: str = "",
    how: How = "",
) -> Record:
    return Record(
        identity=identity,
        arrived_from=arrived_from,
        action="MeterValues",
        payload={"idTag": "SECRET-TAG"},
        reply=reply or CallResult({"secret": "SECRET-RESULT"}),
        began=0.0,
        seconds=0.0612345678,
        peer_seconds=0.06,
        arrived=Passage("soap", b"<SECRET-BODY/>", notes),
        asked=asked,
        answered=None,
        replied=Passage("soap", replied),
        source=source,
        how=how,
    )


def test_an_exchange_is_one_line_with_the_same_keys() -> None:
    lines = Lines()
    lines.log.write(a_record())
    assert lines.only() == {
        "level": "info",
        "event": "call relayed",
        "identity": "CP1",
        "action": "MeterValues",
        "arrived_from": "charge_point",
        "seconds": 0.061235,
    }
    assert lines.texts[0].startswith('{"timestamp":"')


def test_what_was_lost_is_named() -> None:
    lines = Lines()
    bad = [Loss(f"MeterValues.meterValue[{index}]", "x", "bad-item", "…") for index in range(4)]
    lines.log.write(a_record(notes=(*bad, Change("MeterValues.timestamp", "a", "b", "to-utc"))))
    line = lines.only()
    assert (line["losses"], line["changes"]) == (4, 1)
    assert line["lost"] == ", ".join(f"MeterValues.meterValue[{index}] (bad-item)" for index in range(3))


def test_what_nobody_was_asked_is_no_relayed_call() -> None:
    """A MeterValues.req without one usable value is answered here: somebody should hear of it."""
    lines = Lines()
    lines.log.write(a_record(asked=None))
    line = lines.only()
    assert (line["level"], line["event"]) == ("warning", "call answered here")


@pytest.mark.parametrize(
    ("how", "said"),
    [("kept", "call kept"), ("offline", "call answered here"), ("repeat", "call repeated")],
)
@pytest.mark.parametrize("asked", [None, Passage("json", b"[2]")], ids=["", "tried"])
def test_what_did_not_reach_its_central_system_is_no_relayed_call(
    how: How, said: str, asked: Passage | None
) -> None:
    lines = Lines()
    lines.log.write(a_record(asked=asked, how=how))
    line = lines.only()
    assert (line["level"], line["event"]) == ("info", said)


def test_a_repeated_refusal_says_that_it_is_one() -> None:
    lines = Lines()
    lines.log.write(a_record(CallError("InternalError", "not now"), how="repeat"))
    assert (lines.only()["event"], lines.only()["how"]) == ("call failed", "repeat")


def test_who_is_refused_is_named_by_address() -> None:
    lines = Lines()
    lines.log.write(a_record(CallError("SecurityError", reason="auth"), asked=None, source="10.1.2.3"))
    assert lines.only()["source"] == "10.1.2.3"


def test_a_line_for_people_has_the_same_words() -> None:
    lines = Lines(form="console")
    lines.log.write(a_record())
    [line] = lines.texts
    assert line.partition(" ")[2] == (
        "[info     ] call relayed identity=CP1 action=MeterValues arrived_from=charge_point seconds=0.061235"
    )


def test_what_was_changed_or_lost_is_counted() -> None:
    lines = Lines()
    lines.log.write(a_record(notes=(LOSS, CHANGE, CHANGE)))
    assert lines.only() | {"losses": 1, "changes": 2} == lines.only()


def test_a_failed_call_says_why() -> None:
    lines = Lines()
    error = CallError("GenericError", "no reply to MeterValues within 30 s", reason="timeout")
    lines.log.write(a_record(error))
    assert lines.only() == {
        "level": "warning",
        "event": "call failed",
        "identity": "CP1",
        "action": "MeterValues",
        "arrived_from": "charge_point",
        "seconds": 0.061235,
        "reason": "timeout",
        "code": "GenericError",
        "description": "no reply to MeterValues within 30 s",
    }


def test_a_message_that_was_left_without_an_answer_is_told() -> None:
    lines = Lines()
    lines.log.write(a_record(CallError("GenericError", reason="timeout"), replied=b""))
    assert lines.only()["answered"] is False


@pytest.mark.parametrize("reason", ["call_error", "fault"])
def test_a_refusal_is_the_other_partys_word(reason: str) -> None:
    lines = Lines()
    lines.log.write(a_record(CallError("InternalError", "not now", reason=reason)))
    assert lines.only()["level"] == "info"


def test_that_a_charge_point_is_away_is_a_warning_to_who_asked_for_it() -> None:
    lines = Lines()
    lines.log.write(a_record(CallError("GenericError", reason="refused"), arrived_from=Side.CENTRAL_SYSTEM))
    assert lines.only()["level"] == "warning"


def test_levels_below_are_not_written() -> None:
    lines = Lines("warning")
    lines.log.write(a_record())
    lines.log.write_event(Event("session opened", "CP1"))
    assert lines.texts == []
    lines.log.write(a_record(CallError("GenericError", reason="timeout")))
    assert len(lines.texts) == 1


def test_no_payload_and_no_body_is_written() -> None:
    lines = Lines("debug")
    lines.log.write(a_record())
    lines.log.write(a_record(CallError("GenericError", "…", {"secret": "SECRET-DETAIL"}, reason="timeout")))
    assert "SECRET" not in "\n".join(lines.texts)


# --- what a peer chose ---

NASTY = 'CP\n{"level":"error"}\r\x1b[31m\x00\u2028\u202e\x85é'


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_identity_is_never_a_line_of_its_own(form: str) -> None:
    lines = Lines(form=form)
    lines.log.write(a_record(identity=NASTY))
    lines.log.write(a_record(CallError("GenericError", NASTY, reason="timeout"), identity=NASTY))
    lines.log.write_event(Event("session opened", NASTY))
    assert len(lines.texts) == 3
    assert all(character.isprintable() for line in lines.texts for character in line)
    if form == "json":
        assert lines.all[0]["identity"] == r'CP\n{"level":"error"}\r\x1b[31m\x00\u2028\u202e\x85é'


def test_a_long_text_is_cut() -> None:
    lines = Lines()
    lines.log.write(a_record(identity="x" * 10_000))
    assert lines.only()["identity"] == "x" * 300 + "…"


# --- events ---


def test_a_count_is_a_number() -> None:
    lines = Lines()
    lines.log.write_event(Event("trace records dropped", labels={"sink": "stream", "count": "6"}))
    assert lines.only()["count"] == 6


def test_an_event_is_a_line_with_its_labels() -> None:
    lines = Lines()
    labels = {"upstream": "main"}
    lines.log.write_event(Event("central system unreachable", "CP1", "connection refused", "refused", labels))
    assert lines.only() == {
        "level": "warning",
        "event": "central system unreachable",
        "upstream": "main",
        "identity": "CP1",
        "reason": "refused",
        "text": "connection refused",
    }


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("connection refused", "warning"),
        ("connection cut off", "warning"),
        ("wrong address", "warning"),
        ("no subprotocol", "warning"),
        ("route kept", "warning"),
        ("name taken", "warning"),
        ("message parked", "warning"),
        ("transaction refused", "warning"),
        ("transaction not stopped", "warning"),
        ("session not restored", "warning"),
        ("message delivered", "info"),
        ("charging stopped", "info"),
        ("transaction renumbered", "info"),
        ("store works", "info"),
        ("route changed", "info"),
        ("charge point connected", "info"),
        ("charge point disconnected", "info"),
    ],
)
def test_what_someone_should_look_at_is_a_warning(kind: str, level: str) -> None:
    lines = Lines()
    lines.log.write_event(Event(kind, "CP1", "so it is", labels={"listener": "main"}))
    assert lines.only() == {
        "level": level,
        "event": kind,
        "listener": "main",
        "identity": "CP1",
        "text": "so it is",
    }


@pytest.mark.parametrize("kind", ["message kept", "repeated message"])
def test_what_the_line_of_the_call_says_is_not_said_twice(kind: str) -> None:
    lines = Lines("debug")
    lines.log.write_event(Event(kind, "CP1", "StopTransaction waits for the central system"))
    assert lines.only()["level"] == "debug"


@pytest.mark.parametrize("kind", ["store broken", "database set aside"])
def test_a_store_that_fails_is_loud_and_says_what_to_do(kind: str) -> None:
    lines = Lines("error")
    lines.log.write_event(Event(kind, text="nothing can be kept in wattbridge.db: the disk is full"))
    line = lines.only()
    assert (line["level"], line["event"]) == ("error", kind)
    assert line["text"] == "nothing can be kept in wattbridge.db: the disk is full"
    assert len(line["do"]) > 100
    assert "…" not in line["do"]


def test_a_store_that_stays_broken_is_told_ten_times_a_minute() -> None:
    lines = Lines()
    for number in range(1000):
        lines.log.write_event(Event("store broken", text=f"outbox of CP{number}"))
    assert len(lines.texts) == 10


@pytest.mark.parametrize("kind", ["message expired", "message dropped"])
def test_a_message_that_is_given_up_stands_in_the_log_whole_each_time(kind: str) -> None:
    """Nothing else is left of it."""
    lines = Lines()
    payload = json.dumps({"data": "x" * 100_000})
    for _ in range(20):
        lines.log.write_event(Event(kind, "CP1", f"MeterValues was kept for too long: {payload}", "expired"))
    assert [line["text"].partition(": ")[2] for line in lines.all] == [payload] * 20
    assert (len(lines.of("warning")), len(lines.of("info"))) == (10, 10)


def test_opened_connections_are_small_talk() -> None:
    lines = Lines("debug")
    lines.log.write_event(Event("connection opened", labels={"listener": "soap"}))
    assert lines.only() == {"level": "debug", "event": "connection opened", "listener": "soap"}


def test_an_internal_error_shows_where_it_happened() -> None:
    lines = Lines()
    try:
        raise ZeroDivisionError("oops\n2026-01-01 [info] all is well")
    except ZeroDivisionError as bug:
        lines.log.write_event(Event("internal error", "CP1", f"Heartbeat 1: {bug!r}", "internal"))
    line = lines.only()
    assert (line["level"], line["identity"]) == ("error", "CP1")
    assert "Traceback" in line["exception"]
    assert "in test_an_internal_error_shows_where_it_happened" in line["exception"]


def test_no_line_of_an_exception_begins_like_one_of_ours() -> None:
    lines = Lines(form="console")
    try:
        raise ZeroDivisionError("oops\n2026-01-01 [info     ] all is well")
    except ZeroDivisionError:
        lines.log.write_event(Event("internal error", "CP1"))
    first, *others = lines.texts
    assert "internal error" in first
    assert not [line for line in others if line.startswith("2026")]


def test_a_journal_is_written() -> None:
    lines, journal = Lines(), Journal()
    lines.log.listen_to(journal)
    journal.record(a_record())
    journal.event(Event("session opened", "CP1"))
    assert [line["event"] for line in lines.all] == ["call relayed", "session opened"]


def test_what_libraries_log_is_a_line_too() -> None:
    lines = Lines()
    logging.getLogger("websockets.client").info("connection open")
    logging.getLogger("asyncio").error("Task exception was\nnever retrieved")
    assert lines.only() == {
        "level": "error",
        "event": r"Task exception was\nnever retrieved",
        "logger": "asyncio",
    }


def test_an_exchange_that_is_traced_names_its_trace() -> None:
    lines = Lines()
    trace = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "00f067aa0ba902b8", sampled=True)
    lines.log.write(replace(a_record(), trace=trace))
    assert lines.only()["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    trace.sampled = False
    lines.log.write(replace(a_record(), trace=trace))
    assert "trace" not in lines.all[-1]


# --- levels that change for a while ---


@contextmanager
def a_loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    try:
        yield loop
    finally:
        for name in ("exchanges", "events", "gateway", "websockets"):
            logs.reset_level(name)
        loop.close()


def change(loop: VirtualLoop, name: str, level: str, for_seconds: float) -> None:
    loop.call_soon(logs.set_level, name, level, for_seconds)
    loop.run_for(0)


def test_a_level_is_changed_for_a_while_and_is_as_usual_again() -> None:
    lines = Lines("info")
    with a_loop() as loop:
        change(loop, "exchanges", "warning", 600)
        lines.log.write(a_record())
        lines.log.write_event(Event("session opened", "CP1"))
        assert [line["event"] for line in lines.all] == ["log level changed", "session opened"]
        [told] = [each for each in logs.list_loggers() if each.name == "exchanges"]
        assert (told.level, told.usual) == ("warning", "info")
        assert told.reverts is not None

        loop.run_for(599)
        lines.log.write(a_record())
        loop.run_for(1)
        lines.log.write(a_record())
        assert [line["event"] for line in lines.all[2:]] == ["log level is as usual again", "call relayed"]
        assert [each for each in logs.list_loggers() if each.reverts] == []


def test_the_last_change_counts() -> None:
    lines = Lines("info")
    with a_loop() as loop:
        change(loop, "events", "debug", 60)
        change(loop, "events", "debug", 600)
        loop.run_for(300)
        lines.log.write_event(Event("connection opened", labels={"listener": "soap"}))
        assert lines.all[-1]["event"] == "connection opened"
        loop.run_for(300)
        lines.log.write_event(Event("connection opened", labels={"listener": "soap"}))
        assert lines.all[-1]["event"] == "log level is as usual again"


def test_a_reload_does_not_end_a_change() -> None:
    lines = Lines("info")
    with a_loop() as loop:
        change(loop, "exchanges", "error", 60)
        lines.again("info")
        lines.log.write(a_record())
        assert lines.all == []


def test_a_library_tells_more_but_never_what_it_reads() -> None:
    lines = Lines("info")
    websockets = logging.getLogger("websockets.client")
    with a_loop() as loop:
        websockets.info("connection open")
        assert lines.all == []
        change(loop, "websockets", "info", 60)
        websockets.info("connection open")
        assert lines.all[-1]["event"] == "connection open"
        assert lines.all[-1]["logger"] == "websockets.client"
        with pytest.raises(ValueError, match="would write messages and credentials as they are"):
            logs.set_level("websockets", "debug", 60)
        loop.run_for(60)
        websockets.info("connection open")
        assert lines.all[-1]["event"] == "log level is as usual again"


def test_every_logger_is_listed_with_its_level() -> None:
    Lines("error")
    listed = {each.name: (each.level, each.usual, each.reverts) for each in logs.list_loggers()}
    assert list(listed)[:3] == ["events", "exchanges", "gateway"]
    assert {listed["exchanges"], listed["websockets"]} == {("error", "error", None)}
    assert "wattbridge" not in listed


@pytest.mark.parametrize(
    ("name", "level", "for_seconds", "problem"),
    [
        ("exchange", "debug", 60, "there is no logger 'exchange'"),
        ("exchanges", "loud", 60, "'loud' is no level: write debug, info, warning, error"),
        ("exchanges", "debug", 0, "a level can be changed for 1 to 86400 seconds, found 0"),
        ("exchanges", "debug", 86401, "a level can be changed for 1 to 86400 seconds, found 86401"),
    ],
)
def test_what_cannot_be_a_change_is_said(name: str, level: str, for_seconds: float, problem: str) -> None:
    with pytest.raises((LookupError, ValueError), match=problem):
        logs.set_level(name, level, for_seconds)


# --- no floods ---

MINUTE = 60.0


def unreachable(identity: str, upstream: str = "main", reason: str = "refused") -> Event:
    return Event("central system unreachable", identity, "connection refused", reason, {"upstream": upstream})


def test_a_fleet_without_its_central_system_writes_a_few_lines_a_minute() -> None:
    """Ten thousand charge points, an attempt each every 30 s, for ten minutes."""
    clock = Clock()
    lines = Lines(clock=clock)
    for _ in range(20):
        for number in range(10_000):
            lines.log.write_event(unreachable(f"CP{number}"))
        clock.now += 30.0
    assert len(lines.texts) == 10 + 9
    assert [line["identity"] for line in lines.of("warning")][:3] == ["CP0", "CP1", "CP2"]
    # Each minute's line tells how many were not written.
    assert [line.get("unsaid", 0) for line in lines.all] == [0] * 10 + [19_990] + [19_999] * 8


def test_what_is_not_written_as_a_warning_is_there_for_debugging() -> None:
    lines = Lines("debug")
    for number in range(12):
        lines.log.write_event(unreachable(f"CP{number}"))
    assert (len(lines.of("warning")), len(lines.of("debug"))) == (10, 2)


def test_the_same_charge_point_is_named_again_after_a_minute() -> None:
    clock = Clock()
    lines = Lines(clock=clock)
    for clock.now in (0.0, 10.0, 30.0, 59.0):
        lines.log.write_event(unreachable("CP1"))
    assert len(lines.texts) == 1
    clock.now = MINUTE
    lines.log.write_event(unreachable("CP1"))
    assert lines.all[1]["unsaid"] == 3


def test_a_charge_point_that_was_connected_meanwhile_is_named_again() -> None:
    lines = Lines("warning")
    lines.log.write_event(unreachable("CP1"))
    lines.log.write_event(Event("central system connected", "CP1", labels={"upstream": "main"}))
    lines.log.write_event(unreachable("CP1"))
    lines.log.write_event(Event("session closed", "CP1"))
    lines.log.write_event(unreachable("CP1"))
    lines.log.write_event(Event("central system answers", "CP1", labels={"upstream": "main"}))
    lines.log.write_event(unreachable("CP1"))
    assert len(lines.texts) == 4


def test_each_central_system_and_reason_is_a_matter_of_its_own() -> None:
    lines = Lines()
    for number in range(20):
        lines.log.write_event(unreachable(f"A{number}", "main"))
        lines.log.write_event(unreachable(f"B{number}", "pilot"))
        lines.log.write_event(unreachable(f"C{number}", "main", "timeout"))
    assert len(lines.texts) == 30


def test_every_exchange_has_its_line_also_when_they_fail_by_the_thousand() -> None:
    lines = Lines()
    for number in range(1000):
        unknown = CallError("SecurityError", "not known", reason="auth")
        lines.log.write(a_record(unknown, identity=f"X{number}"))
    assert (len(lines.of("warning")), len(lines.of("info"))) == (10, 990)


def test_calls_for_an_absent_central_system_are_no_warnings() -> None:
    """Its link has told that it is away."""
    lines = Lines()
    for reason in ("not_connected", "refused", "unreachable", "draining"):
        lines.log.write(a_record(CallError("GenericError", reason=reason)))
    assert [line["level"] for line in lines.all] == ["info"] * 4


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        logs.set_up("info", "json", full)
        ExchangeLog().write(a_record())


def test_a_closed_stream_costs_lines_and_nothing_else() -> None:
    stream = io.StringIO()
    stream.close()
    for form in ("json", "console"):
        logs.set_up("info", form, stream)
        ExchangeLog().write(a_record())


def test_no_stream_at_all_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``2>&-`` leaves it."""
    monkeypatch.setattr("sys.stderr", None)
    for form in ("json", "console"):
        logs.set_up("info", form)
        ExchangeLog().write(a_record())


def test_nothing_waits_for_who_does_not_read_the_log_and_what_was_lost_is_told() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as pipe, os.fdopen(writing, "w", encoding="utf-8") as out:
        logs.set_up("info", "json", out)
        log = ExchangeLog()
        written = 1000  # of some 200 bytes, far more than the pipe holds
        for _ in range(written):
            log.write(a_record())
        kept = pipe.read(1_000_000).splitlines()
        assert all(json.loads(line)["event"] == "call relayed" for line in kept)
        log.write(a_record())
        again, told = (json.loads(line) for line in pipe.read(1_000_000).splitlines())
        assert again["event"] == "call relayed"
        assert (told["level"], told["event"]) == ("warning", "log lines lost")
        assert told["lines"] == written - len(kept)
        assert told["lines"] > 0
