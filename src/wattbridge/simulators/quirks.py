"""What real charge points do against the specification, to see what the other side makes of it.

Each row was seen on the wire. A gateway should live with all of them; a strict central system need not.
"""

from __future__ import annotations

import functools
import gzip
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from wattbridge.simulators.charge_point import CENTRAL_EUROPE, ChargePoint
from wattbridge.simulators.charge_point_json import QUIRKS, JsonChargePoint
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.dialects import Version
from wattbridge.simulators.outcomes import Refusal, Unanswered
from wattbridge.simulators.soap_rules import SOAP_11

ID_TAG = "04E91C5A123456"

ENVELOPE = """\
<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" \
xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:cs="urn://Ocpp/Cs/2015/10/">
 <soap:Header>
  <cs:chargeBoxIdentity>{identity}</cs:chargeBoxIdentity>
  <wsa:Action>/{action}</wsa:Action>
  <wsa:MessageID>urn:uuid:{message_id}</wsa:MessageID>
  <wsa:From><wsa:Address>{callback_url}</wsa:Address></wsa:From>
  <wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo>
  <wsa:To>{url}</wsa:To>
 </soap:Header>
 <soap:Body>{body}</soap:Body>
</soap:Envelope>"""
CONTENT_TYPE = "application/soap+xml; charset=utf-8"
HEARTBEAT = "<cs:heartbeatRequest/>"
AUTHORIZE = f"<cs:authorizeRequest><cs:idTag>{ID_TAG}</cs:idTag></cs:authorizeRequest>"
STATUS = """\
<cs:statusNotificationRequest><cs:connectorId>1</cs:connectorId><cs:status>Available</cs:status>\
<cs:errorCode>NoError</cs:errorCode><cs:timestamp>{local}</cs:timestamp></cs:statusNotificationRequest>"""

METER_VALUES = "<cs:meterValuesRequest><cs:connectorId>1</cs:connectorId>{}</cs:meterValuesRequest>"
# The last part of the namespaces, by version.
NAMESPACE_ENDS: dict[Version, str] = {"1.6": "2015/10", "1.5": "2012/06", "1.2": "2010/08"}


@dataclass(frozen=True, slots=True)
class SoapQuirk:
    """One habit: a request in order, and what becomes of its text, its bytes and its HTTP headers.

    The request is written in the namespaces of 1.6, and sent in those of the charge point's version; only
    charge points of ``versions`` have the habit.
    """

    name: str
    action: str
    body: str
    text: Callable[[str], str] = str
    octets: Callable[[bytes], bytes] = bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", CONTENT_TYPE),)
    versions: tuple[Version, ...] = ("1.6", "1.5", "1.2")


def _without(pattern: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, "", text, flags=re.DOTALL)


