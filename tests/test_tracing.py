"""Traces of a whole gateway: spans in a collector of a few lines, and traceparent on the wire."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests import test_reload
from tests.fakes import (
    PATIENCE,
    USUAL_ANSWERS,
    a_central_system,
    a_charge_point,
    exchange_bytes,
    from_header,
    http_response,
    post,
    post_bytes,
    soap_central_system,
    soap_request,
    soap_result,
)
from tests.test_app import NOBODY, World, a_gateway, configuration
from wattbridge.app import CannotStart
from wattbridge.operation.otel import endpoint_of
from wattbridge.reloading import CannotReload

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
ACCEPTED = http_response(soap_result("clearCacheResponse", "<cp:status>Accepted</cp:status>"))
TRACEPARENT = f"traceparent: 00-{TRACE_ID}-{SPAN_ID}-01\r\n"


@dataclass(frozen=True)
class Span:
    name: str
    kind: int  # 2: server, 3: client
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    error: str
    nanoseconds: tuple[int, int]


@dataclass
class Collector:
    """What a collector of OTLP over HTTP was given."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        given = ExportTraceServiceRequest.FromString(await request.read())
        if self.status == 200:
            for of_resource in given.resource_spans:
                self.resource = _plain(of_resource.resource.attributes)
                for scope in of_resource.scope_spans:
                    self.spans += [_span(span) for span in scope.spans]
        self.taken.set()
        return web.Response(
            status=self.status,
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    async def has(self, count: int) -> None:
        """Wait until it was given so many spans."""
        async with asyncio.timeout(PATIENCE):
            while len(self.spans) < count:
                self.taken.clear()
                await self.taken.wait()

    def of(self, name: str) -> list[Span]:
        """Call and leg, in this order."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.kind)


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _span(span: Any) -> Span:
    return Span(
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _plain(span.attributes),
        span.status.message,
        (span.start_time_unix_nano, span.end_time_unix_nano),
    )


@asynccontextmanager
async def a_collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


def traced(collector: Collector, url: str, *, sample: float = 1, charger: str = "no", **changes: Any) -> str:
    tracing = f'tracing: {{otlp: "{collector.url}", sample: {sample}, charger: {charger}}}\n'
    return configuration(url, **changes) + tracing


async def test_both_legs_of_an_exchange_are_one_trace_that_goes_on_from_the_charge_points() -> None:
    async with a_collector() as collector, a_central_system(USUAL_ANSWERS) as central_system:
        async with a_gateway(traced(collector, central_system.url)) as world:
            request = post_bytes(world.url, soap_request("Authorize"), headers=TRACEPARENT)
            await exchange_bytes(world.url, request)
            await world.end()
        call, leg = collector.of("Authorize")
        assert (call.trace_id, call.parent_id, call.kind) == (TRACE_ID, SPAN_ID, 2)
        assert (leg.trace_id, leg.parent_id, leg.kind) == (TRACE_ID, call.span_id, 3)
        assert call.nanoseconds[0] <= leg.nanoseconds[0] <= leg.nanoseconds[1] <= call.nanoseconds[1]
        assert call.attributes == {
            "ocpp.action": "Authorize",
            "ocpp.direction": "to_csms",
            "ocpp.protocol": "ocpp1.6-soap",
            "wattbridge.outcome": "ok",
            "wattbridge.listener": "soap",
            "wattbridge.route": "all",
            "wattbridge.upstream": "main",
        }
        waited = leg.attributes.pop("wattbridge.waited_seconds")
        assert 0 < waited <= (leg.nanoseconds[1] - leg.nanoseconds[0]) / 1e9
        assert leg.attributes == {
            "ocpp.action": "Authorize",
            "ocpp.direction": "to_csms",
            "ocpp.protocol": "ocpp1.6-json",
            "wattbridge.upstream": "main",
        }
        assert collector.resource["service.name"] == "wattbridge"
        assert "TAG" not in repr(collector.spans)


async def test_a_call_of_the_central_system_tells_the_charge_point_of_its_trace() -> None:
    async with (
        a_collector() as collector,
        a_charge_point(ACCEPTED) as charge_point,
        a_central_system() as central_system,
    ):
        async with a_gateway(traced(collector, central_system.url, charger="yes")) as world:
            async with asyncio.TaskGroup() as tasks:
                header = from_header(charge_point.url)
                tasks.create_task(post(world.url, soap_request("Heartbeat", headers=header)))
                connected = await central_system.next()
                await connected.answer({"currentTime": "2024-05-01T10:00:00Z"})
            await connected.send('[2,"a","ClearCache",{}]')
            request = await charge_point.request()
            assert await connected.frame() == [3, "a", {"status": "Accepted"}]
            await world.end()
        call, leg = collector.of("ClearCache")
        assert f"\r\ntraceparent: 00-{call.trace_id}-{leg.span_id}-01\r\n" in request
        assert call.parent_id == ""
        assert (call.attributes["ocpp.direction"], leg.attributes["ocpp.protocol"]) == (
            "to_charger", "ocpp1.6-soap",
        )  # fmt: skip
        assert call.attributes["ocpp.charge_point"] == "CP1"


async def test_what_is_not_sampled_is_told_on_and_not_recorded() -> None:
    """W3C Trace Context, 4.3: whoever does not record passes the trace on."""
    async with a_collector() as collector, a_charge_point(soap_central_system) as central_system:
        text = traced(collector, central_system.url, sample=0)
        text = text.replace("gateway: {", "gateway: {public_url: 'http://127.0.0.1:1', ")
        async with a_gateway(text) as world:
            unsampled = TRACEPARENT.replace("-01\r\n", "-00\r\n") + "tracestate: vendor=1\r\n"
            request = post_bytes(world.url, soap_request("Heartbeat"), headers=unsampled)
            await exchange_bytes(world.url, request)
            posted = await central_system.request()
            assert world.heard.records[-1].trace is not None
            await world.end()
        head = posted.partition("\r\n\r\n")[0]
        assert f"\r\ntraceparent: 00-{TRACE_ID}-" in head
        assert "-00\r\n" in head
        assert "\r\ntracestate: vendor=1" in head
        assert SPAN_ID not in head
        assert collector.spans == []


async def test_a_refused_call_is_a_span_that_says_why_in_one_word() -> None:
    async with a_collector() as collector, a_gateway(traced(collector, NOBODY)) as world:
        await post(world.url, soap_request("Authorize", identity="STRANGER"))
        await world.end()
        [call] = collector.spans
        assert (call.name, call.error) == ("Authorize", "auth")
        assert (call.attributes["error.type"], call.attributes["wattbridge.outcome"]) == ("auth", "failed")
        assert "STRANGER" not in repr(collector.spans)


async def test_a_histogram_shows_the_trace_of_an_exchange_to_who_asks_for_openmetrics() -> None:
    async with (
        a_collector() as collector,
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(traced(collector, central_system.url)) as world,
    ):
        request = post_bytes(world.url, soap_request("Heartbeat"), headers=TRACEPARENT)
        await exchange_bytes(world.url, request)
        page = await openmetrics(world)
        assert f'# {{trace_id="{TRACE_ID}"}} ' in page
        shown = [line.partition("{")[0] for line in page.splitlines() if TRACE_ID in line]
        assert set(shown) == {
            "wattbridge_call_duration_seconds_bucket",
            "wattbridge_peer_response_duration_seconds_bucket",
            "wattbridge_translation_duration_seconds_bucket",
        }
        assert TRACE_ID not in await world.metrics()


async def openmetrics(world: World) -> str:
    host = world.admin.partition("://")[2]
    request = (
        f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n"
    )
    answer = (await exchange_bytes(world.admin, request.encode())).decode()
    assert "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8" in answer
    assert answer.endswith("# EOF\n")
    return answer


async def test_spans_that_no_collector_takes_are_counted_and_told() -> None:
    async with a_collector() as collector, a_central_system(USUAL_ANSWERS) as central_system:
        collector.status = 400
        async with a_gateway(traced(collector, central_system.url)) as world:
            await post(world.url, soap_request("Heartbeat"))
            async with asyncio.timeout(PATIENCE):
                while not world.heard.told("records dropped"):
                    await post(world.url, soap_request("Heartbeat"))
                    await asyncio.sleep(0.1)
            [event, *_] = world.heard.told("records dropped")
            assert event.labels["sink"] == "otlp"
            assert (
                f"spans did not reach {collector.url}: Failed to export spans batch code: 400" in event.text
            )
            page = await world.metrics()
            assert 'wattbridge_trace_records_dropped_total{sink="otlp"} 0.0' not in page


async def test_a_reload_begins_tracing_and_ends_it(tmp_path: Path) -> None:
    async with (
        a_collector() as collector,
        a_central_system(USUAL_ANSWERS) as central_system,
        test_reload.a_gateway(tmp_path, test_reload.configuration(url=central_system.url)) as world,
    ):
        await post(world.url, soap_request("Heartbeat"))
        more = f'tracing: {{otlp: "{collector.url}", sample: 1}}'
        await world.reload(test_reload.configuration(url=central_system.url, more=more))
        await post(world.url, soap_request("Authorize"))
        with a_taken_port() as taken:
            other = f'tracing: {{otlp: "{collector.url}/elsewhere", sample: 1}}'
            port = taken.getsockname()[1]
            text = test_reload.configuration(url=central_system.url, more=other, metrics_port=port)
            with pytest.raises(CannotReload):
                await world.reload(text)
        await post(world.url, soap_request("DataTransfer"))
        await world.reload(test_reload.configuration(url=central_system.url))
        await post(world.url, soap_request("Heartbeat"))
        await collector.has(4)
        assert [span.name for span in collector.spans] == ["Authorize"] * 2 + ["DataTransfer"] * 2
        assert [record.trace is not None for record in world.heard.records] == [False, True, True, False]


def a_taken_port() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


async def test_a_gateway_without_tracing_imports_nothing_of_it() -> None:
    code = (
        "import sys, wattbridge.app\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


async def test_a_gateway_that_lacks_the_packages_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wattbridge.operation.otel", None)
    text = configuration() + "tracing: {otlp: 'http://127.0.0.1:4318'}\n"
    with pytest.raises(ExceptionGroup) as failed:
        async with a_gateway(text):
            pass
    [problem] = failed.value.exceptions
    assert isinstance(problem, CannotStart)
    assert "tracing: the packages of the extra otel are missing (pip install 'wattbridge[otel]')" in str(
        problem
    )


@pytest.mark.parametrize(
    ("said", "posted"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector.example.com/tenant/7", "https://collector.example.com/tenant/7"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(said: str, posted: str) -> None:
    assert endpoint_of(said) == posted
