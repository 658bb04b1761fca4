"""The messages of the benchmark: what the parties send, and what they get.

Every text is written out here on its own, so that the gateway's translation is compared with it before it is
timed. Messages for sending hold ``{n}`` where each one differs from the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

Json = dict[str, Any]

IDENTITY = "CP001"
MESSAGE_ID = "b70e2eae-bd09-4546-b049-8b2be7ccf578"  # of frames; 36 characters, as a UUID has
FROM_ADDRESS = "http://10.1.2.3:8080/ocpp"
TO_ADDRESS = "http://gateway.example/ocpp/cs"
TIMESTAMP = "2024-05-01T10:00:00Z"
SOAP_CONTENT_TYPE = "application/soap+xml; charset=utf-8"
NAMESPACES = {"cs": "urn://Ocpp/Cs/2015/10/", "cp": "urn://Ocpp/Cp/2015/10/"}
ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"

REQUEST = """\
<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope"
 xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:{prefix}="{namespace}">
 <soap:Header>
  <{prefix}:chargeBoxIdentity>{identity}</{prefix}:chargeBoxIdentity>
  <wsa:Action soap:mustUnderstand="true">/{action}</wsa:Action>
  <wsa:MessageID>urn:uuid:{message_id}</wsa:MessageID>
  <wsa:From><wsa:Address>{from_address}</wsa:Address></wsa:From>
  <wsa:ReplyTo><wsa:Address>{anonymous}</wsa:Address></wsa:ReplyTo>
  <wsa:To soap:mustUnderstand="true">{to_address}</wsa:To>
 </soap:Header>
 <soap:Body>{body}</soap:Body>
</soap:Envelope>
"""
RESPONSE = """\
<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope"
 xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:{prefix}="{namespace}">
 <soap:Header>
  <wsa:Action>/{action}Response</wsa:Action>
  <wsa:MessageID>urn:uuid:6a51a3a0-0000-4000-8000-000000000001</wsa:MessageID>
  <wsa:To>{anonymous}</wsa:To>
  <wsa:RelatesTo>{relates_to}</wsa:RelatesTo>
 </soap:Header>
 <soap:Body>{body}</soap:Body>
</soap:Envelope>
"""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call and its reply, as both sides write them.

    ``name`` is what the table calls it, ``prefix`` (``cs``, ``cp``) tells the service; ``request_xml`` and
    ``response_xml`` are the element in the Body, ``request`` and ``response`` the same payloads in JSON.
    """

    name: str
    action: str
    prefix: str
    request_xml: str
    request: Json
    response_xml: str
    response: Json

    def soap_request(
        self,
        *,
        identity: str = IDENTITY,
        from_address: str = FROM_ADDRESS,
        message_id: str = f"{MESSAGE_ID[:-8]}{{n}}",
    ) -> str:
        return REQUEST.format(
            prefix=self.prefix, namespace=NAMESPACES[self.prefix], identity=identity, action=self.action,
            message_id=message_id, from_address=from_address, anonymous=ANONYMOUS, to_address=TO_ADDRESS,
            body=self.request_xml,
        )  # fmt: skip

    def soap_response(self, relates_to: str = f"urn:uuid:{MESSAGE_ID}") -> str:
        return RESPONSE.format(
            prefix=self.prefix, namespace=NAMESPACES[self.prefix], action=self.action, anonymous=ANONYMOUS,
            relates_to=relates_to, body=self.response_xml,
        )  # fmt: skip

    def call(self, message_id: str = MESSAGE_ID) -> str:
        return orjson.dumps([2, message_id, self.action, self.request]).decode()

    def result(self, message_id: str = MESSAGE_ID) -> str:
        return orjson.dumps([3, message_id, self.response]).decode()


def numbered(text: str, n: int = 0) -> str:
    """*text* as the ``n``-th message says it."""
    return text.replace("{n}", f"{n:08d}")


def _xml(prefix: str, payload: Json) -> str:
    """A payload as elements, in its own order."""
    return "".join(_element(f"{prefix}:{name}", value, prefix) for name, value in payload.items())


def _element(tag: str, value: Any, prefix: str) -> str:
    if isinstance(value, list):
        return "".join(_element(tag, item, prefix) for item in value)
    if isinstance(value, dict):
        inside = _xml(prefix, value)
    elif isinstance(value, bool):
        inside = "true" if value else "false"
    else:
        inside = str(value)
    return f"<{tag}>{inside}</{tag}>" if inside else f"<{tag}/>"


