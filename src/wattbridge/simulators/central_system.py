"""What a simulated central system knows and answers, however it speaks.

central_system_json.py and central_system_soap.py have the same surface, so that scenarios and tests can use
either. It answers every charge point sensibly and keeps what it received. All of this lives in one event
loop's thread.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from wattbridge.simulators.dialects import DIALECTS, Version
from wattbridge.simulators.outcomes import Exchange, Unanswered, tell_nobody

Payload = dict[str, Any]

ALL = "*"


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Transaction:
    """What the central system knows of a transaction it gave an id to; meters in Wh."""

    identity: str
    connector_id: int
    id_tag: str
    meter_start: int
    meter_stop: int | None = None  # None while it runs
    reason: str | None = None


class CentralSystem:
    """One simulated central system, but for the transport.

    ``id_tags`` maps idTags to their AuthorizationStatus, others are Invalid; None accepts every idTag.
    ``passwords`` maps identities to the password of HTTP Basic authentication; None asks for none.
    ``known`` are the identities it serves; None serves everybody. Intervals and timeouts are in seconds.
    Whatever it says and keeps has the names of OCPP ``version``.

    What makes it awkward, to be changed at any time: ``boot_status``; ``answer_delay`` (keep it below the
    other side's timeout, or its next CALL is taken for premature); ``silent_on`` and ``hang_up_on``, actions
    it does not answer or at which it cuts the connection, ``ALL`` for every action; ``errors``, action →
    error code and description of what it answers with; ``refuse_handshakes``, an HTTP status for whoever
    connects. ``on_exchange`` hears of every call that has ended.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        heartbeat_interval: int = 300,
        id_tags: Mapping[str, str] | None = None,
        passwords: Mapping[str, str | bytes] | None = None,
        known: Iterable[str] | None = None,
        call_timeout: float = 30.0,
        now: Callable[[], datetime] = utc_now,
        version: Version = "1.6",
    ) -> None:
        self.dialect = DIALECTS[version]
        self.host = host
        self.port = port
        self.heartbeat_interval = heartbeat_interval
        self.id_tags = id_tags
        self.passwords = passwords
        self.known = None if known is None else set(known)
        self.call_timeout = call_timeout
        self.now = now
        self.boot_status = "Accepted"
        self.answer_delay = 0.0
        self.silent_on: set[str] = set()
        self.hang_up_on: set[str] = set()
        self.errors: dict[str, tuple[str, str]] = {}
        self.refuse_handshakes: HTTPStatus | int | None = None
        self.on_exchange: Callable[[Exchange], None] = tell_nobody
        self.received: list[
            tuple[str, str, Payload]
        ] = []  # identity, action, payload; may be cut by who reads it
        self.heard = 0  # calls that were ever received
        self.problems: list[str] = []
        self.answered: Counter[str] = Counter()  # identity → calls of ours that got an answer
        self.transactions: dict[int, Transaction] = {}
        self.next_transaction_id = 1
        self._connections: dict[str, Any] = {}  # identity → what the transport reaches it by
        self._news = asyncio.Condition()

    # --- Life ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where charge points find it."""
        raise NotImplementedError

    async def start(self) -> None:
        """Listen; with ``port`` 0 on a free port, which stays the same when started again."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- For tests and scenarios -----------------------------------------------------------------------

    @property
    def connected(self) -> list[str]:
        """The identities that can be called."""
        return sorted(self._connections)

    async def connection_of(self, identity: str, *, within: float = 5.0) -> None:
        """Wait until *identity* can be called; raises Unanswered after *within* seconds."""
        await self._wait_for(lambda: identity in self.connected, f"{identity} did not connect", within)

    async def departure_of(self, identity: str, *, within: float = 5.0) -> None:
        """Wait until *identity* can be called no more; raises Unanswered after *within* seconds."""
        await self._wait_for(lambda: identity not in self.connected, f"{identity} did not leave", within)

    async def arrival_of(
        self, action: str, *, identity: str | None = None, after: int = 0, within: float = 5.0
    ) -> tuple[str, str, Payload]:
        """Wait for the first *action*, from *identity* if that is given, after the first *after* calls.

        ``heard`` says how many there were so far. Raises Unanswered after *within* seconds.
        """

        def found() -> list[tuple[str, str, Payload]]:
            forgotten = self.heard - len(self.received)
            fresh = self.received[max(0, after - forgotten) :]
            return [call for call in fresh if call[1] == action and identity in (None, call[0])]

        await self._wait_for(lambda: bool(found()), f"no {action} arrived", within)
        return found()[0]

    async def call(self, identity: str, action: str, **payload: Any) -> Payload:
        """Ask a charge point, names as on the wire: ``await cs.call("CP1", "Reset", type="Soft")``.

        Returns the payload of the answer, decimals as Decimal. Raises Refusal when it was an error,
        Unanswered when there was none, and ValueError when the payload breaks the schema.
        """
        began = asyncio.get_running_loop().time()
        outcome = "ok"
        try:
            answer = await self._ask(identity, action, payload)
        except Exception as failure:
            outcome = str(failure)
            raise
        finally:
            seconds = asyncio.get_running_loop().time() - began
            self.on_exchange(Exchange(identity, action, "charge point", outcome, seconds))
        self.answered[identity] += 1
        return answer

    async def _ask(self, identity: str, action: str, payload: Payload) -> Payload:
        raise NotImplementedError

    async def hang_up(self, identity: str, code: int = 1000) -> None:
        """Close a charge point's connection in good order; *code* is that of a WebSocket."""
        raise NotImplementedError

    def cut(self, identity: str) -> None:
        """Break a charge point's connection without a word, as a lost network does."""
        raise NotImplementedError

    async def _announce(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _wait_for(self, happened: Callable[[], bool], otherwise: str, within: float) -> None:
        try:
            async with asyncio.timeout(within), self._news:
                await self._news.wait_for(happened)
        except TimeoutError:
            raise Unanswered(f"{otherwise} within {within:g} s") from None

    # --- What it knows ---------------------------------------------------------------------------------

    async def note_call(self, identity: str, action: str, payload: Payload) -> None:
        self.received.append((identity, action, payload))
        self.heard += 1
        await self._announce()

    def begin(self, transaction: Transaction) -> int:
        transaction_id = self.next_transaction_id
        self.next_transaction_id += 1
        self.transactions[transaction_id] = transaction
        return transaction_id

    def end(self, transaction_id: int, meter_stop: int, reason: str) -> None:
        """Note the end of a transaction; one that nobody knows is no error (OCPP 1.6, 4.10)."""
        transaction = self.transactions.get(transaction_id)
        if transaction is not None:
            transaction.meter_stop = meter_stop
            transaction.reason = reason

    def id_tag_info(self, id_tag: str) -> Payload:
        if self.id_tags is None:
            return {"status": "Accepted"}
        for known, status in self.id_tags.items():
            if known.lower() == id_tag.lower():  # idTags are case-insensitive (OCPP 1.6, 7.28)
                return {"status": status}
        return {"status": "Invalid"}

    def timestamp(self) -> str:
        return self.now().isoformat(timespec="seconds").replace("+00:00", "Z")

    def knows(self, identity: str) -> bool:
        return self.known is None or identity in self.known

    def is_allowed(self, identity: str, authorization: str | None) -> bool:
        """Whether an Authorization header names *identity* with its password; True when none is asked for."""
        if self.passwords is None:
            return True
        name, password = read_basic(authorization)
        expected = self.passwords.get(identity)
        if expected is None or name != identity.encode():
            return False
        expected = expected.encode() if isinstance(expected, str) else expected
        return hmac.compare_digest(password, expected)


def read_basic(authorization: str | None) -> tuple[bytes, bytes]:
    """Name and password of HTTP Basic authentication, both empty when it is none.

    Bytes, not text: an AuthorizationKey need not be UTF-8, and may hold a colon (OCPP-J 1.6, 6.2.2).
    """
    scheme, _, value = (authorization or "").partition(" ")
    try:
        credential = base64.b64decode(value, validate=True) if scheme.lower() == "basic" else b""
    except binascii.Error:
        return b"", b""
    name, _, password = credential.partition(b":")
    return name, password
