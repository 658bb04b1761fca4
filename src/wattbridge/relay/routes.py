"""Which central system a charge point belongs to: the first route whose conditions all hold.

Knows nothing of the file the routes come from, nor of how central systems are reached. Every condition says
in a sentence why it does not hold, so that nobody has to guess where a charge point went.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal, Protocol

Operator = Literal["<", "<=", ">", ">=", "==", "!="]

# A number of more digits than this is no version; the rest of it is compared as text.
_VERSION = re.compile(r"[vV]?([0-9]{1,18}(?:\.[0-9]{1,18})*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of a charge point when a route is chosen.

    ``source`` is the address it speaks from, ``listener`` the name of the one it came in at, ``known``
    whether the operator has listed it. What BootNotification tells is None as long as there was none.
    """

    identity: str
    source: str = ""
    listener: str = ""
    known: bool = True
    vendor: str | None = None
    model: str | None = None
    firmware: str | None = None


class Condition(Protocol):
    """What must hold for a route to be chosen; as a text, ``vendor like 'EVB*'``."""

    def why_not(self, heard: Heard) -> str:
        """Nothing when it holds, else a sentence: ``vendor is 'ACME', not like 'EVB*'``."""


@dataclass(frozen=True, slots=True)
class _Patterns:
    """Some patterns as ``fnmatch`` has them; one of them must fit."""

    patterns: tuple[str, ...]
    _fits: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fits = "|".join(translate(pattern) for pattern in self.patterns)
        object.__setattr__(self, "_fits", re.compile(fits, self._flags()))

    def _flags(self) -> re.RegexFlag:
        return re.RegexFlag.NOFLAG

    def _in_words(self, what: str) -> str:
        return f"{what} like {_or(map(repr, self.patterns))}"

    def _unlike(self, what: str, text: str) -> str:
        if self._fits.match(text):
            return ""
        return f"{what} is {text!r}, not like {_or(map(repr, self.patterns))}"


@dataclass(frozen=True, slots=True)
class IdentityLike(_Patterns):
    """The identity fits one of the patterns; upper and lower case are different."""

    def __str__(self) -> str:
        return self._in_words("identity")

    def why_not(self, heard: Heard) -> str:
        return self._unlike("identity", heard.identity)


@dataclass(frozen=True, slots=True)
class VendorLike(_Patterns):
    """chargePointVendor fits one of the patterns; upper and lower case are the same."""

    def _flags(self) -> re.RegexFlag:
        return re.IGNORECASE

    def __str__(self) -> str:
        return self._in_words("vendor")

    def why_not(self, heard: Heard) -> str:
        return _untold("vendor", heard, heard.vendor) or self._unlike("vendor", heard.vendor or "")


@dataclass(frozen=True, slots=True)
class ModelLike(_Patterns):
    """chargePointModel fits one of the patterns; upper and lower case are the same."""

    def _flags(self) -> re.RegexFlag:
        return re.IGNORECASE

    def __str__(self) -> str:
        return self._in_words("model")

    def why_not(self, heard: Heard) -> str:
        return _untold("model", heard, heard.model) or self._unlike("model", heard.model or "")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a version compares with another: ``Comparison("<", "1.4")``."""

    operator: Operator
    version: str

    def __str__(self) -> str:
        return f"{self.operator}{self.version}"

    def holds(self, version: str) -> bool:
        """Whether it holds for *version*; for one that does not begin with a number, none does."""
        left, right = version_key(version), version_key(self.version)
        if left is None or right is None:
            return False
        match self.operator:
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
            case ">=":
                return left >= right
            case "==":
                return left == right
            case "!=":
                return left != right


def version_key(version: str) -> tuple[tuple[int, ...], str] | None:
    """What versions are ordered by: the numbers between dots, then the text behind them.

    ``1.10`` is behind ``1.9``, ``1.4`` and ``1.4.0`` are the same, ``v`` before the number does not count.
    None for a version that does not begin with a number.
    """
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        return None
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), found[2].strip()


@dataclass(frozen=True, slots=True)
class FirmwareIs:
    """firmwareVersion is one of these: a pattern, or comparisons that must all hold."""

    versions: tuple[str | tuple[Comparison, ...], ...]

    def __str__(self) -> str:
        return f"firmware {self._wanted}"

    @property
    def _wanted(self) -> str:
        return _or(
            f"like {version!r}" if isinstance(version, str) else ",".join(map(str, version))
            for version in self.versions
        )

    def why_not(self, heard: Heard) -> str:
        untold = _untold("firmware", heard, heard.firmware)
        if untold:
            return untold
        firmware = heard.firmware or ""
        if any(_is_version(firmware, version) for version in self.versions):
            return ""
        hint = ""
        if version_key(firmware) is None and any(isinstance(version, tuple) for version in self.versions):
            hint = " (it does not begin with a number, so it cannot be compared)"
        return f"firmware is {firmware!r}, not {self._wanted}{hint}"


def _is_version(firmware: str, version: str | tuple[Comparison, ...]) -> bool:
    if isinstance(version, str):
        return re.match(translate(version), firmware) is not None
    return all(comparison.holds(firmware) for comparison in version)


@dataclass(frozen=True, slots=True)
class SourceIn:
    """It speaks from one of these networks."""

    networks: tuple[IPv4Network | IPv6Network, ...]

    def __str__(self) -> str:
        return f"source in {_or(map(str, self.networks))}"

    def why_not(self, heard: Heard) -> str:
        try:
            address = ip_address(heard.source)
        except ValueError:
            return "source is not known"
        if isinstance(address, IPv6Address) and address.ipv4_mapped:  # IPv4, heard on an IPv6 socket
            address = address.ipv4_mapped
        if any(address in network for network in self.networks):
            return ""
        return f"source {address} is in none of {', '.join(map(str, self.networks))}"


@dataclass(frozen=True, slots=True)
class ListenerIs:
    """It came in at one of these listeners."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"listener {_or(self.names)}"

    def why_not(self, heard: Heard) -> str:
        if heard.listener in self.names:
            return ""
        if not heard.listener:
            return "listener is not known"
        return f"listener is {heard.listener}, not {_or(self.names)}"