def _with(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


SOAP_QUIRKS = (
    SoapQuirk(
        "a local time without an offset",
        "StatusNotification",
        STATUS,
        versions=("1.6", "1.5"),  # in 1.2 it has no time
    ),
    SoapQuirk("no wsa:MessageID", "Heartbeat", HEARTBEAT, _without(r" *<wsa:MessageID>.*</wsa:MessageID>\n")),
    SoapQuirk(
        "a SOAP 1.1 envelope",
        "Heartbeat",
        HEARTBEAT,
        _with("http://www.w3.org/2003/05/soap-envelope", SOAP_11),
        headers=(("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", '"/Heartbeat"')),
    ),
    SoapQuirk("no WS-Addressing at all", "Heartbeat", HEARTBEAT, _without(r" *<wsa:.*</wsa:To>\n")),
    SoapQuirk(
        "WS-Addressing of 2004",
        "Heartbeat",
        HEARTBEAT,
        _with('"http://www.w3.org/2005/08/addressing"', '"http://schemas.xmlsoap.org/ws/2004/08/addressing"'),
    ),
    SoapQuirk(
        "wsa:From without wsa:Address",
        "Heartbeat",
        HEARTBEAT,
        lambda text: re.sub(r"<wsa:From><wsa:Address>(.*?)</wsa:Address>", r"<wsa:From>\1", text),
    ),
    SoapQuirk(
        "mustUnderstand on every header",
        "Heartbeat",
        HEARTBEAT,
        lambda text: re.sub(
            r"<(cs:chargeBoxIdentity|wsa:(?:Action|MessageID|From|ReplyTo|To))>",
            r'<\1 soap:mustUnderstand="1">',
            text,
        ),
    ),
    SoapQuirk("unqualified fields", "Authorize", AUTHORIZE, _with("cs:idTag", "idTag")),
    SoapQuirk(
        "the body in the namespace of ChargePointService",
        "Authorize",
        AUTHORIZE,
        _with("<cs:authorizeRequest>", '<cs:authorizeRequest xmlns:cs="urn://Ocpp/Cp/2015/10/">'),
    ),
    SoapQuirk(
        "fields in alphabetical order",
        "StatusNotification",
        "<cs:statusNotificationRequest><cs:connectorId>1</cs:connectorId><cs:errorCode>NoError</cs:errorCode>"
        "<cs:status>Available</cs:status></cs:statusNotificationRequest>",
    ),
    SoapQuirk(
        "empty optional fields",
        "BootNotification",
        "<cs:bootNotificationRequest><cs:chargePointVendor>ACME</cs:chargePointVendor>"
        "<cs:chargePointModel>CC-1</cs:chargePointModel><cs:iccid></cs:iccid></cs:bootNotificationRequest>",
    ),
    SoapQuirk(
        "white space around an identifier",
        "Authorize",
        AUTHORIZE.replace(ID_TAG, f"\n      {ID_TAG}\n    "),
    ),
    SoapQuirk("a byte order mark", "Heartbeat", HEARTBEAT, octets=lambda octets: b"\xef\xbb\xbf" + octets),
    SoapQuirk(
        "an empty line before the XML declaration",
        "Heartbeat",
        HEARTBEAT,
        octets=lambda octets: b"\r\n" + octets,
    ),
    SoapQuirk(
        "Content-Type text/xml around SOAP 1.2",
        "Heartbeat",
        HEARTBEAT,
        headers=(("Content-Type", "text/xml"),),
    ),
    SoapQuirk(
        "a compressed body",
        "Heartbeat",
        HEARTBEAT,
        octets=gzip.compress,
        headers=(("Content-Type", CONTENT_TYPE), ("Content-Encoding", "gzip")),
    ),
    # Below are those of 1.5: what people have made of its meter values, and of its one word for a connector
    # that is in use.
    SoapQuirk(
        "meter values of 1.6 in an envelope of 1.5",
        "MeterValues",
        METER_VALUES.format(
            "<meterValue><timestamp>2024-05-01T10:00:00Z</timestamp><sampledValue><value>1000</value>"
            "<unit>Wh</unit></sampledValue></meterValue>"
        ),
        versions=("1.5",),
    ),
    SoapQuirk(
        "attributes with a prefix",
        "MeterValues",
        METER_VALUES.format(
            "<cs:values><cs:timestamp>2024-05-01T10:00:00Z</cs:timestamp>"
            '<cs:value cs:unit="Wh" cs:measurand="Energy.Active.Import.Register">1000</cs:value></cs:values>'
        ),
        versions=("1.5",),
    ),
    SoapQuirk(
        "a status of 1.6 in an envelope of 1.5",
        "StatusNotification",
        "<cs:statusNotificationRequest><cs:connectorId>1</cs:connectorId><cs:status>Preparing</cs:status>"
        "<cs:errorCode>NoError</cs:errorCode></cs:statusNotificationRequest>",
        versions=("1.5",),
    ),
)


def quirks_of(version: Version) -> list[SoapQuirk]:
    return [quirk for quirk in SOAP_QUIRKS if version in quirk.versions]


async def show(charge_point: ChargePoint) -> list[str]:
    """Show every quirk of its transport; returns a sentence for each that is not lived with."""
    if isinstance(charge_point, SoapChargePoint):
        return [
            f"{charge_point.identity}: {quirk.name}: {problem}"
            for quirk in quirks_of(charge_point.dialect.version)
            if (problem := await _post(charge_point, quirk)) is not None
        ]
    assert isinstance(charge_point, JsonChargePoint)
    return [failure async for failure in _show_json(charge_point)]


async def _post(charge_point: SoapChargePoint, quirk: SoapQuirk) -> str | None:
    """Send a request with a quirk; None when it was answered with the result."""
    local = datetime.now(CENTRAL_EUROPE).replace(tzinfo=None).isoformat(timespec="seconds")
    text = ENVELOPE.format(
        identity=charge_point.identity.replace("&", "&amp;").replace("<", "&lt;"),
        action=quirk.action,
        message_id=uuid.uuid4(),
        callback_url=charge_point.callback_url,
        url=charge_point.central_system_url,
        body=quirk.body.replace("{local}", local),
    )
    text = quirk.text(text).replace(NAMESPACE_ENDS["1.6"], NAMESPACE_ENDS[charge_point.dialect.version])
    try:
        status, answer = await charge_point.post(
            quirk.action, quirk.octets(text.encode()), dict(quirk.headers)
        )
    except Unanswered as failure:
        return str(failure)
    wanted = f"{quirk.action[0].lower()}{quirk.action[1:]}Response"
    if status == 200 and re.search(rf"<(?:[\w.-]+:)?{wanted}\b", answer):
        return None
    reason = re.search(r"<(?:[\w.-]+:)?(?:Text|faultstring)\b[^>]*>(.*?)</", answer, re.DOTALL)
    return f"HTTP {status}, {' '.join((reason[1] if reason else answer).split())[:200]!r}"


async def _show_json(charge_point: JsonChargePoint) -> AsyncIterator[str]:
    usual = set(charge_point.quirks)

    async def with_quirk(name: str) -> None:
        charge_point.quirks = usual | {name}
        if name in ("no subprotocol", "short ids"):  # which are seen from the beginning of a connection
            await charge_point.go_offline()
            await charge_point.come_back()
        await charge_point.heartbeat()
        await charge_point.meter_values()

    async def pipelined() -> None:
        await charge_point.pipeline([("Heartbeat", {}), ("Authorize", {"idTag": ID_TAG}), ("Heartbeat", {})])

    shows: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        *((said, functools.partial(with_quirk, name)) for name, said in QUIRKS.items()),
        ("sends three CALLs before the first answer", pipelined),
    ]
    for said, show in shows:
        try:
            await show()
        except (Refusal, Unanswered) as failure:
            yield f"{charge_point.identity}: {said}: {failure}"
        charge_point.quirks = set(usual)
        if charge_point.offline:
            await charge_point.come_back()
