"""The glue one would write in an afternoon: spyne and zeep for SOAP, json and jsonschema for frames.

Everything that can be prepared is: validators are made once, zeep reads the service descriptions once. What
is left is what these libraries take for a message.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import zeep
import zeep.helpers
import zeep.loader
from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from lxml import etree

from bench.workload import IDENTITY, NAMESPACES, Json
from wattbridge.simulators.compat_spyne import NotInstalled, load_spyne

try:
    spyne = load_spyne()
except NotInstalled:
    spyne = None

HAS_SPYNE = spyne is not None
WSDL = Path(__file__).parent.parent / "wsdl" / "1.6"

# Gives the payload of the reply to identity, action, payload; blocks while it waits.
Relay = Callable[[str, str, Json], Json]


# --- frames


@cache
def _validator(name: str) -> Draft4Validator:
    # With doubles 8.1 is no multiple of 0.1.
    schema = files("ocpp").joinpath("v16", "schemas", f"{name}.json").read_text("utf-8-sig")
    return Draft4Validator(json.loads(schema, parse_float=Decimal))


def write_call(message_id: str, action: str, payload: Json) -> str:
    _validator(action).validate(payload)
    return json.dumps([2, message_id, action, payload])


def write_result(message_id: str, action: str, payload: Json) -> str:
    _validator(f"{action}Response").validate(payload)
    return json.dumps([3, message_id, payload])


def read_call(text: str) -> tuple[str, str, Json]:
    """Message id, action and payload of a CALL."""
    _, message_id, action, payload = json.loads(text, parse_float=Decimal)
    _validator(action).validate(payload)
    return message_id, action, payload


def read_result(text: str, action: str) -> Json:
    """The payload of the CALLRESULT to *action*."""
    payload: Json = json.loads(text, parse_float=Decimal)[2]
    _validator(f"{action}Response").validate(payload)
    return payload


# --- from charge points: spyne


def application(relay: Relay) -> Any:
    """CentralSystemService as a spyne application; its methods answer what *relay* gives."""
    from spyne import Application, ComplexModel, DateTime, Integer, ServiceBase, Unicode, rpc
    from spyne.protocol.soap import Soap12

    cs = NAMESPACES["cs"]

    def model(name: str, **fields: Any) -> Any:
        members = {"__namespace__": cs, "__type_name__": name, "_type_info": list(fields.items())}
        return type(ComplexModel)(name, (ComplexModel,), members)

    text, number, time = Unicode, Integer, DateTime
    id_tag_info = model(
        "IdTagInfo", status=text(min_occurs=1), expiryDate=time(timezone=None), parentIdTag=text
    )
    sampled_value = model(
        "SampledValue",
        value=text(min_occurs=1),
        context=text,
        format=text,
        measurand=text,
        phase=text,
        location=text,
        unit=text,
    )
    meter_value = model(
        "MeterValue",
        timestamp=time(min_occurs=1),
        sampledValue=sampled_value.customize(max_occurs="unbounded"),
    )
    messages = {
        "Heartbeat": (model("heartbeatRequest"), model("heartbeatResponse", currentTime=time)),
        "StatusNotification": (
            model(
                "statusNotificationRequest",
                connectorId=number(min_occurs=1),
                status=text(min_occurs=1),
                errorCode=text(min_occurs=1),
                info=text,
                timestamp=time,
                vendorId=text,
                vendorErrorCode=text,
            ),
            model("statusNotificationResponse"),
        ),
        "StartTransaction": (
            model(
                "startTransactionRequest",
                connectorId=number(min_occurs=1),
                idTag=text(min_occurs=1),
                timestamp=time(min_occurs=1),
                meterStart=number(min_occurs=1),
                reservationId=number,
            ),
            model("startTransactionResponse", transactionId=number(min_occurs=1), idTagInfo=id_tag_info),
        ),
        "MeterValues": (
            model(
                "meterValuesRequest",
                connectorId=number(min_occurs=1),
                transactionId=number,
                meterValue=meter_value.customize(max_occurs="unbounded"),
            ),
            model("meterValuesResponse"),
        ),
    }

    def method(action: str, request: Any, response: Any) -> Any:
        def asked(ctx: Any, payload: Json) -> Any:
            return as_object(response, relay(identity_in(ctx), action, payload))

        def answer(ctx: Any, received: Any) -> Any:
            return asked(ctx, as_payload(received))

        def answer_to_nothing(ctx: Any) -> Any:
            return asked(ctx, {})

        names = {"_in_message_name": request.get_type_name(), "_out_message_name": response.get_type_name()}
        if not request._type_info:  # spyne has no bare message without members
            answer_to_nothing.__name__ = action
            return rpc(_returns=response, _body_style="out_bare", **names)(answer_to_nothing)
        answer.__name__ = action
        return rpc(request, _returns=response, _body_style="bare", **names)(answer)

    methods = {action: method(action, *pair) for action, pair in messages.items()}
    service = type(ServiceBase)("CentralSystemService", (ServiceBase,), methods)
    return Application([service], cs, in_protocol=Soap12(validator="lxml"), out_protocol=Soap12())


def identity_in(context: Any) -> str:
    """Who sent the request: its chargeBoxIdentity."""
    wanted = f"{{{NAMESPACES['cs']}}}chargeBoxIdentity"
    return str(next(header.text for header in context.in_header_doc if header.tag == wanted))


def as_payload(value: Any) -> Any:
    """A spyne object as JSON has it."""
    if isinstance(value, list):
        return [as_payload(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if hasattr(value, "_type_info"):
        members = ((name, getattr(value, name)) for name in value._type_info)
        return {name: as_payload(member) for name, member in members if member is not None}
    return value


def as_object(model: Any, payload: Json) -> Any:
    """A payload as an object of a spyne class."""
    made = model()
    for name, member in model._type_info.items():
        value = payload.get(name)
        if isinstance(value, dict):
            value = as_object(member, value)
        elif isinstance(value, str) and issubclass(member, spyne.DateTime):
            value = datetime.fromisoformat(value)
        setattr(made, name, value)
    return made


class SoapServer:
    """The steps of a spyne request one by one, without a transport."""

    def __init__(self) -> None:
        logging.getLogger("spyne").setLevel(logging.ERROR)
        self._replies: list[Json] = []
        self._asked: list[Json] = []
        self._server = spyne.server.ServerBase(application(self._relay))

    def _relay(self, identity: str, action: str, payload: Json) -> Json:
        self._asked.append(payload)
        return self._replies[-1]

    def read(self, body: bytes) -> tuple[Any, str, Json]:
        """Read a request: the context in which it is answered, its action and payload."""
        context = spyne.MethodContext(self._server, spyne.MethodContext.SERVER)
        context.in_string = [body]
        [context] = self._server.generate_contexts(context)
        self._server.get_in_object(context)
        if context.in_error is not None:
            raise ValueError(f"spyne refuses the request: {context.in_error}")
        identity_in(context)
        return context, context.function.__name__, _received(context)

    def write(self, context: Any, payload: Json) -> bytes:
        """Write the response to a request that was read."""
        context.out_object = [as_object(context.descriptor.out_message, payload)]
        self._server.get_out_string(context)
        return b"".join(context.out_string)


def _received(context: Any) -> Json:
    bare = hasattr(context.in_object, "_type_info")
    return as_payload(context.in_object) if bare else {}


# --- to charge points and SOAP central systems: zeep


class SoapClient:
    """ChargePointService or CentralSystemService as zeep calls it."""

    def __init__(self, service: str = "ChargePointService") -> None:
        # The service description asks for WS-Addressing, so zeep writes it by itself.
        made = zeep.Client(str(WSDL / f"{service}.wsdl"))  # type: ignore[no-untyped-call]
        self._client: Any = made
        self._binding = self._client.service._binding

    def service(self, address: str) -> Callable[[str, Json, str], Json]:
        """The service at *address*: a function of action, payload and identity that blocks for its answer."""
        service = self._client.create_service(self._binding.name, address)

        def call(action: str, payload: Json, identity: str) -> Json:
            result = service[action](**payload, _soapheaders={"ChargeBoxIdentity": identity})
            return self._payload(action, result)

        return call

    # The steps of a call one by one, without a transport.

    def write(self, action: str, payload: Json, to: str) -> bytes:
        envelope, _ = self._binding._create(
            action,
            (),
            {**payload, "_soapheaders": {"ChargeBoxIdentity": IDENTITY}},
            client=self._client,
            options={"address": to},
        )
        return bytes(etree.tostring(envelope, xml_declaration=True, encoding="utf-8"))

    def read(self, action: str, body: bytes) -> Json:
        read: Any = zeep.loader.parse_xml  # its annotation says str
        document = read(body, None, settings=self._client.settings)
        return self._payload(action, self._binding.get(action).process_reply(document))

    def _payload(self, action: str, result: Any) -> Json:
        """What zeep makes of a response: an object, or the one value in it."""
        members = self._binding.get(action).output.body.type.elements
        plain = zeep.helpers.serialize_object(result, dict)  # type: ignore[no-untyped-call]
        payload: Json = _as_json(plain if len(members) > 1 else {name: plain for name, _ in members})
        return payload


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(member) for name, member in value.items() if member not in (None, [])}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
