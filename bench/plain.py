"""Gateways that read nothing: what pass-through, and the way from JSON to SOAP, can cost at the least.

``relay`` passes frames between two WebSockets of the websockets library, one to the central system for each
charge point. ``proxy`` passes the bodies of HTTP requests on, with the gateway's own listener and client that
keeps connections. ``post`` takes frames from the library's WebSockets and posts ready requests with that
client; its answers were written before. ``python -m bench.plain PORT KIND CENTRAL_SYSTEM`` runs until its
standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench.processes import until_input_ends
from bench.workload import EXCHANGES, SOAP_CONTENT_TYPE, numbered
from wattbridge.links.http_client import Address, KeptClient
from wattbridge.links.listener import HttpRequest, HttpResponse, Limits, Listener

SUBPROTOCOLS = [Subprotocol("ocpp1.6")]


async def relay(port: int, central_system: str) -> None:
    async def pass_on(reads: Connection, writes: Connection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await writes.send(await reads.recv(decode=False), text=True)
        await writes.close()

    async def handle(charge_point: ServerConnection) -> None:
        path = charge_point.request.path if charge_point.request else ""
        url = f"{central_system}{path}"
        async with (
            connect(url, subprotocols=SUBPROTOCOLS, compression=None, proxy=None) as upstream,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(pass_on(charge_point, upstream))
            tasks.create_task(pass_on(upstream, charge_point))

    async with serve(handle, "127.0.0.1", port, subprotocols=SUBPROTOCOLS, compression=None):
        await until_input_ends()


async def proxy(port: int, central_system: str) -> None:
    address, client = Address.of(central_system), KeptClient()

    async def handle(request: HttpRequest) -> HttpResponse:
        answer = await client.post(address, request.body, request.headers["content-type"])
        return HttpResponse(answer.status, answer.body, answer.content_type)

    limits = Limits(connections=10_000, connections_per_source=10_000)
    listener = Listener("proxy", "127.0.0.1", port, handle, limits)
    await listener.start()
    await until_input_ends()
    await listener.stop(drain=0.5)


async def post(port: int, central_system: str) -> None:
    address, client = Address.of(central_system), KeptClient()
    requests = {each.action: numbered(each.soap_request()).encode() for each in EXCHANGES.values()}
    results = {each.action: each.result("{id}").partition("{id}")[2] for each in EXCHANGES.values()}

    async def handle(charge_point: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                _, message_id, _, action, _ = str(await charge_point.recv()).split('"', 4)
                await client.post(address, requests[action], SOAP_CONTENT_TYPE)
                await charge_point.send(f'[3,"{message_id}{results[action]}')

    async with serve(handle, "127.0.0.1", port, subprotocols=SUBPROTOCOLS, compression=None):
        await until_input_ends()


KINDS = {"relay": relay, "proxy": proxy, "post": post}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("central_system")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(KINDS[given.kind](given.port, given.central_system))
