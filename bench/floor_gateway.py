"""The floor: the gateway's own transports with nothing between them.

The same HTTP listener, the same WebSocket client, the same HTTP client and event loop; bodies and frames pass
unread, and what is written was written before. The path of a request tells what its body would:
``/<identity>/<action>``. ``python -m bench.floor_gateway`` runs until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench.processes import until_input_ends
from bench.workload import EXCHANGES, MESSAGE_ID, SOAP_CONTENT_TYPE, numbered
from wattbridge.links.callbacks import AddressPolicy, CallbackClient, choose
from wattbridge.links.http_client import Address
from wattbridge.links.listener import HttpRequest, HttpResponse, Limits, Listener

ANOTHER = "urn:uuid:6a51a3a0-0000-4000-8000-000000000002"
RESPONSES = {
    exchange.action: exchange.soap_response(relates_to=ANOTHER).encode() for exchange in EXCHANGES.values()
}
REQUESTS = {exchange.action: numbered(exchange.soap_request()).encode() for exchange in EXCHANGES.values()}
# The frames of the three sizes of MeterValues have one action; the path tells them apart.
CALLS = {name: numbered(exchange.call(MESSAGE_ID)) for name, exchange in EXCHANGES.items()}
RESULTS = {exchange.action: exchange.result("{id}").partition("{id}")[2] for exchange in EXCHANGES.values()}


class FloorGateway:
    """One WebSocket for each charge point that has spoken, and one call at a time on it."""

    def __init__(self, central_system: str, charge_point: str, tasks: asyncio.TaskGroup) -> None:
        self._central_system = central_system
        self._charge_point = charge_point
        self._tasks = tasks
        self._client = CallbackClient()
        self._sockets: dict[str, ClientConnection] = {}
        self._waiting: dict[str, asyncio.Future[str]] = {}

    async def start(self, port: int) -> Listener:
        address = await choose(
            AddressPolicy(), identity="floor", source_ip="127.0.0.1", pinned=self._charge_point
        )
        assert isinstance(address, Address), address
        self._address = address
        limits = Limits(connections=10_000, connections_per_source=10_000)
        listener = Listener("floor", "127.0.0.1", port, self.handle, limits)
        await listener.start()
        return listener

    async def handle(self, request: HttpRequest) -> HttpResponse:
        _, identity, name = request.path.split("/")
        socket = self._sockets.get(identity)
        if socket is None:
            socket = self._sockets[identity] = await connect(
                f"{self._central_system}/{identity}",
                subprotocols=[Subprotocol("ocpp1.6")],
                compression=None,
                proxy=None,
                ping_interval=30.0,
            )
            self._tasks.create_task(self._read(identity, socket))
        reply = self._waiting[identity] = asyncio.get_running_loop().create_future()
        await socket.send(CALLS[name])
        await reply
        return HttpResponse(200, RESPONSES[EXCHANGES[name].action], SOAP_CONTENT_TYPE)

    async def _read(self, identity: str, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                text = str(await socket.recv())
                if text[1] == "3":
                    self._waiting[identity].set_result(text)
                else:
                    self._tasks.create_task(self._post(socket, text))

    async def _post(self, socket: ClientConnection, text: str) -> None:
        _, message_id, _, action, _ = text.split('"', 4)
        await self._client.post(self._address, REQUESTS[action], SOAP_CONTENT_TYPE)
        await socket.send(f'[3,"{message_id}{RESULTS[action]}')


async def main(port: int, central_system: str, charge_point: str) -> None:
    """Serve on *port* until the input ends."""
    async with asyncio.TaskGroup() as tasks:
        gateway = FloorGateway(central_system, charge_point, tasks)
        listener = await gateway.start(port)
        await until_input_ends()
        await listener.stop(drain=0.5)
        for socket in gateway._sockets.values():
            await socket.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("central_system")
    parser.add_argument("charge_point")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.port, given.central_system, given.charge_point))
