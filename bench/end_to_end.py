"""SOAP charge points with a JSON central system: the product, its own transports alone, and naive glue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench import naive
from bench.gateways import FORWARD, Effort, Gateway, Gateways, details, figures, upstream
from bench.measure import Figure, Row

GROUP = "end to end"
CPU_GROUP = "gateway CPU"


def start(gateways: Gateways) -> list[Gateway]:
    """Ours, the floor and, where spyne can be had, the naive one; each with its own central systems."""
    central_system = gateways.where["central_system"]
    ours, port = gateways.start_ours("ours", to_central_system(f"{central_system}/ours"))
    started = [Gateway("ours", ours, port, "/ocpp/cs")]
    for variant in ("floor", "naive") if naive.HAS_SPYNE else ("floor",):
        process, port = gateways.start_other(
            f"{variant}_gateway", f"{central_system}/{variant}", gateways.where["charge_point"]
        )
        path = "/{identity}/{name}" if variant == "floor" else "/ocpp/cs"
        started.append(Gateway(variant, process, port, path))
    return started


def to_central_system(url: str) -> dict[str, Any]:
    """The sections for one central system of all charge points."""
    return {"upstreams": {"central": upstream(f"{url}/{{charger}}")}}


def rows(gateways: Gateways, effort: Effort) -> Iterator[Row]:
    """Of every kind of exchange, how many a second, and CPU for each."""
    started = start(gateways)
    gateways.watch_others(gateway.process for gateway in started)
    for gateway in started:
        gateways.connect(gateway, effort.clients)
    for name in effort.scenarios:
        seen = gateways.measure(started, name, effort)
        who = "charge point" if name in FORWARD else "central system"
        named = f"{name} from the {who}"
        per_second = figures(seen, "per_second")
        yield Row(GROUP, named, "exchanges/s", per_second, more_is_better=True, details=details(seen))
        yield Row(CPU_GROUP, named, "µs", figures(seen, "cpu_us"))


def memory_row(gateways: Gateways, count: int) -> Row:
    """KiB for each of *count* idle sessions: a charge point that spoke once, and its WebSocket."""
    sizes = {
        gateway.variant: Figure(gateways.memory_of_session(gateway, count), 0.0)
        for gateway in start(gateways)
    }
    return Row("memory", f"one idle session of {count}, a SOAP charge point", "KiB", sizes)
