"""What a mirror costs the main path: the same gateway with and without, at the same pace.

The charge points send whether or not answers come, so that a gateway that stalls shows it. A mirror that is
there, one whose address nobody listens at, and one that takes everything and never answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.gateways import Gateway, Gateways, Seen, figures, upstream
from bench.measure import Row
from bench.processes import free_port

GROUP = "mirrors"
EXCHANGE = "MeterValues(4)"
QUEUE = (
    2  # copies; so that those that cannot go anywhere are dropped during the run, as they would be for ever
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How many charge points, how many messages a second of all together, for how long, how often."""

    clients: int
    per_second: float
    seconds: float
    rounds: int


def rows(gateways: Gateways, pace: Pace) -> Iterator[Row]:
    """Milliseconds until a charge point has its answer, and CPU of the gateway for each message."""
    central_system = gateways.where["central_system"]
    addresses = {
        "without": "",
        "a mirror": f"{central_system}/mirror/{{charger}}",
        "a dead mirror": f"ws://127.0.0.1:{free_port()}/{{charger}}",
        "a silent mirror": f"{central_system}/silent/{{charger}}",
    }
    started = []
    for number, (name, address) in enumerate(addresses.items()):
        main = upstream(f"{central_system}/main-{number}/{{charger}}")
        upstreams = {"main": main} | ({"mirror": upstream(address)} if address else {})
        mirrored = {"mirror": ["mirror"], "mirror_queue": QUEUE} if address else {}
        route = {"name": "all", "match": "any", "upstream": "main"} | mirrored
        process, port = gateways.start_ours(f"ours-{number}", {"upstreams": upstreams, "routes": [route]})
        started.append(Gateway(name, process, port, "/ocpp/{identity}", "json"))
    gateways.watch_others(gateway.process for gateway in started)
    for gateway in started:
        gateways.connect(gateway, pace.clients)
    # Long enough that the queues of the mirrors are full.
    warm_up = min(pace.seconds, (QUEUE + 1) * pace.clients / pace.per_second)
    for gateway in started:
        gateways.run(gateway, EXCHANGE, warm_up, pace.per_second)
    seen: dict[str, list[Seen]] = {gateway.variant: [] for gateway in started}
    for _ in range(pace.rounds):
        for gateway in started:
            seen[gateway.variant].append(gateways.run(gateway, EXCHANGE, pace.seconds, pace.per_second))
    without = seen.pop("without")
    for name, runs in seen.items():
        both = {"ours": runs, "floor": without}
        for key, what, unit in (("p50_ms", "p50", "ms"), ("p99_ms", "p99", "ms"), ("cpu_us", "CPU", "µs")):
            yield Row(GROUP, f"{what}, with {name}", unit, figures(both, key))
