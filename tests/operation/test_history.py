"""Every exchange as a row, without what is to be blotted out, and no more of them than was asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes import Clock
from wattbridge.ocpp.messages import CallError, CallResult, Change, Loss, Note, Passage, Reply, Side
from wattbridge.operation import history as module
from wattbridge.operation.history import History, Keeping
from wattbridge.operation.redaction import Redaction
from wattbridge.operation.trace.filter import parse
from wattbridge.operation.trace.view import whole_of
from wattbridge.relay.journal import How, Journal, Record
from wattbridge.store.base import Exchange, NotKept, Row
from wattbridge.store.memory import MemoryStore

NOW = 1_790_000_000.0
HOUR = 3600.0


def a_record(
    action: str = "Authorize",
    reply: Reply | None = None,
    *,
    arrived: bytes = b"<idTag>04E91C5A</idTag>",
    asked: bytes | None = b'[2,"1","Authorize",{"idTag":"04E91C5A"}]',
    notes: tuple[Note, ...] = (),
    how: How = "",
    began: float = NOW,
    **more: Any,
) -> Record:
    record = Record(
        identity="CP1",
        arrived_from=Side.CHARGE_POINT,
        action=action,
        payload={},
        reply=reply or CallResult({}),
        began=began,
        seconds=0.061,
        peer_seconds=0.06,
        arrived=Passage("soap", arrived, notes),
        asked=None if asked is None else Passage("json", asked),
        answered=None if asked is None else Passage("json", b'[3,"1",{}]'),
        replied=Passage("soap", b"<authorizeResponse/>"),
        upstream="main",
        how=how,
    )
    return replace(record, **more)


async def a_history(store: MemoryStore, clock: Clock | None = None, **keeping: Any) -> History:
    history = History(store, Keeping(**({"age": HOUR} | keeping)), clock or Clock(NOW))
    await history.begin()
    return history


async def kept(store: MemoryStore) -> list[Exchange]:
    return await store.find(Exchange)


async def test_an_exchange_is_a_row_with_all_four_texts() -> None:
    store, journal = MemoryStore(), Journal()
    history = await a_history(store)
    history.listen_to(journal)
    told: dict[str, Any] = {
        "version": "1.5",
        "known_as": "DE*1",
        "address": "10.20.0.7",
        "read_seconds": 0.0003,
    }
    journal.record(a_record(other_transport="json", write_seconds=0.0002, **told))
    assert await kept(store) == [
        Exchange(
            number=1_790_000_000_000_001,
            identity="CP1",
            began=NOW,
            arrived_from="charge_point",
            action="Authorize",
            reason="",
            seconds=0.061,
            peer_seconds=0.06,
            upstream="main",
            arrived="<idTag>04E91C5A</idTag>",
            asked='[2,"1","Authorize",{"idTag":"04E91C5A"}]',
            answered='[3,"1",{}]',
            replied="<authorizeResponse/>",
            known_as="DE*1",
            source="10.20.0.7",
            charger_transport="soap",
            csms_transport="json",
            charger_version="1.5",
            csms_version="1.6",
            read_seconds=0.0003,
            write_seconds=0.0002,
            arrived_bytes=23,
            asked_bytes=40,
            answered_bytes=10,
            replied_bytes=20,
        )
    ]


async def test_a_message_that_is_too_long_to_keep_is_as_large_as_it_was() -> None:
    store = MemoryStore()
    history = await a_history(store, redaction=Redaction(id_tags=True))
    arrived = b"<idTag>04E91C5A</idTag>" + b"x" * 240_033
    history.note(a_record(arrived=arrived, asked=None, other_transport="json"))
    [row] = await kept(store)
    assert (len(row.arrived) < 100, row.arrived_bytes) == (True, 240_056)
    assert parse("size:>200k").matches(row)
    assert not parse("size:<1k").matches(row)
    told = whole_of(row)
    side = told["sides"]["charger"]
    assert (told["size"], side["call_bytes"]) == (240_056, 240_056)
    assert side["call_note"] == "too long to keep: 240,056 bytes"
    assert (side["reply_bytes"], side["reply_note"]) == (20, "")


async def test_what_there_was_not_is_empty_and_the_reason_is_there() -> None:
    store = MemoryStore()
    history = await a_history(store)
    history.note(
        a_record(reply=CallError("GenericError", reason="timeout"), asked=None, replied=Passage("soap", b""))
    )
    [row] = await kept(store)
    assert (row.asked, row.answered, row.replied, row.reason) == ("", "", "", "timeout")


async def test_notes_are_kept_as_json_with_the_message_they_are_of() -> None:
    store = MemoryStore()
    history = await a_history(store)
    change = Change("StartTransaction.timestamp", "10:00+01:00", "09:00Z", "to-utc")
    loss = Loss("x", "\ud800", "not-unicode", "half of a pair")
    history.note(a_record(notes=(change, loss), how="kept"))
    [row] = await kept(store)
    assert (row.how, row.changes, row.losses) == ("kept", 1, 1)
    assert json.loads(row.notes) == [
        {
            "changed": "StartTransaction.timestamp",
            "value": "10:00+01:00",
            "became": "09:00Z",
            "rule": "to-utc",
            "at": "arrived",
        },
        {"lost": "x", "value": "\ud800", "rule": "not-unicode", "reason": "half of a pair", "at": "arrived"},
    ]


async def test_texts_that_are_no_utf_8_are_kept_as_far_as_they_can_be_read() -> None:
    store = MemoryStore()
    history = await a_history(store, redaction=Redaction(id_tags=True))
    for text in (
        b"\xff\xfe\x00",
        b"a\xffb",
        "<idTag>ÄÖ</idTag>".encode("utf-16"),
        "<idTag>AB</idTag>".encode("utf-16-le"),
    ):
        history.note(a_record("", arrived=text, payload=None, identity="CP\ud800"))
    rows = await kept(store)
    assert [row.arrived for row in rows[1:]] == ["a\ufffdb", "<idTag>***</idTag>", "<idTag>***</idTag>"]
    assert all(text.isprintable() for row in rows for text in (row.arrived, row.identity))


# --- what is blotted out ---


async def test_what_is_blotted_out_never_reaches_the_store() -> None:
    store = MemoryStore()
    history = await a_history(store, redaction=Redaction.of(["idTag", "AuthorizationKey"]))
    pair = {"key": "AuthorizationKey", "value": "0123456789ABCDEF"}
    frame = json.dumps([2, "1", "ChangeConfiguration", pair]).encode()
    xml = b"<key>AuthorizationKey</key><value>0123456789ABCDEF</value>"
    note = Change("Authorize.idTag", " 04E91C5A", "04E91C5A", "trimmed")
    history.note(a_record(notes=(note,)))
    history.note(a_record("ChangeConfiguration", arrived=frame, asked=xml))
    history.note(a_record("", arrived=frame[:-3], asked=None, payload=None))
    rows = repr(await kept(store))
    assert "04E91C5A" not in rows
    assert "0123456789" not in rows
    assert rows.count("***") == 7


async def test_nothing_is_blotted_out_where_nothing_is_asked_for() -> None:
    store = MemoryStore()
    history = await a_history(store, redaction=Redaction.of([]))
    history.note(a_record("ChangeConfiguration", arrived=b'{"key":"AuthorizationKey","value":"geheim"}'))
    [row] = await kept(store)
    assert row.arrived == '{"key":"AuthorizationKey","value":"geheim"}'


# --- numbers ---


async def test_numbers_grow_over_restarts_also_when_the_clock_goes_back() -> None:
    store = MemoryStore()
    for now in (NOW, NOW + 10.0, NOW - 1000.0):
        history = await a_history(store, Clock(now))
        for _ in range(3):
            history.note(a_record())
    numbers = [row.number for row in await kept(store)]
    assert len(set(numbers)) == 9
    assert numbers == sorted(numbers)
    assert numbers[-1] == numbers[3] + 5


async def test_a_store_that_cannot_be_read_costs_no_start() -> None:
    class Unreadable(MemoryStore):
        async def find(self, *_: Any, **__: Any) -> Any:
            raise NotKept("it is damaged")

    store = Unreadable()
    history = await a_history(store)
    history.note(a_record())
    assert (await store.sizes(Exchange)).rows == 1


# --- how much is kept ---


async def test_an_age_of_zero_keeps_none_and_takes_away_what_there_was() -> None:
    store, clock = MemoryStore(), Clock(NOW)
    history = await a_history(store, clock)
    history.note(a_record())
    history.go_by(Keeping(age=0.0))
    history.note(a_record())
    await history.prune()
    assert await kept(store) == []
    history.go_by(Keeping(age=HOUR))
    history.note(a_record())
    assert len(await kept(store)) == 1


async def test_what_is_too_old_goes() -> None:
    store, clock = MemoryStore(), Clock(NOW)
    history = await a_history(store, clock)
    for age in (HOUR + 1.0, HOUR - 1.0, 0.0):
        history.note(a_record(began=NOW - age))
    await history.prune()
    assert [row.began for row in await kept(store)] == [NOW - HOUR + 1.0, NOW]
    clock.now += HOUR + 0.5
    await history.prune()
    assert await kept(store) == []


async def test_what_is_too_much_goes_the_oldest_first() -> None:
    store = MemoryStore()
    history = await a_history(store, most_bytes=10_000)
    for number in range(100):
        history.note(a_record(arrived=b"x" * 870, asked=None, began=NOW + number))
    await history.prune()
    rows = await kept(store)
    assert rows[-1].began == NOW + 99.0
    assert 9_000 < (await store.sizes(Exchange)).bytes <= 9_500


async def test_all_is_only_counted_again_when_there_may_be_too_much() -> None:
    """For that a store reads everything."""
    counted: list[int | None] = []

    class Counting(MemoryStore):
        async def prune(self, kind: type[Row], before: float, *, most_bytes: int | None = None) -> int:
            counted.append(most_bytes)
            return await super().prune(kind, before, most_bytes=most_bytes)

    store = Counting()
    history = await a_history(store, most_bytes=10_000)
    for _ in range(10):
        history.note(a_record(arrived=b"x" * 50, asked=None))
        await history.prune()
    assert counted.count(9_500) == 2  # at first, when nobody knows what there is, and when 5 % more had come
    history.go_by(Keeping(age=HOUR, most_bytes=100))
    await history.prune()
    assert counted[-1] == 95
    assert (await store.sizes(Exchange)).bytes <= 95


# --- looking at it ---


async def numbers(history: History, **asked: Any) -> list[int]:
    """The last digits of what is found."""
    return [row.number % 1000 for row in [row async for page in history.before(**asked) for row in page]]


def in_memory(clock: Clock | None = None, **keeping: Any) -> History:
    return History(None, Keeping(**({"age": HOUR} | keeping)), clock or Clock(NOW))


async def test_pages_go_back_from_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    for history in (await a_history(MemoryStore()), in_memory()):
        await history.begin()
        for number in range(8):
            history.note(a_record(identity=f"CP{number % 2}", began=NOW + number))
        assert await numbers(history) == [8, 7, 6, 5, 4, 3, 2, 1]
        assert await numbers(history, number=history.number - 4) == [3, 2, 1]
        assert await numbers(history, charger="CP1") == [8, 6, 4, 2]
        later = [row.number % 1000 async for page in history.after(history.number - 3) for row in page]
        assert later == [6, 7, 8]
        assert (await history.oldest()) % 1000 == 1
        found = await history.find(history.number)
        assert found is not None
        assert found.identity == "CP1"
        assert await history.find(5) is None


async def test_what_is_older_than_a_moment_is_found_without_reading_all_of_it() -> None:
    clock, store = Clock(NOW), MemoryStore()
    history = await a_history(store, clock, age=HOUR * 1000)
    for hour in range(100):
        if hour == 50:  # a restart
            clock.now = NOW + hour * HOUR
            history = await a_history(store, clock, age=HOUR * 1000)
        history.note(a_record(began=NOW + hour * HOUR))
    clock.now = NOW + 100 * HOUR
    found = [row async for page in history.before(until=NOW + 10 * HOUR) for row in page]
    assert found[0].began == NOW + 10 * HOUR
    assert found[-1].began == NOW
    assert len(await numbers(history, until=NOW + 1000 * HOUR)) == 100
    assert len(await numbers(history, until=NOW - 10 * HOUR)) <= 1
    assert await numbers(await a_history(MemoryStore(), clock), until=NOW) == []


async def test_without_a_database_the_last_exchanges_are_kept_as_they_were_and_shown_as_they_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_RECENT", 3)
    clock = Clock(NOW)
    history = in_memory(clock, redaction=Redaction())
    await history.begin()
    for number in range(5):
        history.note(a_record(began=NOW + number))
    assert await numbers(history) == [5, 4, 3]
    history.go_by(Keeping(HOUR, redaction=Redaction(id_tags=True)))
    found = await history.find(history.number)
    assert found is not None
    assert found.arrived == "<idTag>***</idTag>"
    monkeypatch.setattr(module, "MOST_RECENT_BYTES", 250)
    history.note(a_record())
    assert await numbers(history) == [6, 5]
    clock.now = NOW + HOUR + 4.5
    await history.prune()
    assert await numbers(history) == []
    history.go_by(Keeping(0.0))
    assert await numbers(history) == []
    history.note(a_record())
    assert await numbers(history) == []


async def test_a_row_of_before_there_were_columns_says_what_its_texts_say() -> None:
    store = MemoryStore()
    notes = '[{"how":"kept"},{"lost":"x","value":"1","rule":"rounded","reason":"r"}]'
    old = Exchange(
        7,
        "CP1",
        NOW,
        "central_system",
        "Reset",
        "",
        0.1,
        0.0,
        "main",
        '[2,"1","Reset",{}]',
        "<a/>",
        "",
        "",
        notes,
    )
    await store.write(old)
    history = await a_history(store)
    found = await history.find(7)
    assert found is not None
    assert (found.charger_transport, found.csms_transport) == ("soap", "json")
    assert (found.how, found.losses, found.changes) == ("kept", 1, 0)
