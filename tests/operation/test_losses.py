"""What was lost is counted by place, and never more of it kept than a bound."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes import Clock
from tests.operation.test_history import a_record
from wattbridge.ocpp.messages import Change, Loss, Passage
from wattbridge.operation.losses import LONGEST_PATH, Losses
from wattbridge.relay.journal import Journal

NOW = 1_790_000_000.0


def a_loss(path: str, rule: str = "older-field", value: str = "") -> Loss:
    return Loss(path, value, rule, "because")


def test_losses_are_counted_by_rule_and_place_without_their_values() -> None:
    clock, journal = Clock(NOW), Journal()
    losses = Losses(wall_clock=clock)
    losses.listen_to(journal)
    samples = tuple(
        a_loss(f"MeterValues.meterValue[{n}].sampledValue[0]", "older-phase", "L1") for n in (0, 7)
    )
    journal.record(a_record("MeterValues", notes=samples))
    clock.now += 60
    reply = Passage("soap", b"", (a_loss("MeterValues.meterValue[1].sampledValue[3]", "older-phase"),))
    journal.record(replace(a_record("MeterValues", notes=(a_loss("MeterValues.context"),)), replied=reply))
    frequent, seldom = losses.of("CP1")
    assert (frequent.rule, frequent.path) == ("older-phase", "MeterValues.meterValue[].sampledValue[]")
    assert (frequent.count, frequent.last) == (3, NOW + 60)
    assert (seldom.path, seldom.count) == ("MeterValues.context", 1)
    assert losses.of("CP2") == []
    assert losses.since == NOW


def test_changes_and_those_that_nobody_vouches_for_do_not_count() -> None:
    losses = Losses()
    losses.note(a_record(notes=(Change("StartTransaction.timestamp", "a", "b", "to-utc"),)))
    losses.note(a_record(notes=(a_loss("Authorize.mood"),), source="192.0.2.7"))
    assert losses.of("CP1") == []


def test_of_one_charge_point_only_so_many_places_are_told_apart() -> None:
    """Names of unknown fields are its own: it could invent one after the other."""
    losses = Losses(most_places=3)
    for number in range(9):
        losses.note(a_record(notes=(a_loss(f"Authorize.x{number}", "unknown-field"),)))
    losses.note(a_record(notes=(a_loss("Authorize.x0", "unknown-field"),)))
    losses.note(a_record(notes=(a_loss("", "and-more", "500"),)))
    assert [(lost.rule, lost.path, lost.count) for lost in losses.of("CP1")] == [
        ("and-more", "", 507),
        ("unknown-field", "Authorize.x0", 2),
        ("unknown-field", "Authorize.x1", 1),
    ]


def test_long_names_are_cut() -> None:
    losses = Losses()
    losses.note(a_record(notes=(a_loss(f"Authorize.{'x' * 10_000}", "unknown-field"),)))
    assert len(losses.of("CP1")[0].path) == LONGEST_PATH


def test_who_lost_nothing_for_longest_is_forgotten_first() -> None:
    losses = Losses(most_in_all=3)
    for identity in ("CP1", "CP2", "CP1", "CP3", "CP4"):
        losses.note(a_record(notes=(a_loss("Authorize.mood"),), identity=identity))
    assert [bool(losses.of(f"CP{number}")) for number in (1, 2, 3, 4)] == [True, False, True, True]
    for number in range(9):  # one alone may have more
        losses.note(a_record(notes=(a_loss(f"Authorize.x{number}"),), identity="CP5"))
    assert len(losses.of("CP5")) == 9
    assert losses.of("CP4") == []
