"""What a scrape sees: families of the table, closed labels, and series that begin at 0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import Clock
from wattbridge.ocpp.actions import counted_actions, dialect
from wattbridge.ocpp.messages import (
    Breach,
    CallError,
    CallResult,
    Change,
    Loss,
    Passage,
    Payload,
    Reply,
    Side,
)
from wattbridge.ocpp.reasons import LOSSES, REASONS
from wattbridge.operation import families
from wattbridge.operation.families import FAMILIES
from wattbridge.operation.metrics import MOST_UNKNOWN, ChargePointState, Metrics, State
from wattbridge.relay.journal import Event, How, Journal, Record
from wattbridge.relay.tracing import Trace

CHARGE_POINT, CENTRAL_SYSTEM = Side.CHARGE_POINT, Side.CENTRAL_SYSTEM
UPSTREAM_STATES = ("open", "connecting", "backoff")
LOSS = Loss("MeterValues.meterValue[0].sampledValue[0].unit", "Hertz", "unsayable-unit", "no such unit")
CHANGE = Change("MeterValues.meterValue[0].timestamp", "12:00+01:00", "11:00Z", "to-utc")


def a_state() -> State:
    return State(
        ready=True,
        draining=False,
        charge_points={("soap", "1.6"): 3, ("soap", "1.5"): 2, ("json", "1.6"): 4, ("", "1.6"): 1},
        stale={("soap", "1.6"): 1},
        offline=2,
        certificates={"listeners.soaps": 1764288000.0},
        sessions={("main", "open"): 2, ("main", "backoff"): 1, ("pilot", "backoff"): 4},
        connections={"soap": 5},
        in_flight={CHARGE_POINT: 1, CENTRAL_SYSTEM: 0},
        waiting_for_mirrors=7,
        waiting=12,
        waiting_bytes=3400,
        waiting_seconds=61.5,
        parked=2,
        open_transactions=9,
        store_works=False,
        notes_dropped=5,
    )


def some_metrics(clock: Clock | None = None) -> Metrics:
    return Metrics(
        "1.2.3",
        counted_actions(dialect()),
        a_state,
        upstreams=("main", "pilot"),
        listeners=("soap",),
        clock=clock or Clock(),
    )


def a_record(
    action: str = "Heartbeat",
    reply: Reply | None = None,
    *,
    arrived_from: Side = CHARGE_POINT,
    seconds: float = 0.06,
    peer_seconds: float = 0.0598,
    identity: str = "CP1",
    asked: bool = True,
    answered: bool = True,
    payload: Payload | None = None,
    notes: tuple[Loss | Change | Breach, ...] = (),
    answered_notes: tuple[Breach, ...] = (),
    transports: tuple[str, str] = ("soap", "json"),  # of charge point and central system
    how: How = "",
    upstream: str = "main",
) -> Record:
    ours, theirs = transports if arrived_from is CHARGE_POINT else transports[::-1]
    return Record(
        identity=identity,
        arrived_from=arrived_from,
        action=action,
        payload={} if payload is None else payload,
        reply=reply or CallResult({}),
        began=0.0,
        seconds=seconds,
        peer_seconds=peer_seconds,
        arrived=Passage(ours, b"a" * 1000, notes),
        asked=Passage(theirs, b"b" * 100) if asked else None,
        answered=Passage(theirs, b"c" * 10, answered_notes) if asked and answered else None,
        replied=Passage(ours, b"d"),
        upstream=upstream,
        other_transport=theirs,
        how=how,
    )


def scraped(metrics: Metrics) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(metrics.page().decode())}


def value(metrics: Metrics, series: str) -> float:
    """The value of a series as it stands on the page: ``wattbridge_ready``, ``wattbridge_x_total{a="1"}``."""
    for line in metrics.page().decode().splitlines():
        if line.startswith(f"{series} "):
            return float(line.rpartition(" ")[2])
    raise LookupError(f"{series} is not on the page")


def samples(metrics: Metrics) -> Iterator[tuple[str, dict[str, str]]]:
    for family in scraped(metrics).values():
        for sample in family.samples:
            yield sample.name, sample.labels


# --- the page ---


def test_the_page_has_every_family_of_the_table_and_no_other_of_ours() -> None:
    found = scraped(some_metrics())
    ours = {name: family for name, family in found.items() if name.startswith("wattbridge_")}
    assert set(ours) == {f"wattbridge_{name}" for name in FAMILIES}
    for family in FAMILIES.values():
        metric = ours[f"wattbridge_{family.name}"]
        assert (metric.type, metric.documentation) == (family.kind, family.text)
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == set(family.labels)


def test_the_stock_families_are_there() -> None:
    names = {name for name, _ in samples(some_metrics())}
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= names
    assert any(name.startswith("python_gc_") for name in names)


def test_no_series_tells_when_it_was_created() -> None:
    assert not [name for name, _ in samples(some_metrics()) if name.endswith("_created")]


def test_counted_actions_and_reason_begins_at_zero() -> None:
    page = some_metrics().page().decode()
    for asked, action in dialect().operations:
        direction = "to_csms" if asked is CENTRAL_SYSTEM else "to_charger"
        for reason in REASONS:
            series = f'action="{action}",direction="{direction}",reason="{reason}"'
            assert f"wattbridge_call_failures_total{{{series}}} 0.0\n" in page


def test_losses_of_every_message_and_rules_of_known_profiles_begin_at_zero() -> None:
    """A rate sees nothing of a series that begins with its first event."""
    metrics = some_metrics()
    metrics.know(["main"], ["field"], ["acme-cc1"])
    page = metrics.page().decode()
    assert 'wattbridge_translation_losses_total{action="Authorize",rule="unknown-field"} 0.0\n' in page
    assert 'wattbridge_quirks_applied_total{profile="acme-cc1",quirk="profile-fallback"} 0.0\n' in page


def test_there_are_never_three_thousand_series() -> None:
    """Everything that can go wrong has, and be lost, with every message, at two central systems."""
    metrics = some_metrics()
    metrics.know(("main", "pilot"), ("field", "depot"), [f"profile-{number}" for number in range(24)])
    lossy = tuple(Loss("x", "", rule, "") for rule in LOSSES)
    for asked, action in [
        *counted_actions(dialect()),
        (CENTRAL_SYSTEM, "Nonsense"),
        (CHARGE_POINT, "Nonsense"),
    ]:
        for reason in REASONS:
            reply = CallError("GenericError", reason=reason)
            metrics.count(a_record(action, reply, arrived_from=asked.other))
            metrics.count(a_record(action, reply, arrived_from=asked.other, asked=False))
    for asked, action in counted_actions(dialect()):
        metrics.count(a_record(action, arrived_from=asked.other, notes=lossy))
    for asking in ("soap", "json"):
        for theirs in ("soap", "json"):
            for asked, action in dialect().operations:
                for upstream in ("main", "pilot", "gone"):
                    both = a_record(
                        action, arrived_from=asked.other, transports=(asking, theirs), upstream=upstream
                    )
                    metrics.count(both)
                    if asking == "soap":
                        metrics.count(replace(both, version="1.5"))
    for sink in ("stream", "capture", "otlp", "nobody"):
        metrics.count_event(Event("records dropped", labels={"sink": sink, "count": "1"}))
    for code in ("1000", "1001", "1002", "1003", "1006", "1008", "1011", "1012", "3xxx", "4xxx"):
        for upstream in ("main", "pilot"):
            metrics.count_event(Event("central system lost", labels={"upstream": upstream, "code": code}))
    assert len(list(samples(metrics))) < 3000


def test_unknown_identities_make_no_series() -> None:
    metrics = some_metrics()
    refused = CallError("SecurityError", "charge point is not known", reason="auth")
    metrics.count(a_record("BootNotification", refused, identity="X", asked=False))
    before = len(list(samples(metrics)))
    for number in range(2000):
        metrics.count(a_record("BootNotification", refused, identity=f'X{number}\n"}}', asked=False))
    assert len(list(samples(metrics))) == before
    assert "X1999" not in metrics.page().decode()
    assert value(metrics, "wattbridge_chargers_unknown") == 2001.0


def test_an_unknown_identity_is_counted_for_an_hour() -> None:
    clock = Clock()
    metrics = some_metrics(clock)
    refused = CallError("SecurityError", reason="auth")
    for identity, now in (("A", 0.0), ("B", 1000.0), ("A", 3000.0)):
        clock.now = now
        metrics.count(a_record("Heartbeat", refused, identity=identity, asked=False))
    assert value(metrics, "wattbridge_chargers_unknown") == 2.0
    clock.now = 4601.0
    assert value(metrics, "wattbridge_chargers_unknown") == 1.0
    clock.now = 6601.0
    assert value(metrics, "wattbridge_chargers_unknown") == 0.0


def test_an_unknown_identity_that_asks_for_a_websocket_is_counted_too() -> None:
    metrics = some_metrics()
    for identity, reason in (("CP1", "auth"), ("CP1", "auth"), ("CP2", "duplicate"), ("", "auth")):
        metrics.count_event(Event("connection refused", identity, reason=reason))
    assert value(metrics, "wattbridge_chargers_unknown") == 1.0


def test_unknown_identities_are_remembered_up_to_a_number() -> None:
    metrics = some_metrics()
    refused = CallError("SecurityError", reason="auth")
    for number in range(MOST_UNKNOWN + 10):
        metrics.count(a_record("Heartbeat", refused, identity=str(number), asked=False))
    assert value(metrics, "wattbridge_chargers_unknown") == MOST_UNKNOWN


# --- exchanges ---


def test_a_call_is_counted_and_timed() -> None:
    metrics = some_metrics()
    metrics.count(a_record(seconds=0.06, peer_seconds=0.0598))
    protocols = 'charger_protocol="ocpp1.6-soap",csms_protocol="ocpp1.6-json",direction="to_csms"'
    assert value(metrics, f'wattbridge_calls_total{{action="Heartbeat",{protocols}}}') == 1.0
    what = 'action="Heartbeat",direction="to_csms"'
    assert value(metrics, f'wattbridge_call_duration_seconds_bucket{{{what},le="0.05"}}') == 0.0
    assert value(metrics, f'wattbridge_call_duration_seconds_bucket{{{what},le="0.1"}}') == 1.0
    peer = 'wattbridge_peer_response_duration_seconds_sum{peer="csms",upstream="main"}'
    assert value(metrics, peer) == 0.0598
    own = 'wattbridge_translation_duration_seconds_bucket{le="%s",source="soap",target="json"}'
    assert value(metrics, own % "0.0001") == 0.0
    assert value(metrics, own % "0.00025") == 1.0


def test_a_wait_for_a_connection_is_neither_the_peers_time_nor_ours() -> None:
    metrics = some_metrics()
    metrics.count(replace(a_record(seconds=8.06, peer_seconds=0.0598), delay_seconds=8.0))
    peer = 'wattbridge_peer_response_duration_seconds_sum{peer="csms",upstream="main"}'
    assert value(metrics, peer) == 0.0598
    own = 'wattbridge_translation_duration_seconds_sum{source="soap",target="json"}'
    assert round(value(metrics, own), 6) == 0.0002


@pytest.mark.parametrize("charger", ["soap", "json"])
@pytest.mark.parametrize("csms", ["soap", "json"])
def test_calls_are_counted_by_the_protocols_of_both_parties(charger: str, csms: str) -> None:
    metrics = some_metrics()
    protocols = f'charger_protocol="ocpp1.6-{charger}",csms_protocol="ocpp1.6-{csms}"'
    for side, action, direction, source, target in (
        (CHARGE_POINT, "Heartbeat", "to_csms", charger, csms),
        (CENTRAL_SYSTEM, "Reset", "to_charger", csms, charger),
    ):
        calls = f'wattbridge_calls_total{{action="{action}",{protocols},direction="{direction}"}}'
        own = f'wattbridge_translation_duration_seconds_count{{source="{source}",target="{target}"}}'
        before = value(metrics, own)
        assert value(metrics, calls) == 0.0
        metrics.count(a_record(action, arrived_from=side, transports=(charger, csms)))
        assert (value(metrics, calls), value(metrics, own)) == (1.0, before + 1.0)


def test_a_party_that_is_not_known_has_no_protocol() -> None:
    metrics = some_metrics()
    metrics.count(a_record("Reset", arrived_from=CENTRAL_SYSTEM, asked=False, transports=("", "json")))
    protocols = 'charger_protocol="none",csms_protocol="ocpp1.6-json",direction="to_charger"'
    assert value(metrics, f'wattbridge_calls_total{{action="Reset",{protocols}}}') == 1.0


def test_only_protocols_that_can_meet_begin_at_zero() -> None:
    metrics = Metrics("1", dialect().operations, pairs=(("soap", "json"),))
    page = metrics.page().decode()
    assert 'csms_protocol="ocpp1.6-soap"' not in page
    metrics.count(a_record(transports=("json", "soap")))  # what cannot be is counted all the same
    protocols = 'charger_protocol="ocpp1.6-json",csms_protocol="ocpp1.6-soap",direction="to_csms"'
    assert value(metrics, f'wattbridge_calls_total{{action="Heartbeat",{protocols}}}') == 1.0
    own = 'wattbridge_translation_duration_seconds_count{source="json",target="soap"}'
    assert value(metrics, own) == 1.0


def test_the_other_direction_is_counted_apart() -> None:
    metrics = some_metrics()
    metrics.count(a_record("Reset", arrived_from=CENTRAL_SYSTEM))
    assert (
        value(metrics, 'wattbridge_call_duration_seconds_count{action="Reset",direction="to_charger"}') == 1.0
    )
    peer = 'wattbridge_peer_response_duration_seconds_count{peer="charger",upstream="main"}'
    assert value(metrics, peer) == 1.0
    own = 'wattbridge_translation_duration_seconds_count{source="json",target="soap"}'
    assert value(metrics, own) == 1.0
    assert value(metrics, "wattbridge_callbacks_total") == 1.0


def test_what_an_operator_asks_is_not_counted_as_the_central_systems() -> None:
    metrics = some_metrics()
    before = metrics.page()
    refused = CallError("GenericError", "no answer", reason="timeout")
    for record in (a_record("Reset", arrived_from=CENTRAL_SYSTEM), a_record("Reset", refused)):
        metrics.count(replace(record, asked_by="operator"))
    what = "wattbridge_call"
    lines = [line for line in metrics.page().splitlines() if line.startswith(what.encode())]
    assert lines == [line for line in before.splitlines() if line.startswith(what.encode())]


def test_what_was_answered_here_says_nothing_of_the_peer() -> None:
    metrics = some_metrics()
    metrics.count(a_record("MeterValues", asked=False))
    peer = 'wattbridge_peer_response_duration_seconds_count{peer="csms",upstream="main"}'
    assert value(metrics, peer) == 0.0
    own = 'wattbridge_translation_duration_seconds_count{source="soap",target="json"}'
    assert value(metrics, own) == 0.0


def test_what_is_said_for_a_central_system_that_is_away_is_counted() -> None:
    """``calls_total`` and ``call_failures_total`` go by what the charge point got."""
    metrics = some_metrics()
    offline = 'wattbridge_offline_answers_total{action="%s"}'
    for action in ("StopTransaction", "MeterValues", "StatusNotification", "Heartbeat", "Authorize"):
        assert value(metrics, offline % action) == 0.0
    metrics.count(a_record("StopTransaction", asked=False, how="kept"))
    metrics.count(a_record("Heartbeat", asked=False, how="offline"))
    metrics.count(a_record("MeterValues", asked=False))
    assert [value(metrics, offline % each) for each in ("StopTransaction", "Heartbeat", "MeterValues")] == [
        1.0, 1.0, 0.0,
    ]  # fmt: skip
    protocols = 'charger_protocol="ocpp1.6-soap",csms_protocol="ocpp1.6-json",direction="to_csms"'
    assert value(metrics, f'wattbridge_calls_total{{action="StopTransaction",{protocols}}}') == 1.0


def test_a_repeated_message_is_counted_apart() -> None:
    metrics = some_metrics()
    repeated = 'wattbridge_duplicates_suppressed_total{action="StartTransaction"}'
    assert value(metrics, repeated) == 0.0
    metrics.count(a_record("StartTransaction", asked=False, how="repeat"))
    assert value(metrics, repeated) == 1.0
    assert value(metrics, 'wattbridge_offline_answers_total{action="StartTransaction"}') == 0.0


def test_every_commit_of_the_store_is_timed() -> None:
    metrics, journal = some_metrics(), Journal()
    metrics.listen_to(journal)
    journal.committed(0.004, 64)
    assert value(metrics, "wattbridge_store_rows_total") == 64.0
    within = 'wattbridge_store_operation_duration_seconds_bucket{le="%s",operation="%s"}'
    assert value(metrics, within % ("0.0025", "write")) == 0.0
    assert value(metrics, within % ("0.005", "write")) == 1.0
    journal.looked_up(0.002)
    assert value(metrics, within % ("0.001", "read")) == 0.0
    assert value(metrics, within % ("0.0025", "read")) == 1.0


def test_an_action_that_ocpp_does_not_know_is_other() -> None:
    metrics = some_metrics()
    metrics.count(a_record("Nonsense", CallError("NotImplemented", reason="unsupported"), asked=False))
    metrics.count(a_record("", CallError("FormationViolation", reason="malformed"), asked=False))
    series = 'wattbridge_call_failures_total{action="other",direction="to_csms",reason="%s"}'
    assert value(metrics, series % "unsupported") == 1.0
    assert value(metrics, series % "malformed") == 1.0
    assert value(metrics, 'wattbridge_malformed_messages_total{side="charge_point"}') == 1.0


def test_bytes_are_counted_by_party_and_protocol() -> None:
    metrics = some_metrics()
    metrics.count(a_record())
    assert value(metrics, 'wattbridge_received_bytes_total{protocol="soap",side="charge_point"}') == 1000.0
    assert value(metrics, 'wattbridge_sent_bytes_total{protocol="json",side="central_system"}') == 100.0
    assert value(metrics, 'wattbridge_received_bytes_total{protocol="json",side="central_system"}') == 10.0
    assert value(metrics, 'wattbridge_sent_bytes_total{protocol="soap",side="charge_point"}') == 1.0


def test_losses_are_counted_and_changes_are_not() -> None:
    metrics = some_metrics()
    metrics.count(a_record("MeterValues", notes=(LOSS, CHANGE, LOSS)))
    metrics.count(a_record("Nonsense", notes=(LOSS,)))
    series = 'wattbridge_translation_losses_total{action="%s",rule="unsayable-unit"}'
    assert value(metrics, series % "MeterValues") == 2.0
    assert value(metrics, series % "other") == 1.0
    assert "to-utc" not in metrics.page().decode()


@pytest.mark.parametrize(("asked", "side"), [(False, "charge_point"), (True, "central_system")])
def test_a_broken_message_is_counted_for_who_sent_it(asked: bool, side: str) -> None:
    metrics = some_metrics()
    metrics.count(a_record("Authorize", CallError("TypeConstraintViolation", reason="schema"), asked=asked))
    assert value(metrics, f'wattbridge_schema_violations_total{{action="Authorize",side="{side}"}}') == 1.0


@pytest.mark.parametrize("arrived_from", [CHARGE_POINT, CENTRAL_SYSTEM])
def test_a_message_that_breaks_the_schema_and_is_carried_is_counted_for_who_sent_it(
    arrived_from: Side,
) -> None:
    breach = Breach("DataTransfer.x", "1", "unknown-field", "DataTransfer has no such field")
    series = 'wattbridge_schema_violations_total{action="DataTransfer",side="%s"}'
    metrics = some_metrics()
    metrics.count(a_record("DataTransfer", arrived_from=arrived_from, notes=(breach, breach)))
    assert value(metrics, series % arrived_from.value) == 1.0
    assert value(metrics, series % arrived_from.other.value) == 0.0
    metrics.count(a_record("DataTransfer", arrived_from=arrived_from, answered_notes=(breach,)))
    assert value(metrics, series % arrived_from.value) == 1.0
    assert value(metrics, series % arrived_from.other.value) == 1.0


def test_a_charge_point_that_was_not_reached_is_a_failed_callback() -> None:
    metrics = some_metrics()
    for reason in ("timeout", "fault"):
        error = CallError("GenericError", reason=reason)
        metrics.count(a_record("Reset", error, arrived_from=CENTRAL_SYSTEM, answered=False))
    assert value(metrics, "wattbridge_callbacks_total") == 2.0
    assert value(metrics, 'wattbridge_callback_failures_total{reason="timeout"}') == 1.0
    assert 'callback_failures_total{reason="fault"}' not in metrics.page().decode()


# --- events ---


LISTENER = {"listener": "soap", "source": "10.0.0.1"}
UPSTREAM = {"upstream": "main", "code": "1006"}
COUNTED = (
    (Event("connection opened", labels=LISTENER), 'connections_opened_total{listener="soap"}'),
    (
        Event("connection refused", reason="rate_limited", labels=LISTENER),
        'connections_refused_total{listener="soap",reason="rate_limited"}',
    ),
    (
        Event("request refused", reason="too_large", labels=LISTENER),
        'requests_refused_total{listener="soap",reason="too_large"}',
    ),
    (Event("central system connected", "CP1", labels=UPSTREAM), 'csms_connects_total{upstream="main"}'),
    (
        Event("central system unreachable", "CP1", reason="refused", labels=UPSTREAM),
        'csms_connect_failures_total{reason="refused",upstream="main"}',
    ),
    (
        Event("central system lost", "CP1", labels=UPSTREAM),
        'csms_disconnects_total{code="1006",upstream="main"}',
    ),
    (
        Event("malformed message", "CP1", labels={"side": "central_system"}),
        'malformed_messages_total{side="central_system"}',
    ),
    (
        Event("message expired", "CP1", reason="expired", labels={"action": "MeterValues"}),
        'queue_dropped_total{queue="to_csms",reason="expired"}',
    ),
    (
        Event("message dropped", "CP1", labels={"action": "MeterValues"}),
        'queue_dropped_total{queue="to_csms",reason="operator"}',
    ),
    (
        Event("message parked", "CP1", reason="call_error", labels={"action": "StopTransaction"}),
        'messages_parked_total{reason="call_error"}',
    ),
    (
        Event("message delivered", "CP1", labels={"action": "StopTransaction"}),
        'messages_delivered_late_total{action="StopTransaction"}',
    ),
    (Event("transaction renumbered", "CP1", labels={"by": "gateway"}), "transaction_id_conflicts_total"),
    (
        Event("connection refused", reason="auth", labels={"listener": "soap"}),
        'auth_failures_total{listener="soap",reason="auth"}',
    ),
    (
        Event("connection refused", reason="rate_limited", labels={"listener": "soap"}),
        'rate_limited_total{listener="soap"}',
    ),
    (
        Event("records dropped", labels={"sink": "stream", "count": "1"}),
        'trace_records_dropped_total{sink="stream"}',
    ),
    (Event("store broken", text="the disk is full", reason="internal"), "store_errors_total"),
)


@pytest.mark.parametrize(("event", "series"), COUNTED, ids=[event.kind for event, _ in COUNTED])
def test_events_are_counted_from_zero(event: Event, series: str) -> None:
    metrics = some_metrics()
    assert value(metrics, f"wattbridge_{series}") == 0.0
    metrics.count_event(event)
    assert value(metrics, f"wattbridge_{series}") == 1.0


def test_a_number_that_the_operator_sets_is_no_conflict() -> None:
    metrics = some_metrics()
    metrics.count_event(Event("transaction renumbered", "CP1", labels={"by": "operator"}))
    assert value(metrics, "wattbridge_transaction_id_conflicts_total") == 0.0


def test_a_name_that_is_not_configured_is_other() -> None:
    metrics = some_metrics()
    metrics.count_event(Event("central system connected", labels={"upstream": "elsewhere"}))
    metrics.count_event(Event("connection opened"))
    assert value(metrics, 'wattbridge_csms_connects_total{upstream="_other"}') == 1.0
    assert value(metrics, 'wattbridge_connections_opened_total{listener="_other"}') == 1.0


def test_metrics_listen_to_a_journal() -> None:
    metrics, journal = some_metrics(), Journal()
    metrics.listen_to(journal)
    journal.record(a_record())
    journal.event(Event("session opened", "CP1"))  # of no interest
    journal.event(Event("connection opened", labels={"listener": "soap"}))
    assert value(metrics, 'wattbridge_connections_opened_total{listener="soap"}') == 1.0
    assert value(metrics, 'wattbridge_received_bytes_total{protocol="soap",side="charge_point"}') == 1000.0


def test_who_is_refused_by_soap_is_counted_by_listener() -> None:
    metrics = some_metrics()
    for reason in ("auth", "rejected"):
        refused = CallError("SecurityError", reason=reason)
        metrics.count(replace(a_record("Heartbeat", refused, asked=False), listener="soap"))
        assert value(metrics, f'wattbridge_auth_failures_total{{listener="soap",reason="{reason}"}}') == 1.0
    metrics.count(a_record("Heartbeat", refused, asked=False))
    assert value(metrics, 'wattbridge_auth_failures_total{listener="_other",reason="rejected"}') == 1.0


def test_several_dropped_records_are_told_at_once() -> None:
    metrics = some_metrics()
    metrics.count_event(Event("records dropped", labels={"sink": "otlp", "count": "512"}))
    assert value(metrics, 'wattbridge_trace_records_dropped_total{sink="otlp"}') == 512.0


def test_every_reason_on_the_page_is_a_word_of_one_list() -> None:
    """But for what an operator drops by hand, which is no failure."""
    metrics = some_metrics()
    for event, _ in COUNTED:
        metrics.count_event(event)
    reasons = {labels["reason"] for _, labels in samples(metrics) if "reason" in labels}
    assert reasons - {"operator"} <= set(REASONS)


def test_a_central_system_that_a_reload_has_taken_away_keeps_what_was_counted() -> None:
    metrics = some_metrics()
    peer = 'wattbridge_peer_response_duration_seconds_count{peer="csms",upstream="%s"}'
    metrics.count(a_record(upstream="main"))
    metrics.know(["pilot", "new"], ["soap"])
    metrics.count(a_record(upstream="main"))
    assert [value(metrics, peer % each) for each in ("main", "pilot", "new")] == [2.0, 0.0, 0.0]
    metrics.count(a_record(upstream="elsewhere"))
    assert value(metrics, peer % "_other") == 1.0


def test_actions_that_nobody_knows_leave_nothing_behind() -> None:
    metrics = some_metrics()
    before = len(list(samples(metrics)))
    for number in range(200):
        metrics.count(a_record(f"Nonsense{number}"))
    assert len(list(samples(metrics))) == before
    what = 'action="other",direction="to_csms"'
    assert value(metrics, f"wattbridge_call_duration_seconds_count{{{what}}}") == 200.0


# --- exemplars ---

TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "00f067aa0ba902b8", sampled=True)
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"


def test_a_histogram_has_the_trace_of_its_last_exchange_for_who_asks_for_openmetrics() -> None:
    metrics = some_metrics()
    metrics.count(a_record(seconds=0.06))
    metrics.count(replace(a_record(seconds=0.07), trace=TRACE, began=1764280000.0))
    page, media_type = metrics.page_for(OPENMETRICS)
    assert media_type.startswith("application/openmetrics-text; version=1.0.0")
    what = 'action="Heartbeat",direction="to_csms"'
    example = '# {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.07 1764280000.07'
    assert f'wattbridge_call_duration_seconds_bucket{{{what},le="0.1"}} 2.0 {example}\n' in page.decode()
    assert page.endswith(b"# EOF\n")

    page, media_type = metrics.page_for("text/plain")
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"trace_id" not in page


def test_a_trace_that_is_not_recorded_is_no_example() -> None:
    metrics = some_metrics()
    metrics.count(replace(a_record(), trace=replace(TRACE, sampled=False)))
    assert b"trace_id" not in metrics.page_for(OPENMETRICS)[0]


# --- the page of charge points ---


def test_the_page_of_charge_points_names_so_many_and_counts_the_others() -> None:
    charge_points = [
        ChargePointState("CP1", True, 1764280000.0, "ACME", 'CC-1 "x"', "1.3", "acme-cc1", "all"),
        ChargePointState("CP2", False),
        *(ChargePointState(f"CP{number}", number % 2 == 0, 1764280000.0 + number) for number in range(3, 8)),
    ]
    page, media_type = some_metrics().page_of_charge_points(iter(charge_points), 2)
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in page.decode().splitlines() if not line.startswith("#")]
    assert lines == [
        'wattbridge_charger_up{charger="CP1"} 1.0',
        'wattbridge_charger_up{charger="CP2"} 0.0',
        'wattbridge_charger_up{charger="_other"} 2.0',
        'wattbridge_charger_last_message_timestamp_seconds{charger="CP1"} 1.76428e+09',
        'wattbridge_charger_last_message_timestamp_seconds{charger="_other"} 1.764280007e+09',
        'wattbridge_charger_info{charger="CP1",firmware="1.3",model="CC-1 \\"x\\"",profile="acme-cc1",'
        'route="all",vendor="ACME"} 1.0',
        'wattbridge_charger_info{charger="CP2",firmware="",model="",profile="",route="",vendor=""} 1.0',
    ]


# --- gauges ---


def test_gauges_are_read_when_a_scrape_asks() -> None:
    metrics = some_metrics()
    assert value(metrics, "wattbridge_ready") == 1.0
    assert value(metrics, "wattbridge_draining") == 0.0
    assert value(metrics, 'wattbridge_chargers{protocol="ocpp1.6-soap",state="connected"}') == 2.0
    assert value(metrics, 'wattbridge_chargers{protocol="ocpp1.6-soap",state="stale"}') == 1.0
    assert value(metrics, 'wattbridge_chargers{protocol="ocpp1.5-soap",state="stale"}') == 0.0
    expires = 'wattbridge_tls_certificate_not_after_timestamp_seconds{certificate="listeners.soaps"}'
    assert value(metrics, expires) == 1764288000.0
    assert value(metrics, 'wattbridge_chargers{protocol="ocpp1.5-soap",state="connected"}') == 2.0
    assert value(metrics, 'wattbridge_chargers{protocol="ocpp1.2-soap",state="connected"}') == 0.0
    assert value(metrics, 'wattbridge_chargers{protocol="ocpp1.6-json",state="connected"}') == 4.0
    assert value(metrics, 'wattbridge_chargers{protocol="none",state="offline"}') == 2.0
    assert value(metrics, 'wattbridge_csms_sessions{state="backoff",upstream="main"}') == 1.0
    assert value(metrics, 'wattbridge_connections{listener="soap"}') == 5.0
    assert value(metrics, 'wattbridge_calls_in_flight{direction="to_csms"}') == 1.0
    assert value(metrics, 'wattbridge_calls_in_flight{direction="to_charger"}') == 0.0


def test_the_outbox_and_the_store_are_gauges_too() -> None:
    metrics = some_metrics()
    for series, expected in (
        ('queue_depth{queue="to_csms"}', 12.0),
        ('queue_depth{queue="mirror"}', 7.0),
        ('queue_oldest_seconds{queue="to_csms"}', 61.5),
        ('queue_bytes{queue="to_csms"}', 3400.0),
        ('queue_parked{queue="to_csms"}', 2.0),
        ("transactions_open", 9.0),
        ("store_works", 0.0),
        ("store_notes_dropped_total", 5.0),
    ):
        assert value(metrics, f"wattbridge_{series}") == expected, series


def test_an_upstream_is_down_when_somebody_wants_to_be_connected_and_nobody_is() -> None:
    metrics = some_metrics()
    assert value(metrics, 'wattbridge_upstream_up{upstream="main"}') == 1.0
    assert value(metrics, 'wattbridge_upstream_up{upstream="pilot"}') == 0.0

    nobody = State(ready=True, draining=False, sessions={("main", state): 0 for state in UPSTREAM_STATES})
    assert value(Metrics("1", [], lambda: nobody), 'wattbridge_upstream_up{upstream="main"}') == 1.0


def test_an_upstream_in_maintenance_is_down_and_says_why() -> None:
    links = {("main", "open"): 0, ("spare", "open"): 2}
    state = State(ready=True, draining=False, sessions=links, duties={"main": "maint", "spare": "drain"})
    metrics = Metrics("1", [], lambda: state)
    assert value(metrics, 'wattbridge_upstream_up{upstream="main"}') == 0.0
    assert value(metrics, 'wattbridge_upstream_up{upstream="spare"}') == 1.0
    told = {
        (name, state): value(metrics, f'wattbridge_upstream_in_service{{state="{state}",upstream="{name}"}}')
        for name in ("main", "spare")
        for state in ("ready", "drain", "maint")
    }
    assert {each for each, shown in told.items() if shown} == {("main", "maint"), ("spare", "drain")}
    assert len(told) == 6


def test_the_build_is_named() -> None:
    page = Metrics("1.2.3", [], revision="3811bff").page().decode()
    assert 'wattbridge_build_info{python_version="3.' in page
    assert 'revision="3811bff",version="1.2.3"} 1.0' in page


def test_a_late_timer_is_seen() -> None:
    metrics = some_metrics()
    metrics.observe_lag(0.02)
    assert value(metrics, 'wattbridge_event_loop_lag_seconds_bucket{le="0.01"}') == 0.0
    assert value(metrics, 'wattbridge_event_loop_lag_seconds_bucket{le="0.05"}') == 1.0


def test_metrics_without_a_gateway_have_no_gauges_of_one() -> None:
    assert "wattbridge_ready" not in Metrics("1", []).page().decode()


# --- the reference ---


def test_the_reference_is_what_the_table_says() -> None:
    """After a change: python -m wattbridge.operation.families > docs/reference/metrics.md"""
    file = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
    assert file.read_text() == families.reference()


def test_calls_are_counted_by_the_version_that_is_spoken() -> None:
    metrics = some_metrics()
    metrics.count(replace(a_record("Heartbeat"), version="1.5"))
    protocols = 'charger_protocol="ocpp1.5-soap",csms_protocol="ocpp1.6-json",direction="to_csms"'
    assert value(metrics, f'wattbridge_calls_total{{action="Heartbeat",{protocols}}}') == 1.0


def test_what_the_other_party_has_no_operation_for_is_counted_as_answered_here() -> None:
    metrics = some_metrics()
    record = a_record("TriggerMessage", arrived_from=CENTRAL_SYSTEM, asked=False)
    metrics.count(replace(record, how="local"))
    assert value(metrics, 'wattbridge_local_answers_total{action="TriggerMessage"}') == 1.0
    assert value(metrics, 'wattbridge_local_answers_total{action="SetChargingProfile"}') == 0.0


def test_messages_of_the_security_extension_are_counted_by_their_names() -> None:
    metrics = some_metrics()
    metrics.count(replace(a_record("SecurityEventNotification", asked=False), how="local"))
    assert value(metrics, 'wattbridge_local_answers_total{action="SecurityEventNotification"}') == 1.0
