"""Gateways under load, on loopback sockets: their processes, and what is measured of them.

Gateway processes have a core to themselves, everything else shares the other. All run from the beginning; one
at a time is under load, each in every round, so that noise hits them alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.measure import Figure
from bench.processes import Cores, Process, free_port
from bench.workload import FROM_CHARGE_POINT

PATIENCE = 120.0  # seconds for one command to the load process

FORWARD = tuple(exchange.name for exchange in FROM_CHARGE_POINT)

Seen = dict[str, float]


class WrongAnswer(Exception):
    """Exchanges that failed are not worth timing."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: connected charge points, rounds, and seconds of each run."""

    clients: int
    rounds: int
    seconds: float
    scenarios: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gateway:
    """One variant: its process, and where charge points find it.

    ``path`` is filled in by the load; ``prefix`` is what the identities of its charge points begin with.
    """

    variant: str
    process: Process
    port: int
    path: str
    transport: Literal["soap", "json"] = "soap"
    prefix: str = ""


class Gateways:
    """The load process and the gateways, from ``with`` to its end.

    ``where`` says at which addresses the load plays ``central_system``, ``soap_central_system`` and
    ``charge_point``.
    """

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._stack = contextlib.ExitStack()
        self._others = _Others(cores)
        self.where: dict[str, Any] = {}

    def __enter__(self) -> Gateways:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wattbridge-bench-"))
            self._folder = Path(folder)
            self._stack = stack
            self._load = self._start("load", ["bench.load"], self._cores.load, answers=True)
            self.where = self._load.ask({"do": "start"}, PATIENCE)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def _start(
        self, name: str, arguments: Sequence[str], cores: frozenset[int], *, answers: bool = False
    ) -> Process:
        process = Process(name, [sys.executable, "-W", "ignore", "-m", *arguments], cores, answers=answers)
        self._stack.callback(process.stop)
        return process

    def start_ours(self, name: str, sections: dict[str, Any]) -> tuple[Process, int]:
        """Start the product with what *sections* say beyond the usual; returns it and its port, ready."""
        port, metrics_port = free_port(), free_port()
        file = self._folder / f"{name}-{port}.yaml"  # a gateway reads its own again when it changes
        store = {"store": {"url": f"sqlite:///{file.stem}.db"}}
        file.write_text(json.dumps(usual(port, metrics_port) | store | sections))  # which is YAML too
        process = self._start(name, ["wattbridge", "run", "-c", str(file)], self._cores.gateway)
        process.wait_for_page(f"http://127.0.0.1:{metrics_port}/readyz")
        return process, port

    def start_other(self, module: str, *arguments: str) -> tuple[Process, int]:
        """Start a gateway of the benchmark: ``bench.<module> PORT arguments``; returns it and its port."""
        port = free_port()
        process = self._start(module, [f"bench.{module}", str(port), *arguments], self._cores.gateway)
        process.wait_for_port(port)
        return process, port

    def connect(self, gateway: Gateway, clients: int) -> None:
        """Connect charge points to it, and let each say a Heartbeat."""
        command = {"do": "connect", "variant": gateway.variant, "port": gateway.port, "path": gateway.path}
        who = {"clients": clients, "transport": gateway.transport, "prefix": gateway.prefix}
        self._load.ask(command | who, PATIENCE)

    def measure(self, gateways: Sequence[Gateway], name: str, effort: Effort) -> dict[str, list[Seen]]:
        """Load every gateway with one kind of exchange, in turns; what was seen of each, by its variant."""
        for gateway in gateways:  # everything has been done once before it is measured
            self.run(gateway, name, min(0.5, effort.seconds))
        seen: dict[str, list[Seen]] = {gateway.variant: [] for gateway in gateways}
        for _ in range(effort.rounds):
            for gateway in gateways:
                seen[gateway.variant].append(self.run(gateway, name, effort.seconds))
        return seen

    def run(self, gateway: Gateway, name: str, seconds: float, per_second: float | None = None) -> Seen:
        """Load one gateway once: as much as it takes, or so many exchanges a second.

        Raises WrongAnswer and ProcessFailed.
        """
        do = "paced" if per_second else "forward" if name in FORWARD else "reverse"
        command = {"do": do, "variant": gateway.variant, "name": name, "seconds": seconds}
        if per_second:
            command["per_second"] = per_second
        before = gateway.process.cpu_seconds()
        answer = self._load.ask(command, PATIENCE)
        used = gateway.process.cpu_seconds() - before
        if answer["wrong"]:
            raise WrongAnswer(
                f"{gateway.variant}, {name}: {answer['wrong']} of {answer['count']} exchanges failed, "
                f"the first with {answer['first_wrong']}"
            )
        return {
            "per_second": answer["count"] / answer["seconds"],
            "cpu_us": used / answer["count"] * 1e6,
            "p50_ms": answer["p50"],
            "p99_ms": answer["p99"],
            "gateway_busy": used / answer["seconds"],
            "load_busy": answer["load_busy"],
        }

    def memory_of_session(self, gateway: Gateway, count: int) -> float:
        """KiB for each of *count* idle sessions, of charge points that spoke once."""
        self.connect(gateway, clients=0)
        # What is allocated once, for the first sessions, does not count.
        self._open_sessions(gateway, 0, count // 4)
        before = gateway.process.memory()
        self._open_sessions(gateway, count, count)
        return (gateway.process.memory() - before) / count / 1024

    def _open_sessions(self, gateway: Gateway, first: int, count: int) -> None:
        command = {"do": "sessions", "variant": gateway.variant, "first": first, "count": count}
        self._load.ask(command, PATIENCE)

    def watch_others(self, processes: Iterable[Process]) -> None:
        """From now on, see how much of the gateways' core goes to others than *processes*."""
        self._others.begin(tuple(processes))

    def others_busy(self) -> float | None:
        """The share of the gateways' core that others took since ``watch_others``, if it is known."""
        return self._others.share()


class _Others:
    """How much of the gateways' core other processes take, from the first look to the last."""

    def __init__(self, cores: Cores) -> None:
        self._core = next(iter(cores.gateway), None)
        self._gateways: tuple[Process, ...] = ()
        self._began = (0.0, 0.0, 0.0)

    def begin(self, gateways: tuple[Process, ...]) -> None:
        self._gateways = gateways
        self._began = self._look()

    def share(self) -> float | None:
        now, busy, ours = (after - before for after, before in zip(self._look(), self._began, strict=True))
        return None if self._core is None or not busy else round(max(0.0, busy - ours) / now, 3)

    def _look(self) -> tuple[float, float, float]:
        """Seconds of the clock, of the core, and of the gateways."""
        busy = 0.0
        with contextlib.suppress(OSError):
            for line in Path("/proc/stat").read_text().splitlines():
                if line.startswith(f"cpu{self._core} "):
                    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, line.split()[1:])
                    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, sum(gateway.cpu_seconds() for gateway in self._gateways)


