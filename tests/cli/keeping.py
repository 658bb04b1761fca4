"""A gateway that keeps messages, for commands that ask it: its admin API, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli.test_main import run
from tests.kept import DeliveriesInMemory, what_waits
from tests.test_administration import an_administration_of
from wattbridge.operation.api import Access, AdminPort, Token, pages_of

TOKEN = "a-token-of-some-length"


@dataclass
class Keeping:
    """``run`` gives exit code, output and errors of a command that asks it."""

    deliveries: DeliveriesInMemory
    url: str
    token_file: Path

    def run(self, *arguments: str) -> tuple[int, str, str]:
        return run(*arguments, "--admin", self.url, "--token-file", str(self.token_file))


@contextmanager
def a_gateway_that_keeps(folder: Path) -> Iterator[Keeping]:
    deliveries, token_file = what_waits(), folder / "token"
    token_file.write_text(TOKEN)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    access = Access([Token("admin", "admin", TOKEN)])
    administration = an_administration_of(folder, deliveries)
    port = AdminPort("127.0.0.1", 0, access, pages_of(administration), audit=administration.audit)
    try:
        asyncio.run_coroutine_threadsafe(port.start(), loop).result()
        yield Keeping(deliveries, f"http://127.0.0.1:{port.port}", token_file)
    finally:
        asyncio.run_coroutine_threadsafe(port.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
