"""What a test can do to a store in memory."""

from __future__ import annotations

import asyncio

import pytest

from tests.store.rows import a_waiting
from wattbridge.store.base import NotKept, Waiting
from wattbridge.store.memory import MemoryStore


async def test_while_there_is_a_problem_nothing_is_kept() -> None:
    store = MemoryStore()
    store.problem = "the disk is full"
    with pytest.raises(NotKept, match="the disk is full"):
        await store.write(a_waiting(1))
    store.note(a_waiting(2), a_waiting(3))
    assert store.notes_dropped == 2
    store.problem = ""
    await store.write(a_waiting(4))
    assert await store.find(Waiting) == [a_waiting(4)]


async def test_what_is_held_is_not_there_until_it_is_released() -> None:
    store = MemoryStore()
    store.hold()
    first, second = store.write(a_waiting(1)), store.write(a_waiting(2))
    store.note(a_waiting(3))
    await asyncio.sleep(0.01)
    assert not first.done()
    assert not second.done()
    assert await store.find(Waiting) == []
    store.release()
    await asyncio.gather(first, second)
    assert await store.find(Waiting) == [a_waiting(1), a_waiting(2), a_waiting(3)]


async def test_a_delayed_write_is_done_when_its_time_has_come() -> None:
    store = MemoryStore()
    store.delay = 0.02
    future = store.write(a_waiting(1))
    await asyncio.sleep(0)
    assert not future.done()
    assert await store.find(Waiting) == []
    await future
    assert await store.find(Waiting) == [a_waiting(1)]
