"""A gateway that runs with its admin API, for tests that ask it as a program would."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.fakes import PATIENCE
from wattbridge.app import Gateway
from wattbridge.config import load
from wattbridge.operation.api import Page
from wattbridge.reloading import Reloader
from wattbridge.store.base import Store
from wattbridge.store.memory import MemoryStore

TOKEN = "a-token-of-some-length"

CONFIGURATION = """\
gateway: {{name: depot, drain: 0s, reload: no}}
listeners:
  field: {{bind: "127.0.0.1:0"}}
upstreams:
  cloud: {{url: "{url}", connect: {{timeout: 1s}}}}
routes:
  - {{name: renamed, match: {{charger: "EVB-*"}}, upstream: cloud, identity: {{rewrite: "^EVB-", to: "CP"}}}}
  - {{name: everybody, match: any, upstream: cloud}}
chargers: {{CP1: , EVB-1: , CP2: }}
callbacks: {{networks: [127.0.0.0/8]}}
metrics: {{bind: "127.0.0.1:0"}}
admin:
  bind: "127.0.0.1:0"
  token: {{file: admin-token}}
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: Any


@dataclass
class Running:
    """A gateway that runs, the file of its configuration, and what asks its admin API."""

    gateway: Gateway
    file: Path

    async def ask(
        self, request: str, body: Any = None, *, headers: dict[str, str] | None = None, token: str = TOKEN
    ) -> Answer:
        """The answer to ``GET /chargers``; what it gives has to have the shape that its page tells."""
        answer = await asyncio.to_thread(self._ask, request, body, headers or {}, token)
        if answer.status == 200:
            page = self._page(*request.partition("?")[0].split())
            assert page.gives is not None
            page.gives.model_validate_json(json.dumps(answer.content), strict=True)
        return answer

    async def get(self, path: str) -> Any:
        answer = await self.ask(f"GET {path}")
        assert answer.status == 200, answer
        return answer.content

    def _ask(self, request: str, body: Any, headers: dict[str, str], token: str) -> Answer:
        method, path = request.split()
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        asked = urllib.request.Request(
            f"{self.gateway.admin_address}/api/v1{path}",
            None if body is None else content,
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers},
            method=method,
        )
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                return Answer(answer.status, dict(answer.headers), json.loads(answer.read()))
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, dict(refused.headers), json.loads(refused.read()))

    def _page(self, method: str, path: str) -> Page:
        parts = path.split("/")
        return next(
            page
            for page in self.gateway.admin_pages
            if page.method == method and _fits(page.path.split("/"), parts)
        )


def _fits(pattern: list[str], parts: list[str]) -> bool:
    return len(pattern) == len(parts) and all(
        each.startswith("{") or each == part for each, part in zip(pattern, parts, strict=True)
    )


@asynccontextmanager
async def a_gateway(
    folder: Path, url: str, *, text: str = CONFIGURATION, store: Store | None = None
) -> AsyncIterator[Running]:
    """One whose central system is at *url*; *text* is its configuration, in *folder*."""
    (folder / "admin-token").write_text(TOKEN, encoding="utf-8")
    file = folder / "gateway.yaml"
    file.write_text(text.format(url=url), encoding="utf-8")
    loaded = load(file)
    gateway = Gateway(loaded.config, store or MemoryStore())
    gateway.reload_with(Reloader(gateway, partial(load, file), loaded))
    ready, stopping = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.run(stopping, ready.set))
        await ready.wait()
        try:
            yield Running(gateway, file)
        finally:
            stopping.set()
