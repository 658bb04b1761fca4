"""Captures: what is wanted, from a beginning to an end, and no more than may be."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from tests.fakes import Clock
from tests.traced import NOW, a_record
from wattbridge.operation.history import History, Keeping
from wattbridge.operation.trace import capture as captures_module
from wattbridge.operation.trace.capture import CannotCapture, Captures, Wanted
from wattbridge.operation.trace.filter import parse
from wattbridge.relay.journal import Journal
from wattbridge.store.base import Capture, Captured, Exchange
from wattbridge.store.memory import MemoryStore


class World:
    """A store, a history that keeps nothing, and captures; ``clock`` goes where it is told to."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.clock = Clock(NOW)
        self.journal = Journal()
        history = History(self.store, Keeping(0.0), self.clock)
        history.listen_to(self.journal)
        self.history = history
        ids = count(1)
        self.captures = Captures(self.store, history, lambda: f"c{next(ids)}", self.clock)

    async def begin(self) -> World:
        await self.history.begin()
        await self.captures.begin()
        return self

    async def start(self, text: str = "", **more: Any) -> Capture:
        return await self.captures.start(Wanted(parse(text, self.clock()), **more))

    async def kept(self, capture: str) -> list[Exchange]:
        return [exchange async for page in self.captures.read(capture) for exchange in page]


async def test_a_capture_keeps_what_its_filter_wants_until_its_time_is_over() -> None:
    world = await World().begin()
    capture = await world.start("charger:BER-*", seconds=60.0)
    assert (capture.began, capture.ends, capture.ended) == (NOW, NOW + 60, None)
    for identity in ("BER-0001", "HAM-1", "BER-0002"):
        world.journal.record(a_record(identity=identity))
    world.clock.now = NOW + 60.0
    world.journal.record(a_record(identity="BER-0003"))
    assert [exchange.identity for exchange in await world.kept("c1")] == ["BER-0001", "BER-0002"]
    found = world.captures.find("c1")
    assert found is not None
    assert (found.records, found.ended, found.reason) == (2, NOW + 60, "its time is over")


async def test_what_it_has_is_whole() -> None:
    world = await World().begin()
    await world.start()
    world.journal.record(a_record())
    [exchange] = await world.kept("c1")
    assert exchange == world.history.row(exchange.number, a_record())


async def test_it_ends_with_as_many_exchanges_or_bytes_as_it_may_have() -> None:
    world = await World().begin()
    await world.start(records=2)
    await world.start(bytes=4000)
    for _ in range(5):
        world.journal.record(a_record())
    first, second = world.captures.find("c1"), world.captures.find("c2")
    assert first is not None
    assert second is not None
    assert (first.records, first.reason) == (2, "it has as many exchanges as it may")
    assert (second.records, second.reason) == (2, "it has as many bytes as it may")
    assert second.bytes <= 4000
    assert len(await world.kept("c1")) == len(await world.kept("c2")) == 2


async def test_nobody_watches_when_none_is_running() -> None:
    world = await World().begin()
    await world.start(records=1)
    world.journal.record(a_record())
    number = world.history.number
    world.journal.record(a_record())
    assert world.history.number == number  # nothing is kept, so nothing is even counted


async def test_one_is_stopped_and_one_is_deleted() -> None:
    world = await World().begin()
    await world.start()
    world.journal.record(a_record())
    world.captures.stop("c1")
    world.captures.stop("c1")
    world.journal.record(a_record())
    assert len(await world.kept("c1")) == 1
    await world.captures.delete("c1")
    assert world.captures.all() == []
    assert await world.store.find(Captured) == []
    assert await world.store.find(Capture) == []


async def test_a_capture_goes_on_after_a_restart() -> None:
    world = await World().begin()
    await world.start("charger:BER-*", seconds=600.0, name="mine")
    world.journal.record(a_record())
    await world.captures.save()
    again = await World(world.store).begin()
    again.journal.record(a_record())
    again.journal.record(a_record(identity="HAM-1"))
    assert len(await again.kept("c1")) == 2
    [capture] = again.captures.all()
    assert (capture.name, capture.records) == ("mine", 2)


async def test_one_whose_time_was_over_meanwhile_has_ended() -> None:
    world = await World().begin()
    await world.start(seconds=60.0)
    again = World(world.store)
    again.clock.now = NOW + 3600
    await again.begin()
    [capture] = again.captures.all()
    assert (capture.ended, capture.reason) == (NOW + 60, "its time is over")


async def test_one_with_a_filter_of_another_version_has_ended() -> None:
    world = await World().begin()
    capture = await world.start()
    await world.store.write(replace(capture, wanted="moon:full"))
    again = await World(world.store).begin()
    [capture] = again.captures.all()
    assert capture.reason.startswith("column 1: there is no field 'moon'")


async def test_there_is_a_bound_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures_module, "MOST_RUNNING", 2)
    monkeypatch.setattr(captures_module, "MOST_CAPTURES", 3)
    world = await World().begin()
    for _ in range(2):
        await world.start()
    with pytest.raises(CannotCapture, match="2 captures are running: stop one first"):
        await world.start()
    world.captures.stop("c1")
    with pytest.raises(CannotCapture, match="all captures together may have 512 MiB"):
        await world.start(bytes=500 << 20)
    await world.start()
    world.captures.stop("c3")
    with pytest.raises(CannotCapture, match="there are 3 captures: delete one first"):
        await world.start()
