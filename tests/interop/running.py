"""The whole gateway on real sockets, built from a configuration text, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from wattbridge.app import Gateway
from wattbridge.config import read_text
from wattbridge.relay.journal import Event, Record

# Charge points live on loopback here, which the gateway calls only where it is listed.
CONFIGURATION = """
version: 1
gateway: {{drain: 2s, unknown: {unknown}{public_url}}}
listeners:
  all:
    bind: "127.0.0.1:{port}"
    paths: [/ocpp/cs, "/ocpp/{{charger}}"]
    limits: {{connections_per_source: 500}}
upstreams:
  main:
    url: {url}
    call_timeout: {call_timeout}
    connect: {{timeout: {connect_timeout}, rate: 1000/s, backoff: {{first: 10ms, max: 50ms}}}}
{upstream}
callbacks: {{networks: [127.0.0.0/8], timeout: {callback_timeout}}}
metrics: {{bind: "127.0.0.1:0"}}
offline: {{hold: {hold}}}
{more}
"""


def configuration(
    url: str,
    *,
    unknown: str = "accept",
    call_timeout: str = "5s",
    connect_timeout: str = "5s",
    callback_timeout: str = "5s",
    hold: str = "20s",
    upstream: str = "",
    more: str = "",
) -> str:
    """A configuration with one central system; ``upstream`` and ``more`` are further lines of YAML.

    A SOAP central system is told where the gateway is, so its port is one that was free a moment ago.
    """
    port = a_free_port() if url.startswith("http:") else 0
    return CONFIGURATION.format(
        url=url,
        unknown=unknown,
        call_timeout=call_timeout,
        connect_timeout=connect_timeout,
        callback_timeout=callback_timeout,
        hold=hold,
        upstream=upstream,
        more=more,
        port=port,
        public_url=f', public_url: "http://127.0.0.1:{port}"' if port else "",
    )


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Running:
    """A gateway at work: ``url`` is where charge points post, ``json_url`` where they connect, but for their
    identity; the journal is kept."""

    gateway: Gateway
    url: str
    records: list[Record] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def json_url(self) -> str:
        return f"ws://{self.url.split('/')[2]}/ocpp"

    @property
    def host_and_port(self) -> tuple[str, int]:
        host, _, port = self.url.split("/")[2].rpartition(":")
        return host, int(port)

    def hear_record(self, record: Record) -> None:
        self.records.append(record)
        self._news.set()

    def hear_event(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    async def until(self, happened: Callable[[], bool], within: float = 5.0) -> None:
        """Wait until the journal shows it; raises TimeoutError after *within* seconds."""
        async with asyncio.timeout(within):
            while not happened():
                self._news.clear()
                await self._news.wait()

    def bugs(self) -> list[Event]:
        """What the gateway itself did wrong; there is never any."""
        return self.told("internal error")


@asynccontextmanager
async def running(text: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """Run the gateway of the configuration *text*; it has stopped in good order when the block is left."""
    gateway = Gateway(read_text(text, env=env).config)
    ready, stopping = asyncio.Event(), asyncio.Event()
    failed: BaseException | None = None
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.run(stopping, ready.set))
        await ready.wait()
        here = Running(gateway, next(iter(gateway.addresses.values())))
        gateway.journal.listen(record=here.hear_record, event=here.hear_event)
        try:
            yield here
        except Exception as error:  # of the test: raised when the gateway has stopped, and not in a group
            failed = error
        finally:
            stopping.set()
    if failed is not None:
        raise failed
    assert here.bugs() == []
