"""What the two SOAP services of the gateway have in common: the answers to requests that are never relayed.

Those are looks at the service description, and calls that are refused. Who may call, and whose session a call
belongs to, is each service's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar
from urllib.parse import parse_qsl

from wattbridge.links.listener import HttpRequest, HttpResponse
from wattbridge.links.message_ids import new_uuid
from wattbridge.ocpp import soap, wsdl
from wattbridge.ocpp.actions import Dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, Passage, Side
from wattbridge.ocpp.older import BOTH, NEWEST
from wattbridge.ocpp.payloads import local_name
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.session import Session

XML = "text/xml; charset=utf-8"
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


def new_message_id() -> str:
    return f"urn:uuid:{new_uuid()}"


class SoapService:
    """A service that ``asked`` by SOAP calls on.

    ``name`` is its name in the service description. ``public_url`` is how this gateway is reached. *clock* is
    the one of the sessions.
    """

    name: ClassVar[str]
    asked: ClassVar[Side]

    def __init__(
        self,
        journal: Journal,
        dialect: Dialect,
        *,
        public_url: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        message_id: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._dialect = dialect
        self._public_url = public_url.rstrip("/")
        self._clock = clock
        self._wall_clock = wall_clock
        self._message_id = message_id

    def _heed_trace(self, request: HttpRequest) -> None:
        """What is relayed for *request* is part of the trace that it tells of."""
        if self._journal.tracing is not None:
            self._journal.tracing.heed(request.headers)

    def _describe(self, request: HttpRequest, path: str, greeting: bytes) -> HttpResponse:
        """Answer a GET of *path*: with the service description, one of its schemas, or *greeting*."""
        asked = {key.lower(): value for key, value in parse_qsl(request.query, keep_blank_values=True)}
        host = request.headers.get("host", "")
        address = f"{self._public_url or 'http://' + (host if _HOST.fullmatch(host) else 'localhost')}{path}"
        version = asked.get("version") or NEWEST
        if "wsdl" in asked:
            if version not in (*BOTH, NEWEST):
                return HttpResponse(404, b"no such version; there are 1.2, 1.5 and 1.6\n")
            return HttpResponse(body=_published(self.name, address, version), content_type=XML)
        if "xsd" in asked:
            schema = wsdl.published_schema(asked["xsd"], version)
            if schema is None:
                return HttpResponse(404, b"no such schema\n")
            return HttpResponse(body=schema, content_type=XML)
        return HttpResponse(body=greeting)

    def _not_here(self, request: HttpRequest, served: str) -> HttpResponse:
        """Answer what came to a path where there is nothing; *served* says where there is something."""
        self._tell_refusal(request, f"no OCPP service at {request.path!r}; there is one at {served}")
        return HttpResponse(404, f"no OCPP service at this path; there is one at {served}\n".encode())

    def _tell_refusal(self, request: HttpRequest, text: str) -> None:
        """A party that was told the wrong URL: all it says ends here, so somebody must hear."""
        if request.method == "POST":
            labels = {"listener": request.listener, "source": request.source}
            self._journal.event(Event("request refused", text=text, reason="unsupported", labels=labels))

    def _refuse(
        self,
        envelope: soap.Envelope,
        error: CallError,
        request: HttpRequest,
        began: float,
        call: Call | None = None,
        *,
        session: Session | None = None,
        silent: bool = False,
    ) -> HttpResponse:
        """Answer a call that is not relayed with a fault, or *silent* with nothing, and record it."""
        written = None if silent else soap.write_fault(envelope, error, self._message_id())
        seconds = self._clock() - began
        tracing = self._journal.tracing
        trace = tracing.begin() if tracing is not None else None
        if tracing is not None:
            tracing.end()
        self._journal.record(
            Record(
                identity=session.identity if session else envelope.identity,
                known_as=session.known_as if session else "",
                route=session.route if session else "",
                upstream=session.upstream if session else "",
                arrived_from=self.asked.other,
                action=call.action if call else self._action_of(envelope),
                payload=call.payload if call else None,
                reply=error,
                began=self._wall_clock() - seconds,
                seconds=seconds,
                peer_seconds=0.0,
                arrived=Passage("soap", request.body, tuple(envelope.notes)),
                asked=None,
                answered=None,
                replied=Passage("soap", written.body if written else b""),
                source=request.source,
                listener=request.listener,
                trace=trace,
            )
        )
        return response(written)

    def _failed(self, bug: Exception, envelope: soap.Envelope, call: Call | None, identity: str) -> CallError:
        """Tell of a mistake of ours; gives what the caller is told of it."""
        action = call.action if call else self._action_of(envelope)
        text = f"{action} {envelope.message_id}: {bug!r}"
        self._journal.event(Event("internal error", identity, text, "internal"))
        return CallError("InternalError", "an error inside the gateway", reason="internal")

    def _action_of(self, envelope: soap.Envelope) -> str:
        if envelope.body is None:
            return ""
        operation = self._dialect.by_request_element.get((self.asked, local_name(envelope.body).lower()))
        return operation.action if operation else ""


@lru_cache(maxsize=64)
def _published(service: str, address: str, version: str) -> bytes:
    """The description of a service, not made anew for everybody who looks."""
    return wsdl.published(service, address, version)


def call_error(broken: Violation) -> CallError:
    return CallError(
        broken.code, str(broken), {"path": broken.path} if broken.path else {}, reason=broken.reason
    )


def response(written: soap.Written | None, unheard: Callable[[], None] | None = None) -> HttpResponse:
    """What goes over HTTP; nothing does where nothing was written."""
    if written is None:
        return HttpResponse(silent=True)
    return HttpResponse(written.status, written.body, written.content_type, unheard=unheard)
