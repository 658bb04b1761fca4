"""What the store adds to a message: the same gateway with a store on disk and one in memory, at one pace.

A StartTransaction waits for the disk once before its charge point has the answer; a Heartbeat does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.gateways import Gateway, Gateways, Seen, figures, upstream
from bench.measure import Row
from bench.mirrors import Pace

GROUP = "keeping"
EXCHANGES = ("StartTransaction", "Heartbeat")


def rows(gateways: Gateways, pace: Pace) -> Iterator[Row]:
    """Milliseconds until a SOAP charge point has its answer, and CPU of the gateway for each message."""
    central_system = gateways.where["central_system"]
    started = []
    for variant, sections in (("ours", {}), ("floor", {"store": {"url": "memory"}})):
        upstreams = {"main": upstream(f"{central_system}/{variant}/{{charger}}")}
        process, port = gateways.start_ours(f"store-{variant}", {"upstreams": upstreams} | sections)
        started.append(Gateway(variant, process, port, "/ocpp/cs"))
    gateways.watch_others(gateway.process for gateway in started)
    for gateway in started:
        gateways.connect(gateway, pace.clients)
    for exchange in EXCHANGES:
        seen: dict[str, list[Seen]] = {gateway.variant: [] for gateway in started}
        for gateway in started:
            gateways.run(gateway, exchange, min(1.0, pace.seconds), pace.per_second)
        for _ in range(pace.rounds):
            for gateway in started:
                seen[gateway.variant].append(gateways.run(gateway, exchange, pace.seconds, pace.per_second))
        for key, what, unit in (("p50_ms", "p50", "ms"), ("p99_ms", "p99", "ms"), ("cpu_us", "CPU", "µs")):
            yield Row(GROUP, f"{exchange}, {what}", unit, figures(seen, key))
