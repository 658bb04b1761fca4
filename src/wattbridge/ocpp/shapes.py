"""What may stand in a payload: fields with their order, cardinality, type and facets.

A shape knows neither XML nor JSON; it is read from the service descriptions (``wsdl.py``), adjusted by
``differences.py`` and compiled by ``payloads.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["string", "integer", "decimal", "boolean", "dateTime", "uri", "object"]

# Where a field stands in XML: an element of its own, an attribute, or the text beside the attributes.
Place = Literal["element", "attribute", "text"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a payload, in wire order.

    ``type_name`` is the schema type's own name (``IdToken``, ``CiString50Type``, ``int``). ``max_items`` is
    None for "unbounded", 1 for a single value. A field is a list in JSON when ``repeated``. ``place`` is of
    the MeterValues of 1.5 only: ``<value unit="kWh">5</value>`` is an object of the fields ``value`` (the
    text) and ``unit`` (an attribute).
    """

    name: str
    kind: Kind
    type_name: str = ""
    min_items: int = 1
    max_items: int | None = 1
    max_length: int | None = None  # characters
    fraction_digits: int | None = None
    enum: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    place: Place = "element"

    @property
    def required(self) -> bool:
        return self.min_items > 0

    @property
    def repeated(self) -> bool:
        return self.max_items is None or self.max_items > 1


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one service, as its description gives it.

    ``service`` is ``"CentralSystemService"`` or ``"ChargePointService"``; ``namespace`` that of body and
    chargeBoxIdentity header (``urn://Ocpp/Cs/2015/10/``); ``request_element`` and ``response_element`` are
    local names (``bootNotificationRequest``); ``request_action`` and ``response_action`` the wsa:Action
    values (``/BootNotification``, ``/BootNotificationResponse``).
    """

    action: str
    service: str
    namespace: str
    request_element: str
    response_element: str
    request_action: str
    response_action: str
    request: tuple[Field, ...]
    response: tuple[Field, ...]
