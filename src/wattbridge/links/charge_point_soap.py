"""SOAP charge points: serves CentralSystemService to them, calls ChargePointService on them.

The service reads the call, finds the session and answers with what ``Session.relay`` brings back. The link is
the other way: it posts the central system's calls to the address the charge point gave as its own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from wattbridge.links.callbacks import AddressPolicy, CallbackClient, Refusal, choose
from wattbridge.links.listener import HttpRequest, HttpResponse
from wattbridge.ocpp import soap, wsdl
from wattbridge.ocpp.actions import Dialect
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import Call, CallError, Passage, Reply, Side
from wattbridge.ocpp.payloads import local_name
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.registry import Registry
from wattbridge.relay.session import Answer, NoLink, still_deliverable

GREETING = (
    b"This is the OCPP-S address of a Wattbridge gateway.\n"
    b"Charge points POST their SOAP messages here; the service description is at ?wsdl.\n"
)


def new_message_id() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


@dataclass(frozen=True, slots=True)
class ChargePoint:
    """What the configuration says of one charge point that the wire cannot tell.

    ``callback_url`` pins its address, ``to`` is what it wants to read in wsa:To (some answer only to exactly
    their own URL), ``dialect`` reads and writes its messages.
    """

    dialect: Dialect
    callback_url: str | None = None
    to: str | None = None


@dataclass(frozen=True, slots=True)
class HeardFrom:
    """Where a message of a charge point came from, and what it said about where to call back.

    ``from_address`` and ``reply_to`` are wsa:From and wsa:ReplyTo, ``""`` when absent.
    """

    source: str
    from_address: str
    reply_to: str


class CentralSystemService:
    """Answers the HTTP requests of SOAP charge points.

    ``paths`` are the paths it is served on, in any letter case, with or without a trailing slash;
    ``charge_point`` gives what is configured for an identity, None when it is not known.
    ``public_url`` is how charge points reach this gateway, for the service description and wsa:From.
    """

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        charge_point: Callable[[str], ChargePoint | None],
        dialect: Dialect,
        policy: AddressPolicy,
        client: CallbackClient,
        *,
        paths: tuple[str, ...],
        public_url: str = "",
        wall_clock: Callable[[], float] = time.time,
        message_id: Callable[[], str] = new_message_id,
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._charge_point = charge_point
        self._dialect = dialect
        self._policy = policy
        self._client = client
        self._paths = {_folded(path): path for path in paths}
        self._public_url = public_url.rstrip("/")
        self._wall_clock = wall_clock
        self._message_id = message_id

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one HTTP request: a SOAP call, or a look at the service description."""
        path = self._paths.get(_folded(request.path))
        if path is None:
            served = ", ".join(self._paths.values())
            return HttpResponse(404, f"no OCPP service at this path; there is one at {served}\n".encode())
        if request.method == "POST":
            return await self._answer_call(request)
        if request.method in ("GET", "HEAD"):
            return self._describe(request, path)
        return HttpResponse(405, b"OCPP-S messages come by POST\n", headers={"Allow": "POST, GET, HEAD"})

    def _describe(self, request: HttpRequest, path: str) -> HttpResponse:
        asked = {
            key.lower(): values[0] for key, values in parse_qs(request.query, keep_blank_values=True).items()
        }
        base = self._public_url or f"http://{request.headers.get('host') or 'localhost'}"
        address = f"{base}{path}"
        if "wsdl" in asked:
            return HttpResponse(body=wsdl.published("CentralSystemService", address), content_type="text/xml")
        if "xsd" in asked:
            schema = wsdl.published_schema(asked["xsd"], address)
            if schema is not None:
                return HttpResponse(body=schema, content_type="text/xml")
            return HttpResponse(404, b"no such schema\n")
        return HttpResponse(body=GREETING)

    async def _answer_call(self, request: HttpRequest) -> HttpResponse:
        try:
            envelope = soap.read_envelope(request.body)
        except Violation as broken:
            # Too broken to say what it is; answered in the version whose namespace it shows.
            is_11 = soap.SOAP_11.encode() in request.body[:2048]
            envelope = soap.Envelope(soap=soap.SOAP_11 if is_11 else soap.SOAP_12)
            return self._refuse(envelope, broken, request)
        try:
            charge_point = self._authenticated(envelope)
            read = soap.read_call(envelope, charge_point.dialect, Side.CENTRAL_SYSTEM)
        except Violation as broken:
            return self._refuse(envelope, broken, request)
        identity, call = envelope.identity, read.call
        try:
            session = self._registry.session(identity)
        except Unreachable as gone:
            error = CallError("GenericError", gone.description, reason=gone.reason)
            return self._refuse(envelope, error, request, call)
        link = session.links[Side.CHARGE_POINT]
        if isinstance(link, NoLink):
            link = ChargePointLink(
                identity, charge_point, self._policy, self._client, self._journal,
                from_address=self._public_url and f"{self._public_url}{next(iter(self._paths.values()))}",
                message_id=self._message_id,
            )  # fmt: skip
            session.attach(Side.CHARGE_POINT, link)
        if isinstance(link, ChargePointLink):
            link.heard_from(HeardFrom(request.source, envelope.from_address, envelope.reply_to))

        written = soap.Written(b"", "")

        def write(reply: Reply) -> Passage:
            nonlocal written
            if still_deliverable(call.action, reply):
                return Passage("soap", b"")
            written = soap.write_reply(
                envelope, read.operation, reply, charge_point.dialect, self._message_id()
            )
            return Passage("soap", written.body, written.notes)

        await session.relay(call, Passage("soap", request.body, read.notes), Side.CHARGE_POINT, write)
        if not written.body:
            return HttpResponse(silent=True)
        return HttpResponse(written.status, written.body, written.content_type)

    def _authenticated(self, envelope: soap.Envelope) -> ChargePoint:
        if not envelope.identity:
            raise Violation(
                "ProtocolError",
                "Header.chargeBoxIdentity",
                "is missing or empty, expected who the charge point is",
            )
        charge_point = self._charge_point(envelope.identity)
        if charge_point is None:
            raise Violation(
                "SecurityError",
                "Header.chargeBoxIdentity",
                f"charge point {envelope.identity!r} is not known to this gateway",
                "auth",
            )
        return charge_point

    def _refuse(
        self,
        envelope: soap.Envelope,
        why: Violation | CallError,
        request: HttpRequest,
        call: Call | None = None,
    ) -> HttpResponse:
        """Answer with a fault, or not at all when the message can still be delivered later."""
        error = why if isinstance(why, CallError) else CallError(
            why.code, str(why), {"path": why.path} if why.path else {}, reason=why.reason
        )  # fmt: skip
        action = call.action if call else self._action_of(envelope)
        keep = call is not None and still_deliverable(action, error)
        written = soap.write_fault(envelope, error, self._message_id())
        self._journal.record(
            Record(
                identity=envelope.identity,
                arrived_from=Side.CHARGE_POINT,
                action=action,
                payload=call.payload if call else None,
                reply=error,
                began=self._wall_clock(),
                seconds=0.0,
                peer_seconds=0.0,
                arrived=Passage("soap", request.body, tuple(envelope.notes)),
                asked=None,
                answered=None,
                replied=Passage("soap", b"" if keep else written.body),
            )
        )
        if keep:
            return HttpResponse(silent=True)
        return HttpResponse(written.status, written.body, written.content_type)

    def _action_of(self, envelope: soap.Envelope) -> str:
        if envelope.body is None:
            return ""
        named = local_name(envelope.body).lower()
        operation = self._dialect.by_request_element.get((Side.CENTRAL_SYSTEM, named))
        return operation.action if operation else ""


