"""Somebody who claims to be a charge point that is connected, again and again: the one that is there loses no
message.

An attacker without the password is turned away; one that has it gets the place only of a connection that is
silent. Time and network are numbers and memory (``tests/virtual_time.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.session_model import CP, CS, TAKEOVER, Asking, JsonPeer, World

PASSWORD = "a password of the victim"
ATTEMPTS = 200
ELSEWHERE = "10.0.0.66"


@contextmanager
def a_victim() -> Iterator[tuple[World, JsonPeer, Asking, Asking]]:
    """A charge point whose call is with its central system, and a call that it has been asked."""
    world = World("json", "json", PASSWORD.encode())
    try:
        victim = world.dial(PASSWORD)
        world.settle()
        assert victim.status == 101
        asked_by_it = world.ask(victim, "StartTransaction")
        asked_of_it = world.ask(world.open_peers(CS)[0], "RemoteStartTransaction")
        world.settle()
        yield world, victim, asked_by_it, asked_of_it
        world.quiet()
    finally:
        world.end()


def answer(world: World, asking: Asking) -> None:
    """Answer a call that is under way; whoever asked must be told (``World.reply`` sees to that)."""
    assert asking.waits_on is not None
    world.reply(asking.waits_on, "result")
    world.check()
    assert asking.replies[0].startswith("[3,")


def refusals(world: World) -> set[str]:
    return {event.reason for event in world.events if event.kind == "connection refused"}


@pytest.mark.parametrize(
    ("password", "status", "reason"),
    [("a guess", 401, "auth"), (None, 401, "auth"), (PASSWORD, 409, "duplicate")],
)
def test_whoever_claims_a_place_that_is_taken_is_turned_away_every_time(
    password: str | None, status: int, reason: str
) -> None:
    with a_victim() as (world, victim, asked_by_it, asked_of_it):
        for _ in range(ATTEMPTS):
            attempt = world.dial(password, ELSEWHERE)
            world.settle(0.03125)
            assert attempt.status == status
        assert victim.open
        assert refusals(world) == {reason}
        answer(world, asked_of_it)
        answer(world, asked_by_it)


def test_attempts_at_the_same_time_are_turned_away_as_well() -> None:
    with a_victim() as (world, victim, asked_by_it, asked_of_it):
        attempts = [world.dial(PASSWORD, ELSEWHERE) for _ in range(50)]
        world.settle()
        assert {attempt.status for attempt in attempts} == {409}
        assert victim.open
        answer(world, asked_by_it)
        answer(world, asked_of_it)


def test_attempts_that_hang_up_leave_the_place_as_it_was() -> None:
    with a_victim() as (world, victim, asked_by_it, asked_of_it):
        for _ in range(ATTEMPTS):
            world.dial(PASSWORD, ELSEWHERE).reset()
            world.settle(0.03125)
        assert victim.open
        answer(world, asked_by_it)
        answer(world, asked_of_it)


def test_posting_in_its_name_takes_nothing_from_it() -> None:
    with a_victim() as (world, victim, asked_by_it, asked_of_it):
        for _ in range(ATTEMPTS):
            claim = world.post(CP, "StopTransaction")
            world.settle(0.03125)
            assert "SecurityError" in claim.replies[0]
            assert not claim.deliveries
        assert victim.open
        answer(world, asked_by_it)
        answer(world, asked_of_it)


def test_calls_of_the_victim_are_answered_while_the_attempts_go_on() -> None:
    with a_victim() as (world, victim, asked_by_it, asked_of_it):
        answer(world, asked_by_it)
        answer(world, asked_of_it)
        for _ in range(ATTEMPTS):
            world.dial(PASSWORD, ELSEWHERE)
            mine = world.ask(victim, "DataTransfer")
            theirs = world.ask(world.open_peers(CS)[0], "DataTransfer")
            world.settle(0.03125)
            answer(world, mine)
            answer(world, theirs)


def test_one_of_many_takes_the_place_of_a_victim_that_is_silent() -> None:
    """What the victim had asked still ends, once; what it was asked ends with its connection."""
    with a_victim() as (world, victim, asked_by_it, asked_of_it):
        victim.go_deaf()
        attempts = [world.dial(PASSWORD, ELSEWHERE) for _ in range(20)]
        world.settle(TAKEOVER)
        assert sorted(attempt.status for attempt in attempts) == [101] + [409] * 19
        [winner] = world.open_peers(CP)
        assert victim.let_go
        assert asked_of_it.replies[0].startswith("[4,")
        answered = asked_by_it.waits_on
        assert answered is not None
        world.reply(answered, "result")
        assert asked_by_it.records == 1
        later = world.ask(world.open_peers(CS)[0], "DataTransfer")
        world.settle()
        assert later.waits_on is not None
        assert later.waits_on.peer is winner
        answer(world, later)