def figures(seen: dict[str, list[Seen]], key: str) -> dict[str, Figure]:
    return {variant: Figure.of([run[key] for run in runs]) for variant, runs in seen.items()}


def details(seen: dict[str, list[Seen]]) -> dict[str, Seen]:
    """The medians of what stands beside a row."""
    keys = ("p50_ms", "p99_ms", "gateway_busy", "load_busy")
    return {
        variant: {key: Figure.of([run[key] for run in runs]).median for key in keys}
        for variant, runs in seen.items()
    }


def usual(port: int, metrics_port: int) -> dict[str, Any]:
    """A gateway as an operator runs it, but for the limits that a load from one address would meet."""
    limits = {"connections": 10_000, "connections_per_source": 10_000, "handshakes": 1000}
    return {
        "gateway": {"unknown": "accept", "drain": "1s"},
        "listeners": {
            "main": {"bind": f"127.0.0.1:{port}", "limits": limits | {"handshake_rate": "10000/s"}}
        },
        "callbacks": {"networks": ["127.0.0.0/8"]},
        "metrics": {"bind": f"127.0.0.1:{metrics_port}"},
        "logging": {"level": "warning"},
    }


def upstream(url: str) -> dict[str, Any]:
    """A central system at *url*; the pace of new connections is not what is measured."""
    return {"url": url, "connect": {"rate": "10000/s"}}
