"""The operator's word on central systems: who hears it, and for how long it holds."""

from __future__ import annotations

from tests.fakes import Clock, listen
from wattbridge.relay.duty import Duties, Duty
from wattbridge.relay.journal import Event, Journal


def test_who_follows_is_told_of_every_other_word_and_of_no_repetition() -> None:
    duty, heard = Duty(), list[str]()
    with duty.followed_by(lambda: heard.append(duty.state)):
        assert duty.is_ready
        duty.become("maint", 1.0)
        duty.become("maint", 2.0)
        assert (duty.is_ready, duty.since, duty.why) == (False, 1.0, "is in maintenance")
        duty.become("drain", 3.0)
        assert (duty.is_ready, duty.since, duty.why) == (False, 3.0, "is being drained")
        duty.become("ready", 4.0)
    duty.become("maint", 5.0)
    assert heard == ["maint", "drain", "ready"]


def test_every_change_is_one_event_that_says_who() -> None:
    journal = Journal()
    heard, duties = listen(journal), Duties(journal, Clock(1000.0))
    duties.go_by(["cloud", "spare"])
    duties.change("cloud", "maint", "alice")
    duties.change("cloud", "maint", "bob")
    duties.change("cloud", "ready", "bob")
    assert heard.events == [
        Event(
            "central system out of service",
            text="nothing goes there; what charge points have to say waits",
            labels={"upstream": "cloud", "state": "maint", "who": "alice"},
        ),
        Event(
            "central system in service",
            text="charge points are connected to it again",
            labels={"upstream": "cloud", "state": "ready", "who": "bob"},
        ),
    ]
    assert duties.of("cloud").since == 1000.0
    assert duties.of("spare").since is None


def test_a_word_holds_over_configurations_as_long_as_they_have_the_name() -> None:
    duties = Duties(Journal())
    duties.go_by(["cloud", "spare"])
    cloud = duties.of("cloud")
    duties.change("cloud", "maint")
    duties.go_by(["cloud"])
    assert (duties.of("cloud") is cloud, cloud.state) == (True, "maint")
    duties.go_by(["spare"])
    assert cloud.state == "maint"  # who still goes there is held
    duties.go_by(["cloud", "spare"])
    assert (duties.of("cloud") is cloud, cloud.state) == (True, "ready")
