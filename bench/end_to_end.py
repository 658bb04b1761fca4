"""Whole gateways on loopback sockets: the product, its own transports alone, and naive glue, in turn.

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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import naive
from bench.measure import Figure, Row
from bench.processes import Cores, Process, free_port
from bench.workload import FROM_CHARGE_POINT

PATIENCE = 120.0  # seconds for one command to the load process

GROUP = "end to end"
CPU_GROUP = "gateway CPU"
FORWARD = tuple(exchange.name for exchange in FROM_CHARGE_POINT)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: connected charge points, rounds, and seconds of each run."""

    clients: int
    rounds: int
    seconds: float
    scenarios: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Gateway:
    variant: str
    process: Process
    port: int
    path: str


class EndToEnd:
    """The load process and the gateways, from ``with`` to its end."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._stack = contextlib.ExitStack()
        self._gateways: dict[str, _Gateway] = {}
        self._others = _Others(cores)

    def __enter__(self) -> EndToEnd:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wattbridge-bench-")))
            self._load = self._start(stack, "load", ["bench.load"], self._cores.load, answers=True)
            where = self._load.ask({"do": "start"}, PATIENCE)
            started = [self._start_ours(stack, folder, where)]
            others = ("floor", "naive") if naive.HAS_SPYNE else ("floor",)
            started += [self._start_other(stack, variant, where) for variant in others]
            for gateway, wait in started:
                wait()
                self._gateways[gateway.variant] = gateway
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def _start(
        self,
        stack: contextlib.ExitStack,
        name: str,
        arguments: Sequence[str],
        cores: frozenset[int],
        *,
        answers: bool = False,
    ) -> Process:
        process = Process(name, [sys.executable, "-W", "ignore", "-m", *arguments], cores, answers=answers)
        stack.callback(process.stop)
        return process

    def _start_ours(self, stack: contextlib.ExitStack, folder: Path, where: dict[str, Any]) -> Any:
        port, metrics = free_port(), free_port()
        file = folder / "gateway.yaml"
        file.write_text(configuration(port, metrics, f"{where['central_system']}/ours"))
        process = self._start(stack, "ours", ["wattbridge", "run", "-c", str(file)], self._cores.gateway)
        gateway = _Gateway("ours", process, port, "/ocpp/cs")
        return gateway, lambda: process.wait_for_page(f"http://127.0.0.1:{metrics}/readyz")

    def _start_other(self, stack: contextlib.ExitStack, variant: str, where: dict[str, Any]) -> Any:
        port = free_port()
        central_system = f"{where['central_system']}/{variant}"
        arguments = [f"bench.{variant}_gateway", str(port), central_system, where["charge_point"]]
        process = self._start(stack, variant, arguments, self._cores.gateway)
        path = "/{identity}/{name}" if variant == "floor" else "/ocpp/cs"
        return _Gateway(variant, process, port, path), lambda: process.wait_for_port(port)

    def rows(self, effort: Effort) -> Iterator[Row]:
        """Load every gateway with every scenario; of each, exchanges per second and CPU per exchange."""
        for gateway in self._gateways.values():
            command = {
                "do": "connect",
                "variant": gateway.variant,
                "port": gateway.port,
                "path": gateway.path,
            }
            self._load.ask({**command, "clients": effort.clients}, PATIENCE)
        for name in effort.scenarios:
            for variant in self._gateways:  # everything has been done once before it is measured
                self._run(variant, name, min(0.5, effort.seconds))
            seen: dict[str, list[dict[str, float]]] = {variant: [] for variant in self._gateways}
            for _ in range(effort.rounds):
                for variant, runs in seen.items():
                    runs.append(self._run(variant, name, effort.seconds))
            yield from _rows(name, seen)

    def _connect(self, gateway: _Gateway, clients: int) -> None:
        command = {"do": "connect", "variant": gateway.variant, "port": gateway.port, "path": gateway.path}
        self._load.ask({**command, "clients": clients}, PATIENCE)

    def others_busy(self) -> float | None:
        """The share of the gateways' core that other processes took since ``rows`` began, if it is known."""
        return self._others.share(self._gateways.values())

    def _run(self, variant: str, name: str, seconds: float) -> dict[str, float]:
        direction = "forward" if name in FORWARD else "reverse"
        process = self._gateways[variant].process
        before = process.cpu_seconds()
        command = {"do": direction, "variant": variant, "name": name, "seconds": seconds}
        answer = self._load.ask(command, PATIENCE)
        used = process.cpu_seconds() - before
        if answer["wrong"]:
            raise WrongAnswer(
                f"{variant}, {name}: {answer['wrong']} of {answer['count']} exchanges failed, "
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

    def memory_row(self, count: int) -> Row:
        """KiB for each of *count* idle sessions: a charge point that spoke once, and its WebSocket."""
        figures = {}
        for variant, gateway in self._gateways.items():
            self._connect(gateway, clients=0)
            # What is allocated once, for the first sessions, does not count.
            self._open_sessions(variant, 0, count // 4)
            before = gateway.process.memory()
            self._open_sessions(variant, count, count)
            figures[variant] = Figure((gateway.process.memory() - before) / count / 1024, 0.0)
        return Row("memory", f"one idle session of {count}", "KiB", figures)

    def _open_sessions(self, variant: str, first: int, count: int) -> None:
        self._load.ask({"do": "sessions", "variant": variant, "first": first, "count": count}, PATIENCE)


class _Others:
    """How much of the gateways' core other processes take, from the first look to the last."""

    def __init__(self, cores: Cores) -> None:
        self._core = next(iter(cores.gateway), None)
        self._began = (0.0, 0.0, 0.0)

    def begin(self, gateways: Iterable[_Gateway]) -> None:
        self._began = self._look(gateways)

    def share(self, gateways: Iterable[_Gateway]) -> float | None:
        now, busy, ours = (
            after - before for after, before in zip(self._look(gateways), self._began, strict=True)
        )
        return None if self._core is None or not busy else round(max(0.0, busy - ours) / now, 3)

    def _look(self, gateways: Iterable[_Gateway]) -> tuple[float, float, float]:
        """Seconds of the clock, of the core, and of the gateways."""
        busy = 0.0
        with contextlib.suppress(OSError):
            for line in Path("/proc/stat").read_text().splitlines():
                if line.startswith(f"cpu{self._core} "):
                    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, line.split()[1:])
                    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, sum(gateway.process.cpu_seconds() for gateway in gateways)


class WrongAnswer(Exception):
    """Exchanges that failed are not worth timing."""


def _rows(name: str, seen: dict[str, list[dict[str, float]]]) -> Iterator[Row]:
    def figures(key: str) -> dict[str, Figure]:
        return {variant: Figure.of([run[key] for run in runs]) for variant, runs in seen.items()}

    others = ("p50_ms", "p99_ms", "gateway_busy", "load_busy")
    medians = {key: figures(key) for key in others}
    details = {variant: {key: medians[key][variant].median for key in others} for variant in seen}
    who = "charge point" if name in FORWARD else "central system"
    named = f"{name} from the {who}"
    yield Row(GROUP, named, "exchanges/s", figures("per_second"), more_is_better=True, details=details)
    yield Row(CPU_GROUP, named, "µs", figures("cpu_us"))


def configuration(port: int, metrics_port: int, central_system: str) -> str:
    """A gateway as an operator runs it, but for the limits that a load from one address would meet."""
    sections = {
        "gateway": {"unknown": "accept", "drain": "1s"},
        "listeners": {
            "soap": {
                "bind": f"127.0.0.1:{port}",
                "limits": {"connections": 10_000, "connections_per_source": 10_000},
            }
        },
        "upstreams": {"central": {"url": f"{central_system}/{{charger}}", "connect": {"rate": "10000/s"}}},
        "callbacks": {"networks": ["127.0.0.0/8"]},
        "metrics": {"bind": f"127.0.0.1:{metrics_port}"},
        "logging": {"level": "warning"},
    }
    return json.dumps(sections)  # which is YAML too
