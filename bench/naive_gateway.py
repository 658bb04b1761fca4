"""Naive glue as a gateway: spyne's WSGI application behind aiohttp, zeep's client, websockets.

spyne's methods block while the central system is asked, and zeep's while the charge point is, so each has a
thread; any WSGI server would give it one. ``python -m bench.naive_gateway`` runs until its standard input
ends. Needs spyne.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import uvloop
from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench import naive
from bench.processes import until_input_ends
from bench.workload import SOAP_CONTENT_TYPE, Json

THREADS = 64


class NaiveGateway:
    """One WebSocket for each charge point that has spoken, and one call at a time on it."""

    def __init__(self, central_system: str, charge_point: str, tasks: asyncio.TaskGroup) -> None:
        from spyne.server.wsgi import WsgiApplication

        logging.getLogger("spyne").setLevel(logging.ERROR)
        self._central_system = central_system
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(THREADS)
        self._wsgi: Any = WsgiApplication(naive.application(self._relay))
        self._service = naive.SoapClient().service(charge_point)
        self._sockets: dict[str, ClientConnection] = {}
        self._connecting = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[str]] = {}

    async def run(self, port: int) -> None:
        application = web.Application()
        application.router.add_post("/{path:.*}", self.handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.5).start()
        await until_input_ends()
        await runner.cleanup()
        for socket in self._sockets.values():
            await socket.close()
        self._threads.shutdown()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": request.path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": request.headers["Content-Type"],
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
        }
        status, answer = await self._loop.run_in_executor(self._threads, self._answer, environ)
        return web.Response(status=status, body=answer, headers={"Content-Type": SOAP_CONTENT_TYPE})

    def _answer(self, environ: dict[str, Any]) -> tuple[int, bytes]:
        statuses: list[str] = []

        def start_response(status: str, headers: object, exc_info: object = None) -> None:
            statuses.append(status)

        answer = b"".join(self._wsgi(environ, start_response))
        return int(statuses[0].split()[0]), answer

    def _relay(self, identity: str, action: str, payload: Json) -> Json:
        text = naive.write_call(str(uuid.uuid4()), action, payload)
        reply = asyncio.run_coroutine_threadsafe(self._ask(identity, text), self._loop).result(30.0)
        return naive.read_result(reply, action)

    async def _ask(self, identity: str, text: str) -> str:
        async with self._connecting:
            socket = self._sockets.get(identity)
            if socket is None:
                socket = self._sockets[identity] = await connect(
                    f"{self._central_system}/{identity}",
                    subprotocols=[Subprotocol("ocpp1.6")],
                    compression=None,
                    proxy=None,
                )
                self._tasks.create_task(self._read(identity, socket))
        reply: asyncio.Future[str] = self._loop.create_future()
        self._waiting[identity] = reply
        await socket.send(text)
        return await reply

    async def _read(self, identity: str, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                text = str(await socket.recv())
                if text.startswith("[3"):
                    self._waiting[identity].set_result(text)
                else:
                    self._tasks.create_task(self._command(identity, socket, text))

    async def _command(self, identity: str, socket: ClientConnection, text: str) -> None:
        message_id, action, payload = naive.read_call(text)
        call = partial(self._service, action, payload, identity)
        answer = await self._loop.run_in_executor(self._threads, call)
        await socket.send(naive.write_result(message_id, action, answer))


async def main(port: int, central_system: str, charge_point: str) -> None:
    """Serve on *port* until the input ends."""
    async with asyncio.TaskGroup() as tasks:
        await NaiveGateway(central_system, charge_point, tasks).run(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("central_system")
    parser.add_argument("charge_point")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.port, given.central_system, given.charge_point))
