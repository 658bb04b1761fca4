"""A real Prometheus that scrapes what a test runs, in a folder of its own, for as long as a block lasts.

Debian's packages are ``prometheus``, which brings promtool, and ``prometheus-alertmanager`` with amtool.
They are used where they are installed, or as ``make prometheus`` has unpacked them.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.interop.running import a_free_port

PROGRAMS = {"prometheus": "prometheus", "promtool": "prometheus", "amtool": "prometheus-alertmanager"}
UNPACKED = Path(__file__).parent / "build/usr/bin"
SCRAPE_EVERY = 0.5  # seconds


def found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(UNPACKED / program)


def missing() -> str:
    """What has to be there and is not; nothing when all of it is."""
    for program, package in PROGRAMS.items():
        if found(program) is None:
            return f"{program} is not installed: it is in Debian's package {package}"
    return ""


# Where it is known that all of it is there, nothing is skipped.
needs_prometheus = pytest.mark.skipif(bool(missing()) and os.environ.get("CI") != "true", reason=missing())


def tool(program: str, *words: str | Path, said: str = "") -> tuple[int, str]:
    """The exit code of promtool or amtool, and all that it says."""
    ended = subprocess.run(
        [found(program) or program, *(str(word) for word in words)],
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@dataclass(frozen=True)
class Series:
    labels: dict[str, str]
    values: list[float]


@dataclass(frozen=True)
class Prometheus:
    """``url`` is its own; ``began`` is when it was started, in seconds since 1970."""

    url: str
    began: float = field(default_factory=time.time)

    async def ask(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer of its API; raises AssertionError with what it says is wrong."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"

        def fetch() -> Any:
            try:
                with urllib.request.urlopen(url, timeout=10) as response:
                    return json.load(response)
            except urllib.error.HTTPError as refusal:
                return json.load(refusal)

        answer = await asyncio.to_thread(fetch)
        assert answer["status"] == "success", answer
        return answer["data"]

    async def series(self, query: str) -> list[Series]:
        """All that *query* has been since the start."""
        told = await self.ask(
            "query_range", query=query, start=f"{self.began}", end=f"{time.time()}", step="0.5"
        )
        return [
            Series(each["metric"], [float(value) for _, value in each["values"] if value != "NaN"])
            for each in told["result"]
        ]

    async def now(self, query: str) -> list[float]:
        told = await self.ask("query", query=query)
        return [float(series["value"][1]) for series in told["result"]]

    async def alerts(self) -> dict[str, str]:
        """The alerts that are not quiet: name → ``pending`` or ``firing``."""
        told = await self.ask("alerts")
        return {alert["labels"]["alertname"]: alert["state"] for alert in told["alerts"]}

    async def until(self, happened: Callable[[], Any], within: float = 30.0) -> None:
        """Ask again and again until what *happened* gives is true; raises TimeoutError."""
        async with asyncio.timeout(within):
            while not await happened():  # noqa: ASYNC110 - it is another process that has to be asked
                await asyncio.sleep(SCRAPE_EVERY)


@asynccontextmanager
async def a_prometheus(
    folder: Path, scraped: dict[str, str], rules: Sequence[Path] = ()
) -> AsyncIterator[Prometheus]:
    """Prometheus as long as the block lasts; *scraped* are job → URL of its page, *rules* files of rules."""
    jobs = []
    for job, page in scraped.items():
        address = urllib.parse.urlsplit(page)
        target = {
            "job_name": job,
            "metrics_path": address.path,
            "static_configs": [{"targets": [address.netloc]}],
        }
        jobs.append(target)
    every = f"{round(SCRAPE_EVERY * 1000)}ms"
    configuration = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": jobs,
        "rule_files": [str(path) for path in rules],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    listen = f"127.0.0.1:{a_free_port()}"
    process = await asyncio.create_subprocess_exec(
        found("prometheus") or "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={listen}",
        "--log.level=warn",
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"GOMAXPROCS": "1"},
    )
    try:
        prometheus = Prometheus(f"http://{listen}")

        async def scrapes() -> bool:
            try:
                return len(await prometheus.now("up == 1")) == len(scraped)
            except OSError:
                return False

        await prometheus.until(scrapes)
        yield prometheus
    finally:
        process.terminate()
        await process.wait()