def _exchange(prefix: str, action: str, request: Json, response: Json, *, name: str = "") -> Exchange:
    element = action[0].lower() + action[1:]
    return Exchange(
        name=name or action,
        action=action,
        prefix=prefix,
        request_xml=_element(f"{prefix}:{element}Request", request, prefix),
        request={key: 0 if key == "meterStart" else value for key, value in request.items()},
        response_xml=_element(f"{prefix}:{element}Response", response, prefix),
        response=response,
    )


# Two measured values of a meter, twice: energy and power, current and voltage.
_READINGS: tuple[Json, ...] = (
    {"measurand": "Energy.Active.Import.Register", "location": "Outlet", "unit": "Wh"},
    {"measurand": "Power.Active.Import", "location": "Outlet", "unit": "W"},
    {"measurand": "Current.Import", "phase": "L1", "location": "Outlet", "unit": "A"},
    {"measurand": "Voltage", "phase": "L1-N", "location": "Outlet", "unit": "V"},
)


def _meter_values(samples: int) -> Exchange:
    """MeterValues with at most four sampled values to a time."""
    values: list[Json] = []
    for first in range(0, samples, 4):
        sampled = [
            {
                "value": "{n}" if first + k == 0 else f"{1500 + first + k}.5",
                "context": "Sample.Periodic",
                **_READINGS[k],
            }
            for k in range(min(4, samples - first))
        ]
        values.append({"timestamp": f"2024-05-01T10:{first:02d}:00Z", "sampledValue": sampled})
    request = {"connectorId": 1, "transactionId": 7, "meterValue": values}
    return _exchange("cs", "MeterValues", request, {}, name=f"MeterValues({samples})")


_STATUS: Json = {
    "connectorId": 1,
    "status": "Preparing",
    "errorCode": "NoError",
    "info": "cable plugged in",
    "timestamp": TIMESTAMP,
    "vendorId": "com.example",
    "vendorErrorCode": "0",
}
_START: Json = {"connectorId": 1, "idTag": "04E91C5A123480", "timestamp": TIMESTAMP, "meterStart": "{n}"}
_STARTED: Json = {
    "transactionId": 7,
    "idTagInfo": {"status": "Accepted", "expiryDate": "2025-05-01T10:00:00Z", "parentIdTag": "FLEET"},
}

FROM_CHARGE_POINT = (
    _exchange("cs", "Heartbeat", {}, {"currentTime": TIMESTAMP}),
    _exchange("cs", "StatusNotification", _STATUS, {}),
    _exchange("cs", "StartTransaction", _START, _STARTED),
    _meter_values(1),
    _meter_values(4),
    _meter_values(20),
)

_PROFILE: Json = {
    "chargingProfileId": 31,
    "transactionId": 7,
    "stackLevel": 2,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Absolute",
    "chargingSchedule": {
        "duration": 7200,
        "startSchedule": TIMESTAMP,
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": 16.1, "numberPhases": 3},
            {"startPeriod": 1800, "limit": 8.1, "numberPhases": 3},
            {"startPeriod": 3600, "limit": 32.1, "numberPhases": 3},
        ],
    },
}
_KEYS: list[Json] = [
    {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
    {"key": "MeterValueSampleInterval", "readonly": False, "value": "60"},
    {"key": "MeterValuesSampledData", "readonly": False, "value": "Energy.Active.Import.Register,Voltage"},
    {"key": "NumberOfConnectors", "readonly": True, "value": "2"},
    {"key": "LocalPreAuthorize", "readonly": False, "value": "true"},
    {"key": "ConnectionTimeOut", "readonly": False, "value": "60"},
]

FROM_CENTRAL_SYSTEM = (
    _exchange(
        "cp",
        "RemoteStartTransaction",
        {"connectorId": 1, "idTag": "04E91C5A123480"},
        {"status": "Accepted"},
    ),
    _exchange(
        "cp",
        "SetChargingProfile",
        {"connectorId": 1, "csChargingProfiles": _PROFILE},
        {"status": "Accepted"},
    ),
    _exchange(
        "cp",
        "GetConfiguration",
        {"key": [*(key["key"] for key in _KEYS), "Unheard"]},
        {"configurationKey": _KEYS, "unknownKey": ["Unheard"]},
    ),
)

EXCHANGES = {exchange.name: exchange for exchange in (*FROM_CHARGE_POINT, *FROM_CENTRAL_SYSTEM)}
