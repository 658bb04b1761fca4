"""What every store does, in memory or on a disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.rows import CHARGE_POINT, ONE_OF_EACH, a_reply, a_transaction, a_waiting, an_exchange
from wattbridge.store.base import (
    ROWS,
    Change,
    ChargePoint,
    Forget,
    NotKept,
    Remembered,
    Row,
    Sizes,
    Store,
    Transaction,
    Waiting,
)
from wattbridge.store.base import Exchange as Recorded
from wattbridge.store.memory import MemoryStore
from wattbridge.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = (
        MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "wattbridge.db")
    )
    yield opened
    await opened.close()


def test_there_is_an_example_of_every_kind() -> None:
    assert tuple(map(type, ONE_OF_EACH)) == ROWS


@pytest.mark.parametrize("row", ONE_OF_EACH, ids=[kind.__name__ for kind in ROWS])
async def test_a_row_comes_back_as_it_was(store: Store, row: Row) -> None:
    await store.write(row)
    [found] = await store.find(type(row))
    assert found == row
    assert list(map(type, vars_of(found))) == list(map(type, vars_of(row)))


def vars_of(row: Row) -> list[object]:
    return [getattr(row, name) for name in row.__dataclass_fields__]  # type: ignore[attr-defined]


async def test_a_row_takes_the_place_of_the_one_with_its_key(store: Store) -> None:
    await store.write(CHARGE_POINT)
    await store.write(replace(CHARGE_POINT, vendor=None, alive=0))
    assert await store.find(ChargePoint) == [replace(CHARGE_POINT, vendor=None, alive=0)]


async def test_a_forgotten_row_is_gone_and_forgetting_nothing_is_nothing(store: Store) -> None:
    await store.write(a_waiting(1), a_waiting(2))
    await store.write(Forget(Waiting, ("CP3211", 1)), Forget(Waiting, ("CP3211", 7)))
    assert await store.find(Waiting) == [a_waiting(2)]


async def test_changes_of_one_key_are_made_in_their_order(store: Store) -> None:
    gone, there = Forget(Waiting, ("CP3211", 1)), a_waiting(1)
    await store.write(there, gone)
    assert await store.find(Waiting) == []
    await store.write(gone, there, gone, there)
    assert await store.find(Waiting) == [there]


async def test_writes_are_made_in_the_order_they_were_asked_for(store: Store) -> None:
    futures = [store.write(replace(CHARGE_POINT, heard=float(n))) for n in range(200)]
    await asyncio.gather(*futures)
    assert await store.find(ChargePoint) == [replace(CHARGE_POINT, heard=199.0)]


async def test_a_note_is_made_before_what_is_written_after_it(store: Store) -> None:
    store.note(replace(CHARGE_POINT, alive=1), a_waiting(1))
    await store.write(replace(CHARGE_POINT, alive=0))
    assert await store.find(ChargePoint) == [replace(CHARGE_POINT, alive=0)]
    assert await store.find(Waiting) == [a_waiting(1)]


async def test_a_write_of_nothing_is_done(store: Store) -> None:
    await store.write()


async def test_who_stops_waiting_does_not_stop_the_write(store: Store) -> None:
    async def writes() -> None:
        await store.write(a_waiting(1))

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(writes())
        await asyncio.sleep(0)
        task.cancel()
    await store.write(a_waiting(2))
    assert await store.find(Waiting) == [a_waiting(1), a_waiting(2)]


async def test_rows_are_found_by_the_values_of_columns(store: Store) -> None:
    await store.write(
        a_waiting(1), replace(a_waiting(2), state="parked"), a_waiting(3), a_waiting(1, identity="CP1")
    )
    assert await store.find(Waiting, {"identity": "CP3211", "state": "waiting"}) == [
        a_waiting(1),
        a_waiting(3),
    ]
    assert await store.find(ChargePoint, {"vendor": None}) == []


async def test_nothing_is_a_value_to_find_by(store: Store) -> None:
    await store.write(CHARGE_POINT, replace(CHARGE_POINT, identity="CP2", model="M"))
    assert await store.find(ChargePoint, {"model": None}) == [CHARGE_POINT]


async def test_rows_come_in_the_order_of_their_key(store: Store) -> None:
    await store.write(a_waiting(10), a_waiting(9), a_waiting(1, identity="CP1"))
    first = [a_waiting(1, identity="CP1"), a_waiting(9), a_waiting(10)]
    assert await store.find(Waiting) == first
    assert await store.find(Waiting, order="last") == first[::-1]
    assert await store.find(Waiting, order="last", limit=1) == [a_waiting(10)]


async def test_rows_come_in_the_order_of_a_column_and_then_of_their_key(store: Store) -> None:
    rows = [an_exchange(1, began=5.0), an_exchange(2, began=3.0), an_exchange(3, began=5.0)]
    await store.write(*rows)
    assert [row.number for row in await store.find(Recorded, by="began")] == [2, 1, 3]
    assert [row.number for row in await store.find(Recorded, by="began", order="last")] == [3, 1, 2]


async def test_nothing_comes_before_something(store: Store) -> None:
    rows = [
        replace(CHARGE_POINT, identity=f"CP{n}", accepted=accepted)
        for n, accepted in enumerate((7.0, None, 3.0))
    ]
    await store.write(*rows)
    assert await store.find(ChargePoint, by="accepted") == [rows[1], rows[2], rows[0]]
    assert await store.find(ChargePoint, by="accepted", order="last") == [rows[0], rows[2], rows[1]]


async def test_a_page_begins_after_the_last_key_of_the_one_before(store: Store) -> None:
    rows = [a_waiting(n, identity=identity) for identity in ("CP1", "CP2") for n in range(1, 6)]
    await store.write(*rows)
    found: list[Waiting] = []
    after: tuple[object, ...] = ()
    while page := await store.find(Waiting, after=after, limit=3):
        found += page
        after = (page[-1].identity, page[-1].position)
    assert found == rows
    assert await store.find(Waiting, after=("CP2", 1), order="last", limit=2) == [rows[4], rows[3]]


@pytest.mark.parametrize(
    "asked",
    [
        {"where": {"colour": "red"}},
        {"by": "colour"},
        {"after": ("CP1",)},
        {"after": ("CP1", 1), "by": "kept"},
    ],
)
async def test_what_cannot_be_asked_is_told(store: Store, asked: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="outbox"):
        await store.find(Waiting, **asked)  # type: ignore[arg-type]


async def test_sizes_tell_rows_texts_and_the_oldest(store: Store) -> None:
    assert await store.sizes(Waiting) == Sizes(0, 0, None)
    await store.write(a_waiting(1), a_waiting(2), a_waiting(3, identity="CP1"))
    text = "CP3211" + "MeterValues" + '{"connectorId":1}' + "m-1" + "waiting"
    assert await store.sizes(Waiting, {"identity": "CP3211"}) == Sizes(2, 2 * len(text), 1.0)
    assert (await store.sizes(Waiting)).rows == 3
    await store.write(CHARGE_POINT)
    assert (await store.sizes(ChargePoint)).oldest is None


async def test_old_replies_are_taken_away(store: Store) -> None:
    await store.write(*(a_reply(str(n), answered=float(n)) for n in range(1200)))
    assert await store.prune(Remembered, before=1190.0) == 1190
    assert sorted(row.answered for row in await store.find(Remembered)) == [1190.0 + n for n in range(10)]


async def test_an_open_transaction_is_never_too_old(store: Store) -> None:
    await store.write(
        a_transaction("1", "open"), a_transaction("2", "stopped"), a_transaction("3", "refused", changed=9.0)
    )
    assert await store.prune(Transaction, before=9.0, most_bytes=1000) == 1
    assert [row.local_id for row in await store.find(Transaction)] == ["1", "3"]


async def test_what_waits_for_its_central_system_is_never_taken_away(store: Store) -> None:
    await store.write(a_waiting(1))
    assert await store.prune(Waiting, before=1e12, most_bytes=0) == 0
    assert await store.find(Waiting) == [a_waiting(1)]


async def test_what_it_is_about_is_not_taken_away_either(store: Store) -> None:
    mine = a_waiting(1).identity
    transaction, reply = a_transaction("1", "stopped"), a_reply("1", answered=1.0)
    await store.write(a_waiting(1), transaction, reply)
    await store.write(replace(transaction, identity="CP9"), replace(reply, identity="CP9"))
    for kind in (Transaction, Remembered):
        assert await store.prune(kind, before=1e12) == 1
        assert [row.identity for row in await store.find(kind)] == [mine]  # type: ignore[attr-defined]
    await store.write(Forget(Waiting, (mine, 1)))
    assert await store.prune(Transaction, before=1e12) == 1


async def test_the_oldest_give_way_when_there_is_too_much(store: Store) -> None:
    await store.write(*(an_exchange(n, arrived="x" * 1000) for n in range(1, 1301)))
    size = (await store.sizes(Recorded)).bytes // 1300
    assert await store.prune(Recorded, before=3.0, most_bytes=100 * size) == 1200
    assert [row.number for row in await store.find(Recorded)] == list(range(1201, 1301))
    assert await store.prune(Recorded, before=3.0, most_bytes=100 * size) == 0


async def test_a_store_that_is_closed_keeps_nothing(store: Store) -> None:
    await store.close()
    with pytest.raises(NotKept, match="closed"):
        await store.write(a_waiting(1))
    await store.close()


CHANGES: st.SearchStrategy[Change] = st.builds(
    lambda kind, key, text: (
        Forget(Waiting if kind % 2 else Remembered, ("CP1", key if kind % 2 else str(key)))
        if text is None
        else a_waiting(key, "CP1", text)
        if kind % 2
        else Remembered("CP1", str(key), "MeterValues", text, 0.0)
    ),
    st.integers(0, 1),
    st.integers(0, 5),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)


@settings(deadline=None)
@given(calls=st.lists(st.tuples(st.booleans(), st.lists(CHANGES, max_size=6)), max_size=12))
async def test_a_disk_remembers_what_memory_does(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[bool, list[Change]]]
) -> None:
    stores: list[Store] = [
        MemoryStore(),
        await SqliteStore.open(tmp_path_factory.mktemp("store") / "wattbridge.db"),
    ]
    found = []
    for store in stores:
        for durable, changes in calls:
            if durable:
                store.write(*changes)
            else:
                store.note(*changes)
        await store.write()
        found.append((await store.find(Waiting), await store.find(Remembered)))
        await store.close()
    assert found[0] == found[1]
