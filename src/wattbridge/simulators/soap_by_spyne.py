"""CentralSystemService of OCPP 1.6 as spyne serves it: the messages as spyne's models, written here from the
specification and not from our service description, so that two descriptions judge each message.

Knows how spyne is asked and answers; what a message means is left to central_system_soap.py. WS-Addressing,
which spyne does not know, is written here by hand.
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
from wattbridge.simulators.soap_rules import ANONYMOUS, FAULT_ACTION, SOAP_12, WSA, Heard

Payload = dict[str, Any]

NAMESPACE = "urn://Ocpp/Cs/2015/10/"
NAME = "CentralSystemService"

# Enumerations (OCPP 1.6, 7).
AUTHORIZATION = ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx")
REGISTRATION = ("Accepted", "Pending", "Rejected")
DATA_TRANSFER = ("Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId")
DIAGNOSTICS = ("Idle", "Uploaded", "UploadFailed", "Uploading")
FIRMWARE = (
    *("Downloaded", "DownloadFailed", "Downloading", "Idle"),
    *("InstallationFailed", "Installing", "Installed"),
)
STATUS = (
    *("Available", "Preparing", "Charging", "SuspendedEV", "SuspendedEVSE"),
    *("Finishing", "Reserved", "Faulted", "Unavailable"),
)
ERROR_CODE = (
    *("ConnectorLockFailure", "EVCommunicationError", "GroundFailure", "HighTemperature", "InternalError"),
    *("LocalListConflict", "NoError", "OtherError", "OverCurrentFailure", "OverVoltage", "PowerMeterFailure"),
    *("PowerSwitchFailure", "ReaderFailure", "ResetFailure", "UnderVoltage", "WeakSignal"),
)
REASON = (
    *("EmergencyStop", "EVDisconnected", "HardReset", "Local", "Other", "PowerLoss", "Reboot", "Remote"),
    *("SoftReset", "UnlockCommand", "DeAuthorized"),
)
CONTEXT = (
    *("Interruption.Begin", "Interruption.End", "Other", "Sample.Clock"),
    *("Sample.Periodic", "Transaction.Begin", "Transaction.End", "Trigger"),
)
FORMAT = ("Raw", "SignedData")
MEASURAND = (
    *("Current.Export", "Current.Import", "Current.Offered"),
    *("Energy.Active.Export.Register", "Energy.Active.Import.Register"),
    *("Energy.Reactive.Export.Register", "Energy.Reactive.Import.Register"),
    *("Energy.Active.Export.Interval", "Energy.Active.Import.Interval"),
    *("Energy.Reactive.Export.Interval", "Energy.Reactive.Import.Interval"),
    *("Frequency", "Power.Active.Export", "Power.Active.Import", "Power.Factor", "Power.Offered"),
    *("Power.Reactive.Export", "Power.Reactive.Import", "RPM", "SoC", "Temperature", "Voltage"),
)
PHASE = ("L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1")
LOCATION = ("Body", "Cable", "EV", "Inlet", "Outlet")
UNIT = (
    *("Celsius", "Fahrenheit", "Wh", "kWh", "varh", "kvarh", "W", "kW"),
    *("VA", "kVA", "var", "kvar", "A", "V", "K", "Percent"),
)


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


def _messages(spyne: Any) -> dict[str, tuple[Any, Any]]:
    """Action → request and response. Fields stand in the order in which they travel (OCPP-S 1.6)."""
    number, moment = spyne.Integer32, spyne.DateTime(timezone=None)

    def text(longest: int | None = None) -> Any:
        return spyne.Unicode if longest is None else spyne.Unicode(max_len=longest)

    def one_of(words: tuple[str, ...]) -> Any:
        return spyne.Unicode(values=words)

    def must(kind: Any) -> Any:
        return kind.customize(min_occurs=1, nillable=False)

    def may(kind: Any) -> Any:
        return kind.customize(min_occurs=0)

    def several(kind: Any, least: int) -> Any:
        return kind.customize(min_occurs=least, max_occurs="unbounded")

    def model(name: str, **fields: Any) -> Any:
        members = {"__namespace__": NAMESPACE, "__type_name__": name, "_type_info": list(fields.items())}
        return type(spyne.ComplexModel)(name, (spyne.ComplexModel,), members)

    id_tag_info = model(
        "IdTagInfo",
        status=must(one_of(AUTHORIZATION)),
        expiryDate=may(moment),
        parentIdTag=may(text(20)),
    )
    sampled_value = model(
        "SampledValue",
        value=must(text()),
        context=may(one_of(CONTEXT)),
        format=may(one_of(FORMAT)),
        measurand=may(one_of(MEASURAND)),
        phase=may(one_of(PHASE)),
        location=may(one_of(LOCATION)),
        unit=may(one_of(UNIT)),
    )
    meter_value = model("MeterValue", timestamp=must(moment), sampledValue=several(sampled_value, 1))
    return {
        "Authorize": (
            model("authorizeRequest", idTag=must(text(20))),
            model("authorizeResponse", idTagInfo=must(id_tag_info)),
        ),
        "BootNotification": (
            model(
                "bootNotificationRequest",
                chargePointVendor=must(text(20)),
                chargePointModel=must(text(20)),
                chargePointSerialNumber=may(text(25)),
                chargeBoxSerialNumber=may(text(25)),
                firmwareVersion=may(text(50)),
                iccid=may(text(20)),
                imsi=may(text(20)),
                meterType=may(text(25)),
                meterSerialNumber=may(text(25)),
            ),
            model(
                "bootNotificationResponse",
                status=must(one_of(REGISTRATION)),
                currentTime=must(moment),
                interval=must(number),
            ),
        ),
        "DataTransfer": (
            model("dataTransferRequest", vendorId=must(text(255)), messageId=may(text(50)), data=may(text())),
            model("dataTransferResponse", status=must(one_of(DATA_TRANSFER)), data=may(text())),
        ),
        "DiagnosticsStatusNotification": (
            model("diagnosticsStatusNotificationRequest", status=must(one_of(DIAGNOSTICS))),
            model("diagnosticsStatusNotificationResponse"),
        ),
        "FirmwareStatusNotification": (
            model("firmwareStatusNotificationRequest", status=must(one_of(FIRMWARE))),
            model("firmwareStatusNotificationResponse"),
        ),
        "Heartbeat": (
            model("heartbeatRequest"),
            model("heartbeatResponse", currentTime=must(moment)),
        ),
        "MeterValues": (
            model(
                "meterValuesRequest",
                connectorId=must(number),
                transactionId=may(number),
                meterValue=several(meter_value, 0),
            ),
            model("meterValuesResponse"),
        ),
        "StartTransaction": (
            model(
                "startTransactionRequest",
                connectorId=must(number),
                idTag=must(text(20)),
                timestamp=must(moment),
                meterStart=must(number),
                reservationId=may(number),
            ),
            model("startTransactionResponse", transactionId=must(number), idTagInfo=must(id_tag_info)),
        ),
        "StatusNotification": (
            model(
                "statusNotificationRequest",
                connectorId=must(number),
                status=must(one_of(STATUS)),
                errorCode=must(one_of(ERROR_CODE)),
                info=may(text(50)),
                timestamp=may(moment),
                vendorId=may(text(255)),
                vendorErrorCode=may(text(50)),
            ),
            model("statusNotificationResponse"),
        ),
        "StopTransaction": (
            model(
                "stopTransactionRequest",
                transactionId=must(number),
                idTag=may(text(20)),
                timestamp=must(moment),
                meterStop=must(number),
                reason=may(one_of(REASON)),
                transactionData=several(meter_value, 0),
            ),
            model("stopTransactionResponse", idTagInfo=may(id_tag_info)),
        ),
    }


def application(answer: Answer, note: Callable[[str], None], *, qualified_actions: bool) -> Any:
    """CentralSystemService as a WSGI application, for requests whose environment holds an ``Asked``.

    ``note`` hears what spyne finds wrong with a request. ``qualified_actions``: whether responses say
    ``urn://…/CentralSystemService/HeartbeatResponse`` in wsa:Action, as CXF does where nothing else is
    described. Raises NotInstalled when there is no spyne.
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
            _complete(ctx.out_document, ctx.transport.req_env[ENVIRON].heard, qualified_actions)

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

    methods = {action: method(action, *pair) for action, pair in _messages(spyne).items()}
    service = type(spyne.ServiceBase)(NAME, (spyne.ServiceBase,), methods)
    whole = spyne.Application(
        [service], NAMESPACE, name=NAME, in_protocol=Protocol(validator="lxml"), out_protocol=Protocol()
    )
    return spyne.server.wsgi.WsgiApplication(whole)


def _complete(envelope: Any, heard: Heard, qualified_actions: bool) -> None:
    """What spyne leaves out of a response: the addressing headers, and the namespace of a subcode."""
    is_fault = envelope.find(f"{{{SOAP_12}}}Body/{{{SOAP_12}}}Fault") is not None
    action = f"/{heard.action}Response"
    if is_fault:
        action = FAULT_ACTION
    elif qualified_actions:
        action = f"{NAMESPACE}{NAME}{action}"
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
        qualified = etree.Element(f"{{{SOAP_12}}}Value", nsmap={"cs": NAMESPACE})
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
