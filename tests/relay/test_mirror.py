"""A mirror reads along, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.fakes import FakeLink, Listened, away, listen
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage, Reply, Side
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.mirror import Bystander, Mirror, Mirrored

HEARTBEAT = Call("Heartbeat", {})
START = Call("StartTransaction", {"connectorId": 1, "idTag": "04E91C5A", "meterStart": 0})


def stop(number: int) -> Call:
    return Call("StopTransaction", {"transactionId": number, "meterStop": 10})


@dataclass
class World:
    """A running mirror whose central system is ``link``; ``depths`` is how its queue grew and shrank."""

    mirror: Mirror
    link: FakeLink
    heard: Listened
    depths: list[int] = field(default_factory=list)
    naps: list[float] = field(default_factory=list)


@asynccontextmanager
async def a_mirror(most: int = 10) -> AsyncIterator[World]:
    journal, link = Journal(), FakeLink()
    depths: list[int] = []
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await asyncio.sleep(0)

    mirror = Mirror("audit", "CP1", link, journal, most, on_depth=depths.append, sleep=nap)
    world = World(mirror, link, listen(journal), depths, naps)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(mirror.run())
        await asyncio.sleep(0)
        try:
            yield world
        finally:
            link.may_answer.set()
            await mirror.close("the test is over")


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_calls_are_copied_in_order_one_at_a_time() -> None:
    async with a_mirror() as world:
        world.link.may_answer.clear()
        for action in ("Heartbeat", "Authorize"):
            world.mirror.offer(Call(action, {}), CallResult({}))
        await turns()
        assert [call.action for call in world.link.asked] == ["Heartbeat"]
        world.link.may_answer.set()
        await world.link.until_asked(2)
        assert [call.action for call in world.link.asked] == ["Heartbeat", "Authorize"]
        await turns()
        assert sum(world.depths) == 0


async def test_a_transaction_has_the_number_that_the_mirror_gave() -> None:
    async with a_mirror() as world:
        world.link.outcome = CallResult({"transactionId": 7, "idTagInfo": {"status": "Accepted"}})
        world.mirror.offer(START, CallResult({"transactionId": 42, "idTagInfo": {"status": "Accepted"}}))
        world.mirror.offer(stop(42), CallResult({}))
        await world.link.until_asked(2)
        assert world.link.asked[1].payload == {"transactionId": 7, "meterStop": 10}


async def test_the_end_of_a_transaction_it_never_saw_begin_is_dropped_and_told() -> None:
    async with a_mirror() as world:
        world.mirror.offer(stop(42), CallResult({}))
        await turns()
        assert world.link.asked == []
        text = "StopTransaction was not sent to mirror audit: transaction 42 did not begin here"
        assert world.heard.events == [
            Event("mirror dropped", "CP1", text, "untranslatable", {"upstream": "audit"})
        ]


async def test_what_its_encoding_cannot_say_is_dropped() -> None:
    async with a_mirror() as world:
        world.link.outcome = Violation("FormationViolation", "DataTransfer.data", "is odd")
        world.mirror.offer(HEARTBEAT, CallResult({}))
        await turns()
        assert [event.reason for event in world.heard.told("mirror dropped")] == ["untranslatable"]


async def test_a_call_that_could_not_be_sent_is_sent_later() -> None:
    async with a_mirror() as world:
        world.link.outcome = away("refused", "it refused the connection")
        world.mirror.offer(HEARTBEAT, CallResult({}))
        await world.link.until_asked(2)
        assert world.naps[0] == 1.0
        world.link.outcome = CallResult({})
        await turns()
        assert sum(world.depths) == 0
        assert world.heard.told("mirror dropped") == []


async def test_a_call_that_was_sent_is_not_sent_again() -> None:
    async with a_mirror() as world:
        silent = away("timeout", "no reply to Heartbeat within 30 s")
        silent.asked = Passage("json", b"asked")
        world.link.outcome = silent
        world.mirror.offer(HEARTBEAT, CallResult({}))
        await turns()
        assert len(world.link.asked) == 1
        assert [event.reason for event in world.heard.told("mirror dropped")] == ["timeout"]


async def test_a_dead_mirror_keeps_the_latest_calls_and_tells_what_it_dropped() -> None:
    async with a_mirror(most=2) as world:
        world.link.may_answer.clear()
        for action in ("Heartbeat", "Authorize", "StatusNotification", "MeterValues"):
            world.mirror.offer(Call(action, {}), CallResult({}))
            await turns()
        assert [event.text for event in world.heard.told("mirror dropped")] == [
            f"{action} was not sent to mirror audit: 2 calls wait for it already"
            for action in ("Heartbeat", "Authorize")
        ]
        assert sum(world.depths) == 2
        world.link.may_answer.set()
        await world.link.until_asked(3)
        assert [call.action for call in world.link.asked[1:]] == ["StatusNotification", "MeterValues"]


async def test_a_closed_mirror_takes_nothing_and_counts_to_zero() -> None:
    async with a_mirror() as world:
        world.link.may_answer.clear()
        world.mirror.offer(HEARTBEAT, CallResult({}))
        await turns()
        await world.mirror.close("the session is over")
        await turns()
        world.mirror.offer(HEARTBEAT, CallResult({}))
        assert sum(world.depths) == 0
        assert world.link.closed[0] == "the session is over"


async def test_a_bug_in_a_mirror_ends_nothing_else() -> None:
    async with a_mirror() as world:
        world.link.outcome = RuntimeError("a bug")
        world.mirror.offer(HEARTBEAT, CallResult({}))
        await world.heard.until(lambda: bool(world.heard.told("internal error")))
        assert world.heard.told("internal error")[0].identity == "CP1"


async def test_what_a_mirror_asks_is_refused_and_told() -> None:
    journal = Journal()
    heard = listen(journal)
    bystander = Bystander("CP1", "EVB-1", "audit", journal)
    written: list[Reply] = []

    def write(reply: Reply) -> Passage:
        written.append(reply)
        return Passage("json", b"refused")

    asked = await bystander.relay(
        Call("Reset", {"type": "Hard"}), Passage("json", b""), Side.CENTRAL_SYSTEM, write
    )
    refusal = CallError("NotSupported", "this connection is a mirror, which has no say", reason="unsupported")
    assert asked == (refusal, Passage("json", b"refused"))
    assert written == [refusal]
    assert [event.text for event in heard.told("mirror refused")] == [
        "Reset of mirror audit was refused: a mirror has no say"
    ]
    assert not bystander.passes(Side.CENTRAL_SYSTEM, "json 1.6")


async def test_mirrors_stand_beside_the_main_link_and_never_in_its_way() -> None:
    journal, main, other = Journal(), FakeLink(form="json 1.6"), FakeLink()
    other.may_answer.clear()
    mirrored = Mirrored(main, [Mirror("audit", "CP1", other, journal)])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(mirrored.run())
        await asyncio.sleep(0)
        assert (mirrored.transport, mirrored.form) == ("json", "json 1.6")
        answer = await mirrored.call(HEARTBEAT)
        mirrored.offer(HEARTBEAT, answer.reply)
        await turns()
        assert (main.asked, other.asked) == ([HEARTBEAT], [HEARTBEAT])
        assert (await mirrored.call(HEARTBEAT)).reply == CallResult({})
        other.may_answer.set()
        await mirrored.close("over")
    assert (main.closed, other.closed) == (["over"], ["over"])
