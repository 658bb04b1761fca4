"""The admin port on a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import get
from wattbridge.operation.health import HealthPort
from wattbridge.operation.metrics import ChargePointState, Metrics


@asynccontextmanager
async def a_health_port(
    causes: list[str], charge_points: list[ChargePointState] | None = None
) -> AsyncIterator[str]:
    def told() -> tuple[list[ChargePointState], int] | None:
        return None if charge_points is None else (charge_points, 1)

    health = HealthPort(
        "127.0.0.1", 0, Metrics("1", []), lambda: {"running": causes[:1], "store": causes[1:]}, told
    )
    await health.start()
    try:
        yield f"http://127.0.0.1:{health.port}"
    finally:
        await health.stop()


async def test_livez_says_ok_whatever_is_wrong() -> None:
    async with a_health_port(["the gateway is starting"]) as url:
        response = await get(f"{url}/livez")
        assert (response.status, response.body) == (200, "ok\n")


async def test_readyz_says_ok() -> None:
    async with a_health_port([]) as url:
        response = await get(f"{url}/readyz")
        assert (response.status, response.body) == (200, "ok\n")


async def test_readyz_names_every_cause() -> None:
    async with a_health_port(["the gateway is stopping", "the store is full"]) as url:
        response = await get(f"{url}/readyz")
        assert (response.status, response.body) == (503, "the gateway is stopping\nthe store is full\n")


async def test_readyz_tells_every_check_on_request() -> None:
    async with a_health_port([]) as url:
        response = await get(f"{url}/readyz?verbose")
        assert (response.status, response.body) == (200, "running: ok\nstore: ok\n")
    async with a_health_port(["the gateway is stopping", "no room", "no disk"]) as url:
        response = await get(f"{url}/readyz?verbose")
        assert (response.status, response.body) == (
            503,
            "running: the gateway is stopping\nstore: no room; no disk\n",
        )


async def test_readyz_follows_the_state() -> None:
    causes = ["the gateway is starting"]
    async with a_health_port(causes) as url:
        assert (await get(f"{url}/readyz")).status == 503
        causes.clear()
        assert (await get(f"{url}/readyz")).status == 200


async def test_metrics_are_in_prometheus_text_format() -> None:
    async with a_health_port([]) as url:
        response = await get(f"{url}/metrics")
        assert response.status == 200
        assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in response.head
        assert "wattbridge_call_failures" in {
            family.name for family in text_string_to_metric_families(response.body)
        }


async def test_other_pages_are_not_there() -> None:
    async with a_health_port([]) as url:
        assert (await get(f"{url}/nothing")).status == 404


async def test_the_first_page_names_the_others_and_no_page_names_a_version() -> None:
    async with a_health_port([]) as url:
        for page in ("", "livez", "nothing"):
            response = await get(f"{url}/{page}")
            assert "Server: wattbridge\r\n" in response.head
        assert (await get(f"{url}/")).body == "/livez /readyz /metrics /metrics/chargers\n"


async def test_a_taken_address_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        health = HealthPort("127.0.0.1", taken.getsockname()[1], Metrics("1", []), dict)
        with pytest.raises(OSError, match="address already in use"):
            await health.start()
        await health.stop()


async def test_a_connection_that_is_kept_open_does_not_hold_up_the_end() -> None:
    health = HealthPort("127.0.0.1", 0, Metrics("1", []), dict)
    await health.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", health.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"ok\n")
    async with asyncio.timeout(2.0):
        await health.stop()
    assert await reader.read() == b""
    writer.close()
    await health.stop()  # once is enough, twice is no harm


async def test_charge_points_are_told_of_where_that_is_wanted() -> None:
    async with a_health_port([]) as url:
        response = await get(f"{url}/metrics/chargers")
        said = "charge points are not told of: set metrics.per_charger\n"
        assert (response.status, response.body) == (404, said)
    charge_points = [ChargePointState("CP1", up=True), ChargePointState("CP2", up=True)]
    async with a_health_port([], charge_points) as url:
        response = await get(f"{url}/metrics/chargers")
        assert response.status == 200
        assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in response.head
        assert '\nwattbridge_charger_up{charger="CP1"} 1.0\n' in response.body
        assert '\nwattbridge_charger_up{charger="_other"} 1.0\n' in response.body
        assert "wattbridge_ready" not in response.body
