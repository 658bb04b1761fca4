"""Handshakes, frames and SOAP messages that were damaged on their way, against a listener with everything
that is served at it: nobody else is disturbed, and nothing is left behind.

The bytes are those of real exchanges, cut, doubled, spliced and flipped; time and network are numbers and
memory (``tests/virtual_time.py``), so that what times out does so at once.
"""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import CLOSE, PING, TEXT, client_frame, handshake, post_bytes, soap_request
from tests.session_model import CP, GATEWAY, JsonPeer, World
from tests.virtual_time import MemoryTransport

HANDSHAKE = handshake("/ocpp/CP2")
HEARTBEAT = '[2,"1","Heartbeat",{}]'
LONG = json.dumps([2, "2", "DataTransfer", {"vendorId": "V", "data": "x" * 300}])
REPLY = '[3,"1",{"status":"Accepted"}]'
ERROR = '[4,"1","GenericError","",{}]'
# A message in two fragments: one that is not the last, and one that goes on with it.
FRAGMENTS = bytes([TEXT]) + client_frame(HEARTBEAT[:9])[1:] + client_frame(HEARTBEAT[9:], 0)
FRAMES = [
    client_frame(HEARTBEAT),
    client_frame(HEARTBEAT.encode(), 2),
    client_frame(LONG),
    client_frame(REPLY),
    client_frame(ERROR),
    client_frame("hello"),
    client_frame(b"hello", PING),
    client_frame((1000).to_bytes(2), CLOSE),
    FRAGMENTS,
]
SEEDS = [
    *(HANDSHAKE + frame for frame in FRAMES),
    HANDSHAKE + b"".join(FRAMES[:5]),
    handshake(
        "/OCPP/cp%2F2/", "Sec-WebSocket-Extensions: permessage-deflate", subprotocol=",ocpp1.6j, ocpp1.6"
    ),
    handshake("/ocpp/CP2", "Authorization: Basic Q1AyOnNlY3JldA==", subprotocol="ocpp2.0.1"),
    handshake("/ocpp/cs"),
    handshake("/elsewhere", subprotocol=None),
    post_bytes("http://gateway/ocpp/cs", soap_request("Heartbeat", "CP2")),
    post_bytes("http://gateway/ocpp/CP2", soap_request("StartTransaction", "CP2")),
    b"GET /ocpp/cs?wsdl HTTP/1.1\r\nHost: gateway\r\n\r\n",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """One of the seeds, with a few mutations; some of them spare the handshake, to get further."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    spared = len(HANDSHAKE) if data.startswith(HANDSHAKE) and draw(st.booleans()) else 0
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(min(spared, len(data)), len(data)))
        length = draw(st.integers(0, 20))
        match draw(st.sampled_from(["flip", "put", "cut", "double", "splice", "end"])):
            case "flip":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "put":
                data[at:at] = draw(st.binary(max_size=20))
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "splice":
                other = draw(st.sampled_from([*SEEDS, *FRAMES]))
                data[at:] = other[draw(st.integers(0, len(other))) :]
            case "end":
                del data[at:]
    return bytes(data)


class Stranger(asyncio.Protocol):
    """Sends what it was given, in pieces, and listens to nothing."""

    transport: MemoryTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport


def prove_health(world: World, healthy: JsonPeer) -> None:
    """The charge point beside it asks, and is answered."""
    asking = world.ask(healthy, "DataTransfer")
    world.settle()
    assert asking.waits_on is not None
    world.reply(asking.waits_on, "result")
    assert len(asking.replies) == 1
    assert not world.failures, world.failures


@settings(max_examples=4 * settings().max_examples)
@given(
    messages=st.lists(
        st.tuples(damaged(), st.integers(1, 400), st.sampled_from(["stays", "goodbye", "reset", "silence"])),
        min_size=1,
        max_size=4,
    ),
    seconds=st.sampled_from([0.0, 1.0, 20.0, 100.0]),
)
def test_whoever_sends_rubbish_disturbs_nobody(
    messages: list[tuple[bytes, int, str]], seconds: float
) -> None:
    world = World("json", "json")
    try:
        healthy = world.dial()
        world.settle()
        for data, piece, then in messages:
            stranger = Stranger()
            world.loop.connect(lambda: stranger, *GATEWAY, "10.0.0.66")  # noqa: B023 called at once
            for begin in range(0, len(data), piece):
                stranger.transport.write(data[begin : begin + piece])
                world.settle()
            match then:
                case "goodbye":
                    stranger.transport.write_eof()
                case "reset":
                    stranger.transport.reset()
                case "silence":
                    stranger.transport.silence()
            world.settle()
            prove_health(world, healthy)
        world.settle(seconds)
        prove_health(world, healthy)
        assert len(world.open_peers(CP)) == 1
    finally:
        world.end()
