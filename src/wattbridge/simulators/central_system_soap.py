"""A central system that speaks OCPP-S, as an independent witness: spyne serves CentralSystemService, zeep
calls the charge points' ChargePointService.

Has the surface of ``JsonCentralSystem``. It learns where a charge point can be called from wsa:From, as
OCPP-S has it, or is told. What breaks the service description, the headers or HTTP it notes as a problem.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from wattbridge.simulators.central_system import (
    ALL,
    CentralSystem,
    Payload,
    Transaction,
    read_basic,
    utc_now,
)
from wattbridge.simulators.dialects import Version
from wattbridge.simulators.outcomes import Exchange, Refused, Unanswered
from wattbridge.simulators.post_server import Post, PostServer, Response
from wattbridge.simulators.soap_by_spyne import ENVIRON, NAME, Asked, application
from wattbridge.simulators.soap_by_zeep import Caller, service
from wattbridge.simulators.soap_rules import VERSION_MISMATCH, Heard, Rules, VersionMismatch

Habits = Literal["steve", "ev-server"]

PATH = "/ocpp"
MOST_CALLS = 32  # at once, of all charge points together
# What ev-server says whatever it calls, and where it puts the identity.
CONSTANT_MESSAGE_ID = "urn:uuid:589e13ae-1787-49f8-ab8b-4567327b23c6"
NAMESPACE_OF_1_5 = "urn://Ocpp/Cp/2012/06/"
# Who is to blame for an error (OCPP-S 1.5, 8.2); everybody else's is the receiver's.
SENDERS = {"SecurityError", "IdentityMismatch", "ProtocolError"}


@dataclass(slots=True)
class _Peer:
    """How a charge point can be reached. One call at a time, as with a WebSocket."""

    address: str
    caller: Caller | None = None


class SoapCentralSystem(CentralSystem):
    """One simulated central system of OCPP ``version``; what it can be told is in ``CentralSystem``.

    ``addresses`` maps identities to the URL at which they are called, whatever they say themselves. An error
    of a charge point is a Refused. ``habits`` makes it behave like one that is in use:

    - ``"steve"``: fully qualified wsa:Action in responses, no wsa:From in calls, and a SecurityError for
      everything before an accepted BootNotification;
    - ``"ev-server"``: the same wsa:MessageID in each call, and chargeBoxIdentity in the namespace of 1.5.
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
        addresses: Mapping[str, str] | None = None,
        habits: Habits | None = None,
        call_timeout: float = 30.0,
        now: Callable[[], datetime] = utc_now,
        version: Version = "1.6",
    ) -> None:
        super().__init__(
            host=host,
            port=port,
            heartbeat_interval=heartbeat_interval,
            id_tags=id_tags,
            passwords=passwords,
            known=known,
            call_timeout=call_timeout,
            now=now,
            version=version,
        )
        self.addresses = dict(addresses or {})
        self.habits = habits
        self._connections: dict[str, _Peer] = {}
        self._accepted: set[str] = set()
        self._calling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._server: PostServer | None = None
        self._callers: concurrent.futures.ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    # --- Life ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where charge points post; who they are stands in their messages."""
        return f"http://{self.host}:{self.port}{PATH}"

    async def start(self) -> None:
        """Listen; with ``port`` 0 on a free port, which stays the same when started again.

        Raises NotInstalled when there is no spyne.
        """
        self._loop = asyncio.get_running_loop()
        self._stopping.clear()
        await asyncio.to_thread(self._open)  # the libraries take their time

    def _open(self) -> None:
        description = service(NAME, self.dialect.version)
        service("ChargePointService", self.dialect.version)
        self._application = application(
            self._answered, self._note, description, qualified_actions=self.habits == "steve"
        )
        self._callers = concurrent.futures.ThreadPoolExecutor(MOST_CALLS, "central system calls")
        self._server = PostServer(
            "central system",
            self.host,
            self.port,
            PATH,
            self._respond,
            self._note,
            party="central system",
            inflates=True,
        )
        self.port = self._server.port
        self._rules = Rules(description, self._note, url=self.url, identity=None)

    async def stop(self) -> None:
        """Stop listening, and cut what is open; a call under way ends by itself."""
        if self._server is not None:
            server, self._server = self._server, None
            self._stopping.set()
            await asyncio.to_thread(server.close)
            assert self._callers is not None
            callers, self._callers = self._callers, None
            callers.shutdown(wait=False, cancel_futures=True)
            for peer in self._connections.values():
                if peer.caller is not None:
                    peer.caller.close()
                    peer.caller = None

    # --- For tests and scenarios -----------------------------------------------------------------------

    @property
    def connected(self) -> list[str]:
        """Who can be called: who has said where, and whose address was given."""
        return sorted({*self._connections, *self.addresses})

    async def _ask(self, identity: str, action: str, payload: Payload) -> Payload:
        address = self.addresses.get(identity)
        if address is None and identity not in self._connections:
            raise Unanswered(f"{action}: {identity} has not said where it can be called")
        peer = self._connections.setdefault(identity, _Peer(""))
        address = address or peer.address
        if self._callers is None or self._loop is None:
            raise Unanswered(f"{action}: the central system is not started")
        async with self._calling[identity]:
            if peer.caller is None or peer.caller.url != address:
                peer.caller = self._new_caller(identity, address)
            return await self._loop.run_in_executor(self._callers, peer.caller.call, action, payload)

    def _new_caller(self, identity: str, address: str) -> Caller:
        ev_server = self.habits == "ev-server"
        return Caller(
            identity,
            address,
            None if self.habits == "steve" else self.url,
            self.problems,
            timeout=self.call_timeout,
            calls="ChargePointService",
            message_id=CONSTANT_MESSAGE_ID if ev_server else None,
            identity_namespace=NAMESPACE_OF_1_5 if ev_server else None,
            strict=True,
            version=self.dialect.version,
        )

    async def hang_up(self, identity: str, code: int = 1000) -> None:
        """Close the connections a charge point has open; SOAP has no code for it, nor any farewell."""
        self.cut(identity)

    def cut(self, identity: str) -> None:
        if self._server is not None:
            self._server.cut(identity)

    # --- Being called: in the thread of a connection ---------------------------------------------------

    def _note(self, problem: str) -> None:
        self.problems.append(problem)

    def _respond(self, post: Post) -> Response | None:
        if self.refuse_handshakes is not None:
            return Response(int(self.refuse_handshakes), "text/plain; charset=utf-8", b"refused\n")
        authorization = post.headers.get("Authorization")
        name = read_basic(authorization)[0].decode("utf-8", "replace")
        if not self.is_allowed(name, authorization):
            challenge = (("WWW-Authenticate", 'Basic realm="OCPP"'),)
            return Response(401, "text/plain; charset=utf-8", b"wrong password\n", challenge)
        asked = Asked(Heard())
        try:
            self._rules.read(post.body, post.headers.get("Content-Type", ""), asked.heard)
            post.belongs_to(asked.heard.identity)
            if name and name != asked.heard.identity:
                self._note(f"{asked.heard.identity}: sent with the password of {name!r}")
        except VersionMismatch:
            return Response(500, "text/xml; charset=utf-8", VERSION_MISMATCH)
        except Refused as refused:
            asked.refused = refused
        status, content_type, body = self._through_spyne(post, asked)
        return None if asked.hang_up else Response(status, content_type, body)

    def _through_spyne(self, post: Post, asked: Asked) -> tuple[int, str, bytes]:
        said: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], problem: Any = None) -> None:
            said.update(status=int(status.partition(" ")[0]), headers=dict(headers))

        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": PATH,
            "SERVER_NAME": self.host,
            "SERVER_PORT": str(self.port),
            "CONTENT_TYPE": post.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(post.body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(post.body),
            ENVIRON: asked,
        }
        body = b"".join(self._application(environ, start_response))
        return said["status"], said["headers"]["Content-Type"], body

    def _answered(self, asked: Asked, payload: Payload) -> Payload:
        """The answer, made in the event loop, where all that the central system knows lives."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self._answer(asked, payload), self._loop).result()

    # --- Being called: in the event loop ---------------------------------------------------------------

    async def _answer(self, asked: Asked, payload: Payload) -> Payload:
        heard, began = asked.heard, time.monotonic()
        if heard.address:
            peer = self._connections.setdefault(heard.identity, _Peer(heard.address))
            peer.address = heard.address
        await self.note_call(heard.identity, heard.action, payload)
        outcome = "ok"
        try:
            asked.hang_up = await self._is_to_hang_up(heard.action)
            if asked.hang_up:
                raise Refused("Receiver", "InternalError", "hung up")  # which nobody will hear
            self._refuse_if_told_to(heard)
            return self._say(heard.identity, heard.action, payload)
        except Refused as refused:
            outcome = str(refused)
            raise
        except Exception as error:  # a fault of the simulator itself: loud
            outcome = str(error)
            self._note("".join(traceback.format_exception(error)))
            raise
        finally:
            self.on_exchange(
                Exchange(heard.identity, heard.action, "central system", outcome, time.monotonic() - began)
            )

    async def _is_to_hang_up(self, action: str) -> bool:
        if {action, ALL} & self.hang_up_on:
            return True
        if {action, ALL} & self.silent_on:
            await self._stopping.wait()
            return True
        await asyncio.sleep(self.answer_delay)
        return False

    def _refuse_if_told_to(self, heard: Heard) -> None:
        if not self.knows(heard.identity):
            raise Refused("Sender", "IdentityMismatch", f"{heard.identity!r} is unknown here")
        if heard.action in self.errors:
            word, reason = self.errors[heard.action]
            raise Refused("Sender" if word in SENDERS else "Receiver", word, reason)
        early = heard.action != "BootNotification" and heard.identity not in self._accepted
        if early and self.habits == "steve":
            raise Refused("Sender", "SecurityError", f"{heard.identity!r} has not been accepted yet")

    def _say(self, identity: str, action: str, asked: Payload) -> Payload:
        """The payload of the answer to a call that is in order."""
        if action == "BootNotification":
            if self.boot_status == "Accepted":
                self._accepted.add(identity)
            return self.dialect.booted(self.boot_status, self.timestamp(), self.heartbeat_interval)
        if action == "Heartbeat":
            return {"currentTime": self.timestamp()}
        if action == "DataTransfer":
            return {"status": "Accepted", "data": asked.get("data")}
        if action == "StartTransaction":
            # An id is given in any case: the charge point may have started already (OCPP 1.6, 4.8).
            transaction = Transaction(identity, asked["connectorId"], asked["idTag"], asked["meterStart"])
            return {
                "transactionId": self.begin(transaction),
                "idTagInfo": self.id_tag_info(asked["idTag"]),
            }
        if action == "StopTransaction":
            self.end(asked["transactionId"], asked["meterStop"], asked.get("reason", "Local"))
        # Authorize, and StopTransaction when it says whose; the others are answered with nothing.
        return {"idTagInfo": self.id_tag_info(asked["idTag"])} if "idTag" in asked else {}
