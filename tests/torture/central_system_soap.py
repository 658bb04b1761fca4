"""A central system that speaks OCPP-S: charge points post to it, and it posts to the address that came in
wsa:From.

Nothing tells it that a charge point has gone: it calls the address that it heard last.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from tests.torture import envelopes, posts
from tests.torture.central_system import CentralSystem
from tests.torture.ledger import Asked, Ledger

IDLE = 1.0  # seconds that a connection may be idle; below those of the gateway, so that both ends close some


class SoapCentralSystem(CentralSystem):
    """The wsa:MessageID is the message id: what comes again under the same is the same message."""

    def __init__(self, ledger: Ledger, randomly: random.Random, *, awkward_ids: bool = False) -> None:
        super().__init__(ledger, randomly, awkward_ids=awkward_ids)
        self._addresses: dict[str, str] = {}  # of charge points, by identity

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with posts.listening(self._take) as self.port:
            yield

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which brings several requests, of any charge point."""
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    _, body = await posts.read_request(reader)
                if self.mode == "unavailable":
                    writer.write(posts.write_unavailable(self._randomly.choice((502, 503, 504))))
                    await writer.drain()
                    continue
                answer = await self._answer_to(body)
                if answer is None:
                    await reader.read()  # until who asked has given up
                    return
                keeps, data = self._in_http(answer)
                writer.write(data)
                await writer.drain()
                if not keeps:
                    return
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer_to(self, body: bytes) -> bytes | None:
        request = envelopes.read(body)
        if request.address:
            self._addresses[request.identity] = request.address
        reply = await self._answer(request.identity, request.message_id, request.action, request.content)
        if reply is None:
            return None
        return envelopes.write_response(request.action, reply, request.message_id, envelopes.CENTRAL_SYSTEM)

    def _in_http(self, answer: bytes) -> tuple[bool, bytes]:
        """Whether the connection stays, which is not always said, and the answer in a way of HTTP."""
        match self._randomly.randrange(10):
            case 0:
                return False, posts.write_answer(answer, connection="close")
            case 1:
                return False, posts.write_answer(answer)
            case 2:
                return False, posts.write_answer_to_the_end(answer)
            case 3 | 4:
                return True, posts.write_answer_in_chunks(answer)
        return True, posts.write_answer(answer)

    def _within_reach(self) -> Collection[str]:
        return self._addresses

    async def _ask(self, asked: Asked) -> None:
        address = self._addresses[asked.identity]
        own = f"http://127.0.0.1:{self.port}/ocpp"
        outcome = await posts.post(
            address,
            envelopes.write_request(
                asked.identity, asked.action, asked.payload, own, address, envelopes.CHARGE_POINT
            ),
            envelopes.CHARGE_POINT,
        )
        match outcome:
            case posts.NotSent():
                asked.outcome = "not sent"
            case posts.NoAnswer():
                asked.outcome = "gone"
            case posts.Refused():
                asked.outcome = "error"
            case _:
                asked.outcome, asked.reply = "result", outcome
