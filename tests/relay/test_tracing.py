"""W3C Trace Context: what is taken from a header, what is said in one, and which exchanges are traced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from wattbridge.relay.tracing import Parent, Tracing, headers_to_send, of_no_trace, read_parent

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"


@pytest.fixture(autouse=True)
def nothing_is_traced_afterwards() -> Iterator[None]:
    """A test that is no coroutine has the context of all tests."""
    yield
    Tracing(0.0).end()


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (f"00-{TRACE_ID}-{SPAN_ID}-01", Parent(TRACE_ID, SPAN_ID, sampled=True)),
        (f"00-{TRACE_ID}-{SPAN_ID}-00", Parent(TRACE_ID, SPAN_ID, sampled=False)),
        (f" 00-{TRACE_ID}-{SPAN_ID}-03 ", Parent(TRACE_ID, SPAN_ID, sampled=True)),
        (f"01-{TRACE_ID}-{SPAN_ID}-01-more", Parent(TRACE_ID, SPAN_ID, sampled=True)),
        (f"00-{TRACE_ID}-{SPAN_ID}-01-more", None),
        (f"ff-{TRACE_ID}-{SPAN_ID}-01", None),
        (f"00-{'0' * 32}-{SPAN_ID}-01", None),
        (f"00-{TRACE_ID}-{'0' * 16}-01", None),
        (f"00-{TRACE_ID.upper()}-{SPAN_ID}-01", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_w3c_has_it(header: str, parent: Parent | None) -> None:
    """W3C Trace Context, 3.2.2 and 4.3."""
    assert read_parent({"traceparent": header}) == parent


def test_a_tracestate_goes_on_as_it_came_unless_it_is_too_long_for_that() -> None:
    headers = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "tracestate": "vendor=1,other=2"}
    assert read_parent(headers) == Parent(TRACE_ID, SPAN_ID, sampled=True, state="vendor=1,other=2")
    assert read_parent(headers | {"tracestate": "x" * 513}) == Parent(TRACE_ID, SPAN_ID, sampled=True)
    assert read_parent(headers | {"tracestate": "a=1\r\nX: y"}) == Parent(TRACE_ID, SPAN_ID, sampled=True)


def test_an_exchange_that_nobody_has_begun_begins_a_trace() -> None:
    drawn = int("00000000000000b100000000000000b2000000000000000000000000000000a1", 16)
    trace = Tracing(0.5, lambda bits: drawn).begin()
    assert trace.trace_id == "000000000000000000000000000000a1"
    assert (trace.span_id, trace.leg_id) == ("00000000000000b1", "00000000000000b2")
    assert (trace.sampled, trace.parent_id) == (True, "")
    assert headers_to_send() == {
        "traceparent": "00-000000000000000000000000000000a1-00000000000000b2-01",
    }


@pytest.mark.parametrize(
    ("sample", "drawn", "sampled"),
    [(0.0, 0, False), (0.5, 2**63, False), (0.5, 2**63 - 1024, True), (1.0, 2**64 - 1025, True)],
)
def test_a_share_is_sampled(sample: float, drawn: int, *, sampled: bool) -> None:
    assert Tracing(sample, lambda bits: drawn).begin().sampled is sampled


async def test_an_exchange_that_is_part_of_a_trace_continues_it() -> None:
    tracing = Tracing(0.0)
    tracing.heed({"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "tracestate": "vendor=1"})
    trace = tracing.begin()
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE_ID, SPAN_ID, True)
    assert headers_to_send() == {
        "traceparent": f"00-{TRACE_ID}-{trace.leg_id}-01",
        "tracestate": "vendor=1",
    }
    tracing.end()
    assert headers_to_send() == {}
    assert tracing.begin().trace_id != TRACE_ID  # one request, one exchange


async def test_two_exchanges_at_a_time_do_not_mix() -> None:
    tracing = Tracing(1.0)

    async def exchange() -> tuple[str, str]:
        trace = tracing.begin()
        await asyncio.sleep(0)
        return trace.trace_id, headers_to_send()["traceparent"][3:35]

    async with asyncio.TaskGroup() as tasks:
        exchanges = [tasks.create_task(exchange()) for _ in range(3)]
    assert len({task.result() for task in exchanges}) == 3
    assert all(begun == sent for begun, sent in (task.result() for task in exchanges))


async def test_a_task_that_goes_on_for_others_is_of_no_trace() -> None:
    Tracing(1.0).begin()

    async def asks() -> dict[str, str]:
        return headers_to_send()

    async with asyncio.TaskGroup() as tasks:
        own = tasks.create_task(asks())
        others = tasks.create_task(asks(), context=of_no_trace())
    assert own.result() != {}
    assert others.result() == {}
