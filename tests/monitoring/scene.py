"""A gateway that lives through everything that can happen to it, for whoever wants to see it in metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.config.certificates import write_certificates
from tests.fakes import exchange_bytes, post, post_bytes, soap_request
from wattbridge.app import Gateway
from wattbridge.config import Loaded, load
from wattbridge.config.places import store_path
from wattbridge.keeping import open_store
from wattbridge.relay.journal import Journal
from wattbridge.reloading import CannotReload, Reloader
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.outcomes import Refusal, Unanswered

CONFIGURATION = """
gateway: {{drain: 1s, unknown: refuse}}
listeners:
  all:
    bind: "127.0.0.1:0"
    paths: [/ocpp/cs, "/ocpp/{{charger}}"]
    limits: {{body: 16KiB}}
  small: {{bind: "127.0.0.1:0", limits: {{connections_per_source: 1}}}}
  secret:
    bind: "127.0.0.1:0"
    tls: {{certificate: certs/gw.pem, key: certs/gw.key}}
upstreams:
  main: {{url: "{main}", call_timeout: 2s, {connect}}}
  spare: {{url: "{spare}", {connect}}}
  copies: {{url: "ws://127.0.0.1:9", {connect}}}
routes:
  - {{name: saved, match: {{charger: JSON-2}}, upstream: main, fallback: spare, failover: {{after: 300ms}}}}
  - {{name: all-others, match: any, upstream: main, mirror: copies, mirror_queue: 1}}
chargers: {{SOAP-1: {{}}, SOAP-2: {{profile: odd}}, SOAP-3: {{}}, SOAP-4: {{}}, JSON-1: {{}}, JSON-2: {{}}}}
profiles:
  odd: {{unknown: {{StatusNotification.errorCode: {{becomes: OtherError}}}}}}
