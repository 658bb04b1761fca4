"""The addresses of a listener: which path is for which transport, and who a charge point says it is by it.

Charge points are told wrong addresses, in wrong letter case, with slashes too many: so both transports are
found at the addresses of either, and what is wrong is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

Transport = Literal["soap", "json"]
Protocol = Literal["any", "ocpp-soap", "ocpp-json"]

SEGMENT = "/{charger}"  # with it ends the address of a WebSocket
_SPOKEN: dict[Transport, str] = {"soap": "OCPP-S", "json": "OCPP-J"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request came to.

    ``address`` is one of the configuration, for ``transport``. ``segment`` is what stands where an identity
    does, as sent; None when nothing stands there.
    """

    address: str
    transport: Transport
    segment: str | None


class Paths:
    """The addresses of one listener, as the configuration lists them.

    ``soap`` are those where CentralSystemService is served, ``json`` those of WebSockets: they end in
    ``/{charger}``. ``protocol`` says which transports are served at all.
    """

    def __init__(self, paths: tuple[str, ...], protocol: Protocol = "any") -> None:
        self.soap = tuple(path for path in paths if not path.endswith(SEGMENT))
        self.json = tuple(path for path in paths if path.endswith(SEGMENT))
        self._protocol = protocol
        self._as_written = {path: Place(path, "soap", None) for path in self.soap}
        self._soap = {_folded(_segments(path)): path for path in self.soap}
        self._json = {_folded(_segments(path.removesuffix(SEGMENT))): path for path in self.json}

    def find(self, path: str) -> Place | None:
        """The place of a path as it was sent, percent-encoded; None when it is no address of this listener.

        Letter case does not matter (DBT lowercases what it is given), nor do empty segments (BENY asks for
        ``///charger``) and a slash at the end.
        """
        known = self._as_written.get(path)
        if known is not None:
            return known
        segments = _segments(path)
        whole = _folded(segments)
        if whole in self._soap:
            return Place(self._soap[whole], "soap", None)
        if segments and whole[:-1] in self._json:
            return Place(self._json[whole[:-1]], "json", segments[-1])
        if segments and whole[:-1] in self._soap:
            return Place(self._soap[whole[:-1]], "soap", segments[-1])
        if whole in self._json:
            return Place(self._json[whole], "json", None)
        return None

    def refusal(self, transport: Transport) -> str | None:
        """Why *transport* is not served here, for people; None when it is."""
        if self._protocol in ("any", f"ocpp-{transport}"):
            return None
        other: Transport = "json" if transport == "soap" else "soap"
        return f"{_SPOKEN[transport]} is not served here, only {_SPOKEN[other]}: {self.served(other)}"

    def served(self, *transports: Transport) -> str:
        """The addresses of *transports*, for people."""
        addresses = (self.soap if transport == "soap" else self.json for transport in transports)
        return ", ".join(address for each in addresses for address in each)

    def addresses(self, transport: Transport) -> str:
        """Where whoever speaks *transport* should have gone, for people; failing that, all there is."""
        if self.refusal(transport) is None and self.served(transport):
            return self.served(transport)
        return self.served(*(each for each in _SPOKEN if self.refusal(each) is None))

    def greeting(self, place: Place) -> str:
        """What whoever looks at an address is told."""
        soap = f"POST their SOAP messages to {self.served('soap')}; the service description is at ?wsdl"
        json = f"open a WebSocket at {self.served('json')} with the subprotocol ocpp1.6"
        here, there = (soap, json) if place.transport == "soap" else (json, soap)
        text = f"This is the {_SPOKEN[place.transport]} address of a Wattbridge gateway.\n"
        other: Transport = "json" if place.transport == "soap" else "soap"
        if self.refusal(place.transport) is None:
            text += f"Charge points that speak {_SPOKEN[place.transport]} {here}.\n"
        if self.refusal(other) is None and self.served(other):
            text += f"Those that speak {_SPOKEN[other]} {there}.\n"
        return text


def read_segment(segment: str) -> str:
    """The identity in a segment of a path, percent-decoded once. Raises ValueError when it is not UTF-8."""
    return unquote(segment, errors="strict")


def _segments(path: str) -> tuple[str, ...]:
    return tuple(segment for segment in path.split("/") if segment)


def _folded(segments: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(unquote(segment).lower() for segment in segments)