@dataclass(frozen=True, slots=True)
class KnownIs:
    """Whether the operator has listed it."""

    known: bool

    def __str__(self) -> str:
        return "known" if self.known else "unknown"

    def why_not(self, heard: Heard) -> str:
        if heard.known == self.known:
            return ""
        return "it is a known charge point" if heard.known else "it is an unknown charge point"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a central system calls a charge point: ``re.sub(pattern, to, identity)``."""

    pattern: str
    to: str

    def of(self, identity: str) -> str:
        """The other name; the identity itself when nothing would be left of it."""
        return re.sub(self.pattern, self.to, identity).strip() or identity


@dataclass(frozen=True, slots=True)
class Reject:
    """How a charge point is turned away."""

    boot_status: Literal["Rejected", "Pending"] = "Rejected"
    interval: int = 3600  # seconds
    error: str = "SecurityError"  # code of the CALLERROR to its other calls
    description: str = "this charge point is not served here"


@dataclass(frozen=True)
class Route:
    """Where charge points go for which all *conditions* hold: to ``upstream``, or away."""

    name: str
    conditions: tuple[Condition, ...] = ()
    upstream: str | None = None
    reject: Reject | None = None
    fallback: str | None = None
    failover_after: float = 30.0  # seconds
    failover_back_after: float = 60.0  # seconds
    failover_shared: bool = False  # whether the two know each other's transactions
    mirrors: tuple[str, ...] = ()
    mirror_queue: int = 1000  # messages
    rewrite: Rewrite | None = None
    check: Literal["off", "report", "refuse"] = "report"
    subprotocol_required: bool = False

    def why_not(self, heard: Heard) -> str:
        """Nothing when it is for this charge point, else every reason why it is not."""
        return "; ".join(filter(None, (condition.why_not(heard) for condition in self.conditions)))

    def known_as(self, identity: str) -> str:
        """What the central system calls this charge point."""
        return self.rewrite.of(identity) if self.rewrite else identity


class Routes:
    """All routes, in order."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def choose(self, heard: Heard) -> Route:
        """The first route that is for this charge point.

        Raises LookupError when there is none; the last one of a configuration is for everybody.
        """
        for route in self.routes:
            if not route.why_not(heard):
                return route
        raise LookupError(f"no route is for {heard.identity!r}")

    def explain(self, heard: Heard) -> list[tuple[Route, str]]:
        """Why each route was not chosen, up to and with the one that is, whose reason is empty."""
        found = []
        for route in self.routes:
            found.append((route, route.why_not(heard)))
            if not found[-1][1]:
                break
        return found

    def admits_unknown(self, heard: Heard) -> bool:
        """Whether an unknown charge point is let in by the route chosen for it: one that says so."""
        route = self.choose(replace(heard, known=False))
        return KnownIs(known=False) in route.conditions


def _untold(what: str, heard: Heard, value: str | None) -> str:
    if value is not None:
        return ""
    if heard.vendor is None:
        return f"{what} is not known before BootNotification"
    return f"{what} is not in its BootNotification"


def _or(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