callbacks: {{networks: [127.0.0.0/8], timeout: 1s}}
metrics: {{bind: "127.0.0.1:0", per_charger: yes}}
offline: {{hold: 100ms, attempts: 1, retry: 100ms, answer: {{start_transaction: provisional}}}}
store: {{url: "sqlite:///{folder}/state.db"}}
"""
CONNECT = "connect: {timeout: 500ms, rate: 1000/s, backoff: {first: 50ms, max: 200ms}}"
TIME = "2024-05-01T10:00:00Z"


@dataclass(frozen=True)
class Scene:
    """Who plays. ``url`` is where SOAP is posted to, ``sockets`` where WebSockets are opened."""

    gateway: Gateway
    main: JsonCentralSystem
    url: str
    sockets: str
    soap: SoapChargePoint
    json: JsonChargePoint
    saved: JsonChargePoint
    reloader: Reloader
    file: Path

    @property
    def metrics(self) -> str:
        return self.gateway.metrics_address

    async def everything(self) -> None:
        """A day of a charge point, then what goes wrong, then an outage and what comes after it."""
        for charge_point in (self.soap, self.json, self.saved):
            await charge_point.power_up()
        await self.soap.charge("04E91C5A", meter_values=1)
        await self.main.call("SOAP-1", "TriggerMessage", requestedMessage="Heartbeat")
        await self._oddities()
        await self._refusals()
        await self._outage()
        await self._reloads()
        await self.main.connection_of("JSON-1")
        self.main.answer_delay = 1.0  # as long as it is asked how many calls are under way
        await self.json.heartbeat()

    async def _oddities(self) -> None:
        """What is changed, lost, repeated and answered here."""
        status = "<cs:connectorId>1</cs:connectorId><cs:status>Faulted</cs:status>"
        await self._post("StatusNotification", "SOAP-2", status + "<cs:errorCode>E17</cs:errorCode>")
        await self._post("Authorize", "SOAP-2", "<cs:idTag>04E91C5A</cs:idTag><cs:floor>2</cs:floor>")
        self.main.next_transaction_id = 2**31  # more than OCPP-S can say
        for _ in range(2):
            await self._post("StartTransaction", "SOAP-2")
        self.main.next_transaction_id = 1000
        # OCPP 1.2 knows of no local list, so the gateway answers.
        await post(self.url, soap_request("Heartbeat", "SOAP-4").replace("/2015/10/", "/2010/08/"))
        await self.main.connection_of("SOAP-4")
        await self.main.call("SOAP-4", "GetLocalListVersion")

    async def _refusals(self) -> None:
        """What breaks the rules, comes from strangers, or leads nowhere."""
        await self._post("Authorize", "SOAP-2", f"<cs:idTag>{'4' * 24}</cs:idTag>")
        await post(self.url, "Hallo")
        await self._post("Heartbeat", "SOAP-9")
        with contextlib.suppress(Unanswered, Refusal):
            async with JsonChargePoint("JSON-9", self.sockets):
                pass
        await exchange_bytes(self.url, b"POST / HTTP/1.1\r\nHost gateway\r\n\r\n")
        await exchange_bytes(self.url, post_bytes(self.url, "x" * 20_000))
        await self._crowd()
        await self._post("BootNotification", "SOAP-3")
        for identity in ("SOAP-2", "SOAP-3"):
            with contextlib.suppress(Refusal, Unanswered):
                await self.main.call(identity, "Reset", type="Soft")

    async def _crowd(self) -> None:
        """More connections than one address may have."""
        address = self.gateway.addresses["small"].split("/")[2]
        host, _, port = address.rpartition(":")
        writers = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, int(port))
            writers.append(writer)
            writer.write(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
            await reader.readline()
        for writer in writers:
            writer.close()

    async def _outage(self) -> None:
        """The central system is away, comes back, and does not want all that was kept."""
        await self.main.stop()
        for number in range(3):
            await self.soap.heartbeat()
            await self.json.meter_values()
            inside = f"<cs:status>{'Uploading' if number else 'Idle'}</cs:status>"
            await self._post("DiagnosticsStatusNotification", "SOAP-2", inside)
            await asyncio.sleep(0.4)  # so that it is seen
        await self._post("StartTransaction", "SOAP-3")
        self.main.errors["DiagnosticsStatusNotification"] = ("InternalError", "not now")
        heard = self.main.heard
        await self.main.start()
        await self.main.arrival_of("StartTransaction", after=heard)
        await self.json.heartbeat()

    async def _reloads(self) -> None:
        await self.reloader.reload("a test")
        right = self.file.read_text(encoding="utf-8")
        self.file.write_text("gateway: {nmae: wrong}", encoding="utf-8")
        with contextlib.suppress(CannotReload):
            await self.reloader.reload("a test")
        self.file.write_text(right, encoding="utf-8")

    async def _post(self, action: str, identity: str, inside: str | None = None) -> None:
        await post(self.url, soap_request(action, identity, inside=inside))


@asynccontextmanager
async def a_scene(folder: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(JsonCentralSystem())
        spare = await stack.enter_async_context(JsonCentralSystem())
        write_certificates(folder)
        file = folder / "gateway.yaml"
        text = CONFIGURATION.format(main=main.url, spare=spare.url, connect=CONNECT, folder=folder)
        file.write_text(text, encoding="utf-8")

        def read() -> Loaded:
            return load(file)

        loaded = read()
        journal = Journal()
        store = await open_store(store_path(loaded.config, str(file)), journal)
        stack.push_async_callback(store.close)
        gateway = Gateway(loaded.config, store, journal)
        ready, stopping = asyncio.Event(), asyncio.Event()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(gateway.run(stopping, ready.set))
        stack.callback(stopping.set)
        await ready.wait()
        url = gateway.addresses["all"]
        sockets = gateway.websocket_addresses["all"].removesuffix("/{charger}")
        soap = await stack.enter_async_context(SoapChargePoint("SOAP-1", url))
        json = await stack.enter_async_context(JsonChargePoint("JSON-1", sockets))
        saved = await stack.enter_async_context(JsonChargePoint("JSON-2", sockets))
        yield Scene(gateway, main, url, sockets, soap, json, saved, Reloader(gateway, read, loaded), file)