class ChargePointLink:
    """The way to one SOAP charge point: its ChargePointService at the address it gave.

    A message from another host does not move that address while the old one still answers: whoever claims
    an identity must not be sent its calls. When the old one is gone, the new one takes its place.
    """

    transport = "soap"

    def __init__(
        self,
        identity: str,
        charge_point: ChargePoint,
        policy: AddressPolicy,
        client: CallbackClient,
        journal: Journal,
        *,
        from_address: str = "",
        message_id: Callable[[], str] = new_message_id,
    ) -> None:
        self._identity = identity
        self._charge_point = charge_point
        self._policy = policy
        self._client = client
        self._journal = journal
        self._from_address = from_address
        self._message_id = message_id
        self._heard: HeardFrom | None = None
        self._contender: HeardFrom | None = None
        # One CALL at a time in this direction; calls of the charge point may cross.
        self._one_at_a_time = asyncio.Lock()

    def heard_from(self, heard: HeardFrom) -> None:
        """The charge point has spoken: remember where from, and what it calls its address."""
        if heard == self._heard:
            return
        if self._heard is None or heard.source == self._heard.source:
            self._heard, self._contender = heard, None
        elif heard != self._contender:
            self._contender = heard
            self._journal.event(
                Event(
                    "callback address",
                    self._identity,
                    f"{heard.source} speaks for it too; calls go to {self._heard.source} while that answers",
                )
            )

    async def call(self, call: Call) -> Answer:
        """Post one call and read the answer.

        Raises Unreachable, or Violation when SOAP cannot say the call.
        """
        async with self._one_at_a_time:
            if self._heard is None:
                raise Unreachable("not_connected", f"charge point {self._identity} has not been heard of")
            try:
                return await self._call_at(self._heard, call)
            except Unreachable as gone:
                if self._contender is None:
                    raise
                self._heard, self._contender = self._contender, None
                self._journal.event(
                    Event("callback address", self._identity, f"moved to {self._heard.source}")
                )
                # Only what surely never reached the old address is sent to the new one at once.
                if gone.reason not in ("refused", "not_connected"):
                    raise
                return await self._call_at(self._heard, call)

    async def _call_at(self, heard: HeardFrom, call: Call) -> Answer:
        address = await choose(
            self._policy,
            identity=self._identity,
            source_ip=heard.source,
            pinned=self._charge_point.callback_url,
            from_address=heard.from_address or None,
            reply_to=heard.reply_to or None,
        )
        if isinstance(address, Refusal):
            raise Unreachable(address.reason, address.text)
        dialect = self._charge_point.dialect
        operation = dialect.operation(Side.CHARGE_POINT, call.action)
        to = self._charge_point.to or address.url
        written = soap.write_call(
            call,
            soap.Addressing(self._identity, to, self._from_address),
            dialect,
            Side.CHARGE_POINT,
            self._message_id,
        )
        asked = Passage("soap", written.body, written.notes)
        answer = await self._client.post(address, written.body, written.content_type)
        reply, notes = soap.read_reply(answer.status, answer.content_type, answer.body, operation)
        return Answer(reply, asked, Passage("soap", answer.body, notes))

    async def close(self, reason: str) -> None:
        async with self._one_at_a_time:
            self._heard = self._contender = None


def _folded(path: str) -> str:
    """A path as it is compared: charge points lowercase what they are given (DBT), and lose the slash."""
    return path.rstrip("/").lower()
