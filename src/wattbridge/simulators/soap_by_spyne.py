"""CentralSystemService as spyne serves it.

Knows how spyne is asked and answers; the messages are in spyne_models.py, and what they mean is left to
central_system_soap.py. WS-Addressing, which spyne does not know, is written here by hand.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lxml import etree

from wattbridge.simulators.compat_spyne import load_spyne
from wattbridge.simulators.outcomes import Refused
from wattbridge.simulators.soap_rules import (
    ANONYMOUS,
    FAULT_ACTION,
    SOAP_12,
    WSA,
    Description,
    Heard,
    fault_namespace,
    qualified_action,
    response_action,
)
from wattbridge.simulators.spyne_models import models

Payload = dict[str, Any]

NAME = "CentralSystemService"


@dataclass(slots=True)
class Asked:
    """One request on its way through spyne: how it was heard, or refused, and whether to hang up at it."""

    heard: Heard
    refused: Refused | None = None
    hang_up: bool = False


ENVIRON = "wattbridge.asked"  # where a WSGI environment holds its Asked
# Gives the payload of the answer; blocking, in the thread of the connection. Raises Refused for a fault.
Answer = Callable[[Asked, Payload], Payload]
# Whom spyne blames in a fault → whom SOAP 1.2 does.
BLAMED = {"Sender": "Client", "Receiver": "Server", "MustUnderstand": "Client"}


def application(
    answer: Answer, note: Callable[[str], None], description: Description, *, qualified_actions: bool
) -> Any:
    """CentralSystemService as a WSGI application, for requests whose environment holds an ``Asked``.

    *description* says which OCPP it is; its schema is not used. ``note`` hears what spyne finds wrong with a
    request. ``qualified_actions``: whether responses say ``urn://…/CentralSystemService/HeartbeatResponse``
    in wsa:Action, as CXF does where nothing else is described. Raises NotInstalled when there is no spyne.
    """
    spyne = load_spyne()

    def fault_of(refused: Refused) -> Any:
        return spyne.Fault(f"{BLAMED[refused.code]}.{refused.subcode}".rstrip("."), refused.reason)

    soap_12: Any = spyne.protocol.soap.Soap12

    class Protocol(soap_12):  # type: ignore[misc]  # spyne has no types
        def create_in_document(self, ctx: Any, charset: str | None = None) -> None:
            asked = ctx.transport.req_env[ENVIRON]
            if asked.refused is not None:
                raise fault_of(asked.refused)
            super().create_in_document(ctx, charset)

        def validate_body(self, ctx: Any, message: Any) -> None:
            try:
                super().validate_body(ctx, message)
            except spyne.Fault as breach:  # with a text in bytes, which spyne itself cannot write
                problem = breach.faultstring.decode()
                note(f"spyne refuses what the schema allows: {problem}")
                raise spyne.Fault("Client.ProtocolError", problem) from None

        def serialize(self, ctx: Any, message: Any) -> None:
            super().serialize(ctx, message)
            heard = ctx.transport.req_env[ENVIRON].heard
            action = response_action(description, heard.action)
            if qualified_actions:
                action = qualified_action(description, heard.action)
            _complete(ctx.out_document, heard, action, fault_namespace(description))

        def fault_to_http_response_code(self, fault: Any) -> str:
            # SOAP 1.2 part 2, table 20.
            return "400 Bad Request" if fault.faultcode.startswith("Client") else "500 Internal Server Error"

    def method(action: str, request: Any, response: Any) -> Any:
        def ask(ctx: Any, payload: Payload) -> Any:
            try:
                return _as_object(spyne, response, answer(ctx.transport.req_env[ENVIRON], payload))
            except Refused as refused:
                raise fault_of(refused) from None

        def asked(ctx: Any, received: Any) -> Any:
            return ask(ctx, _as_payload(received))

        def asked_for_nothing(ctx: Any) -> Any:
            return ask(ctx, {})

        names = {"_in_message_name": request.get_type_name(), "_out_message_name": response.get_type_name()}
        if not request._type_info:  # spyne has no bare message without members
            asked_for_nothing.__name__ = action
            return spyne.rpc(_returns=response, _body_style="out_bare", **names)(asked_for_nothing)
        asked.__name__ = action
        return spyne.rpc(request, _returns=response, _body_style="bare", **names)(asked)

    methods = {
        action: method(action, *pair)
        for action, pair in models(spyne, description.version, description.namespace).items()
    }
    service = type(spyne.ServiceBase)(NAME, (spyne.ServiceBase,), methods)
    whole = spyne.Application(
        [service],
        description.namespace,
        name=NAME,
        in_protocol=Protocol(validator="lxml"),
        out_protocol=Protocol(),
    )
    return spyne.server.wsgi.WsgiApplication(whole)


def _complete(envelope: Any, heard: Heard, action: str, fault_namespace: str) -> None:
    """What spyne leaves out of a response: the addressing headers, and the namespace of a subcode."""
    if envelope.find(f"{{{SOAP_12}}}Body/{{{SOAP_12}}}Fault") is not None:
        action = FAULT_ACTION
    header = etree.Element(f"{{{SOAP_12}}}Header", nsmap={"wsa": WSA})
    envelope.insert(0, header)
    for name, value in (
        ("Action", action),
        ("MessageID", f"urn:uuid:{uuid.uuid4()}"),
        ("To", ANONYMOUS),
        ("RelatesTo", heard.message_id),
    ):
        if value:
            etree.SubElement(header, f"{{{WSA}}}{name}").text = value
    for subcode in envelope.iter(f"{{{SOAP_12}}}Subcode"):
        [old] = subcode
        qualified = etree.Element(f"{{{SOAP_12}}}Value", nsmap={"cs": fault_namespace})
        qualified.text = f"cs:{old.text}"
        subcode.replace(old, qualified)


def _as_payload(value: Any) -> Any:
    """What spyne read, as a payload: dicts and lists, times as text, absent fields absent."""
    if isinstance(value, list):
        return [_as_payload(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if hasattr(value, "_type_info"):
        members = ((name, getattr(value, name)) for name in value._type_info)
        return {name: _as_payload(member) for name, member in members if member is not None}
    return value


def _as_object(spyne: Any, model: Any, payload: Payload) -> Any:
    """A payload as an object of one of spyne's models."""
    made = model()
    for name, member in model._type_info.items():
        value = payload.get(name)
        if isinstance(value, dict):
            value = _as_object(spyne, member, value)
        elif isinstance(value, str) and issubclass(member, spyne.DateTime):
            value = datetime.fromisoformat(value)
        setattr(made, name, value)
    return made
