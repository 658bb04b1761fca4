"""Naive glue for JSON charge points: websockets' server, json and jsonschema, zeep's client.

zeep blocks while it asks, so each call has a thread. ``python -m bench.naive_json_gateway PORT
CENTRAL_SYSTEM`` runs until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench import naive
from bench.processes import until_input_ends

THREADS = 64


async def main(port: int, central_system: str) -> None:
    """Serve on *port* until the input ends."""
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(THREADS)
    service = naive.SoapClient("CentralSystemService").service(central_system)

    async def handle(charge_point: ServerConnection) -> None:
        identity = charge_point.request.path.rpartition("/")[2] if charge_point.request else ""
        with suppress(ConnectionClosed):
            while True:
                message_id, action, payload = naive.read_call(str(await charge_point.recv()))
                result = await loop.run_in_executor(threads, service, action, payload, identity)
                await charge_point.send(naive.write_result(message_id, action, result))

    async with serve(handle, "127.0.0.1", port, subprotocols=[Subprotocol("ocpp1.6")], compression=None):
        await until_input_ends()
    threads.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("central_system")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.port, given.central_system))
