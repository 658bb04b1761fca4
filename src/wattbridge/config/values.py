"""The words a configuration file is made of: durations, sizes, rates, addresses, zones.

Each ``read_`` takes the text as it stands in the file and returns the value the program works with; it raises
ValueError with a sentence that says what was found and what was expected. Each ``write_`` is its way back.
What sections there are, and which value stands where, is the business of ``models.py``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, available_timezones

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds
_SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}  # bytes
_RATE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}  # seconds
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_DURATION = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{1,9})?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB)", re.IGNORECASE)
_RATE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)/(s|m|h)")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_WHOLE = re.compile(r"[0-9]{1,15}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_ACTION = re.compile(r"[A-Za-z]{1,50}")
_FIELD_PATH = re.compile(r"[A-Za-z]{1,50}(?:\.[A-Za-z]{1,50}){0,9}")
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")
_FACTOR = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,7})?")
_TOKEN_HASH = re.compile(
    r"scrypt\$([0-9]{1,2})\$([0-9]{1,2})\$([0-9])\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}="
)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_COMPARISON = re.compile(r"(<=|>=|==|!=|<|>) *([vV]?[0-9][^<>=!, ]*)")
_NOT_IN_URLS = re.compile(r"[\s\x00-\x1f\x7f\"<>\\^`|]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def shorten(text: str, length: int = 60) -> str:
    """The text in quotes, as it is shown in a message: on one line, and not longer than needed."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")


def suggest(word: str, words: Iterable[str]) -> str:
    """`` (did you mean 'main'?)``, or nothing when no word is close."""
    from difflib import get_close_matches

    known = {other.lower(): other for other in words}
    close = get_close_matches(word.lower()[:64], list(known), n=1)
    return f" (did you mean {known[close[0]]!r}?)" if close else ""


def read_token_hash(text: str) -> str:
    """``scrypt$14$8$1$SALT$HASH``: the cost as a power of two, block size, parallelism; Base64.

    What is written so is read by ``operation.api.tokens``. Costs that would stop the gateway are refused.
    """
    match = _TOKEN_HASH.fullmatch(text)
    if match is None:
        raise ValueError("is no hash of a token: `wattbridge admin hash-token` makes one")
    cost, size, lanes = map(int, match.groups())
    if not (10 <= cost <= 17 and 1 <= size <= 16 and 1 <= lanes <= 4):
        raise ValueError(
            "is a hash of more or less work than is sensible: `wattbridge admin hash-token` makes one"
        )
    return text


def describe(value: Any) -> str:
    """What was found, without its content: it might be a secret."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else "a text"


def read_duration(text: str) -> float:
    """``30s``, ``500ms``, ``1h30m`` → seconds. Zero may stand without a unit."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        if _NUMBER.fullmatch(text):
            raise ValueError(f"{text!r} has no unit: write {text}s for seconds (ms, s, m, h, d)")
        if text.startswith("-") and _DURATION.fullmatch(text[1:]):
            raise ValueError(f"{text!r} is negative: a duration is 0s or longer")
        raise ValueError(f"{shorten(text)} is no duration: write 500ms, 30s, 5m, 24h")
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))


def write_duration(seconds: float) -> str:
    if 0 < seconds < 1:
        return f"{seconds * 1000:.9g}ms"
    for unit in ("h", "m"):
        size = _DURATION_UNITS[unit]
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.12g}s"


def read_size(text: str) -> int:
    """``256KiB`` → bytes."""
    found = _SIZE.fullmatch(text)
    if not found:
        if _WHOLE.fullmatch(text):
            raise ValueError(f"{text!r} has no unit: write {text}B for bytes (B, KiB, MiB, GiB)")
        if text.startswith("-"):
            raise ValueError(f"{shorten(text)} is negative: a size is 0B or more")
        raise ValueError(f"{shorten(text)} is no size: write 512B, 256KiB, 1MiB")
    units = {unit.lower(): size for unit, size in _SIZE_UNITS.items()}
    return int(found[1]) * units[found[2].lower()]


def write_size(size: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


def read_rate(text: str) -> float:
    """``50/s``, ``10/m`` → events per second."""
    found = _RATE.fullmatch(text)
    if not found:
        if _NUMBER.fullmatch(text):
            raise ValueError(f"{text!r} does not say per what: write {text}/s, {text}/m or {text}/h")
        raise ValueError(f"{shorten(text)} is no rate: write 50/s, 10/m, 100/h")
    return float(found[1]) / _RATE_UNITS[found[2]]


def write_rate(per_second: float) -> str:
    for unit, seconds in _RATE_UNITS.items():
        count = round(per_second * seconds, 9)
        if count and count == int(count):
            return f"{count:.0f}/{unit}"
    return f"{per_second:.9f}".rstrip("0").rstrip(".") + "/s"


def read_flag(text: str) -> bool:
    """``true``, ``yes`` or ``on``; ``false``, ``no`` or ``off``."""
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError(f"{shorten(text)} is neither true (yes, on) nor false (no, off)") from None


def write_flag(flag: bool) -> str:
    return "true" if flag else "false"


def read_whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{shorten(text)} is no whole number")
    return int(text)


def read_number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        if text.startswith("-") and _NUMBER.fullmatch(text[1:]):
            raise ValueError(f"{text!r} is negative: expected 0 or more")
        raise ValueError(f"{shorten(text)} is no number: write 3 or 0.5")
    return float(text)


def write_number(number: float) -> str:
    return f"{number:.12g}"


def read_name(text: str) -> str:
    """The name of a listener, an upstream, a route: it becomes a word in logs and metrics."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{shorten(text)} is no name: use letters, digits, '-', '_' and '.', at most 64, "
            "starting with a letter or a digit"
        )
    return text


def read_identity(text: str) -> str:
    """The identity of a charge point, as it stands in chargeBoxIdentity."""
    if not text:
        raise ValueError("an identity is not empty")
    if text in (".", ".."):
        raise ValueError(f"{text!r} cannot be an identity: no URL can end in it")
    if text != text.strip() or _CONTROL.search(text):
        raise ValueError(f"{shorten(text)} is no identity: it has control characters, or blanks at an end")
    if len(text) > 255:
        raise ValueError(f"{shorten(text)} is no identity: it is longer than 255 characters")
    return text


def read_glob(text: str) -> str:
    """A pattern for identities: ``BER-*``, ``EVB-P?-[0-9]*``."""
    if not text or _CONTROL.search(text):
        raise ValueError(f"{shorten(text)} is no pattern for identities: write BER-* or EVB-P1")
    _check_glob(text)
    return text


def read_word_glob(text: str) -> str:
    """A pattern for what a BootNotification says of a charge point: ``ACME``, ``CC-1*``."""
    if not text or _CONTROL.search(text):
        raise ValueError(f"{shorten(text)} is no pattern: write ACME or CC-1*")
    _check_glob(text)
    return text


def _check_glob(text: str) -> None:
    """A ``[`` without its end would stand for itself, which is never what was meant."""
    # As fnmatch reads it: a ] right behind [ or [! is one of the characters.
    rest = re.sub(r"\[!?+\]?+[^\]]*\]", "", text)
    if "[" in rest:
        raise ValueError(f"{shorten(text)} has a [ that is never closed: write [[] for the sign itself")


def read_firmware(text: str) -> str:
    """Which firmware versions are meant: comparisons such as ``<1.4`` or ``>=1.2,<1.4``, or a pattern."""
    return text if comparisons_of(text) else read_word_glob(text)


def comparisons_of(text: str) -> tuple[tuple[str, str], ...]:
    """``>=1.2,<1.4`` → ``((">=", "1.2"), ("<", "1.4"))``; nothing for a pattern.

    Raises ValueError for what begins like a comparison and is none.
    """
    if text[:1] not in ("<", ">", "=", "!"):
        return ()
    found = []
    for part in text.split(","):
        comparison = _COMPARISON.fullmatch(part.strip())
        if not comparison:
            raise ValueError(
                f"{shorten(part.strip())} compares with no version: write <1.4, <=, >, >=, == or != and a "
                "version that begins with a number"
            )
        found.append((comparison[1], comparison[2]))
    return tuple(found)


def read_regex(text: str) -> str:
    """A regular expression of Python."""
    if not text or _CONTROL.search(text):
        raise ValueError(f"{shorten(text)} is no regular expression: write ^EVB-(.*)$")
    try:
        re.compile(text)
    except (re.error, OverflowError) as problem:
        raise ValueError(f"{shorten(text)} is no regular expression: {problem}") from None
    return text


def read_text_line(text: str) -> str:
    if not text or _CONTROL.search(text):
        raise ValueError("expected one line of text" if text else "has no value")
    return text


def read_value(text: str) -> str:
    """What stands in a field of a message, as a text; it may be empty."""
    if _CONTROL.search(text):
        raise ValueError("expected one line of text")
    return text


def read_wire(text: str) -> str:
    """A message as it travels: a SOAP envelope or a frame of OCPP-J."""
    if text.lstrip()[:1] not in ("<", "["):
        raise ValueError(f"{shorten(text)} is no message: expected a SOAP envelope (<…) or a frame ([…)")
    return text


def read_action(text: str) -> str:
    if not _ACTION.fullmatch(text):
        raise ValueError(f"{shorten(text)} is no action: write StatusNotification")
    return text


def read_field_path(text: str) -> str:
    """Where in a message a field is: ``sampledValue.unit``; ``*`` for every field."""
    if text != "*" and not _FIELD_PATH.fullmatch(text):
        raise ValueError(f"{shorten(text)} is no path of fields: write sampledValue.unit")
    return text


def read_prefix(text: str) -> str:
    """A prefix of XML, and none that our envelopes have already."""
    if not _PREFIX.fullmatch(text) or text.lower().startswith("xml") or text in ("soap", "wsa"):
        raise ValueError(f"{shorten(text)} is no prefix of elements: write ns1 (and not soap, wsa or xml)")
    return text


def read_factor(text: str) -> Decimal:
    """What a number is multiplied by: ``1000``, ``0.1``."""
    if not _FACTOR.fullmatch(text) or not Decimal(text):
        raise ValueError(f"{shorten(text)} is no factor: write 1000 or 0.1")
    return Decimal(text)


def read_template(text: str) -> str:
    """What re.sub puts in the place of what was found; it is checked with its expression."""
    if _CONTROL.search(text):
        raise ValueError("expected one line of text")
    return text


def read_token(text: str) -> str:
    """The name of a WebSocket subprotocol (RFC 6455, 4.1: a token)."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{shorten(text)} is no subprotocol name: write ocpp1.6")
    return text


class Bind(NamedTuple):
    """Where to listen. ``port`` 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def overlaps(self, other: Bind) -> bool:
        """Whether the two cannot be listened on at the same time."""
        if self.port != other.port or self.port == 0:
            return False
        ours, theirs = self._hosts(), other._hosts()
        if ours & theirs:
            return True
        return any(
            wildcard in hosts and any((":" in host) == (":" in wildcard) for host in others)
            for hosts, others in ((ours, theirs), (theirs, ours))
            for wildcard in ("0.0.0.0", "::")
        )

    def _hosts(self) -> set[str]:
        return {"127.0.0.1", "::1"} if self.host.lower() == "localhost" else {self.host.lower()}


def read_bind(text: str) -> Bind:
    """``0.0.0.0:8080``, ``[::1]:8080``, ``localhost:0``."""
    if "//" in text:
        raise ValueError(f"{shorten(text)} is a URL: write only host:port, such as 0.0.0.0:8080")
    host, colon, port_text = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise ValueError(f"{shorten(text)} has no port: write host:port, such as 0.0.0.0:8080")
    if not host or host == "*":
        raise ValueError(f"{shorten(text)} has no host: write 0.0.0.0:{port_text} for every interface")
    if host.startswith("[") and host.endswith("]"):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"{shorten(text)}: {shorten(host[1:-1])} is no IPv6 address") from None
    elif ":" in host:
        raise ValueError(f"{shorten(text)}: write an IPv6 address in brackets, such as [::1]:8080")
    else:
        _check_host(host)
    if not _WHOLE.fullmatch(port_text) or int(port_text) > 65535:
        raise ValueError(f"{shorten(text)}: {shorten(port_text)} is no port: expected 0 to 65535")
    return Bind(host, int(port_text))


def read_network(text: str) -> Network:
    """``10.20.0.0/16``, ``fd00::/8``; an address alone is a network of one."""
    try:
        return ipaddress.ip_network(text, strict=True)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{shorten(text)} is no network: write 10.20.0.0/16 or 10.20.4.17") from None
    raise ValueError(f"{shorten(text)} has bits set behind the prefix (did you mean {str(meant)!r}?)")


def read_zone(text: str) -> ZoneInfo:
    """``Europe/Berlin`` → the zone of the IANA database."""
    try:
        return ZoneInfo(text)
    except (ValueError, KeyError, OSError):  # OSError: "Europe" is a folder
        zones = available_timezones()
        is_region = any(zone.startswith(f"{text}/") for zone in zones)
        hint = "" if is_region else suggest(text, zones)
        raise ValueError(
            f"{shorten(text)} is no time zone of the IANA database{hint or ': write UTC or Europe/Berlin'}"
        ) from None


def read_url_path(text: str) -> str:
    """The path part of a URL: ``/ocpp/cs``."""
    if not text.startswith("/"):
        raise ValueError(f"{shorten(text)} is no path: it starts with '/', such as /ocpp/cs")
    if _NOT_IN_URLS.search(text) or any(sign in text for sign in "?#{}"):
        raise ValueError(f'{shorten(text)} is no path: it has blanks or one of ?#{{}}<>"\\^`|')
    return text


def read_listener_path(text: str) -> str:
    """Where a listener serves: ``/ocpp/cs`` for SOAP, ``/ocpp/{charger}`` for WebSockets."""
    plain = text.removesuffix("/{charger}")
    if "{charger}" in plain:
        raise ValueError("{charger} must be the last segment of the path, as a whole, and stand there once")
    if plain != text and not plain:
        return text
    read_url_path(plain)
    return text


def read_callback_path(text: str) -> str:
    """Where a SOAP central system calls a charge point: ``/ocpp/cp/{charger}``."""
    if not text.endswith("/{charger}") or "{charger}" in text.removesuffix("/{charger}"):
        raise ValueError(f"{shorten(text)} does not end in /{{charger}}: write /ocpp/cp/{{charger}}")
    read_url_path(text.removesuffix("/{charger}") or "/")
    return text


def read_public_url(text: str) -> str:
    """``http://gw.example.net:8080``: scheme, host and port, without a slash at the end."""
    parts = _split_url(text, ("http", "https"))
    if parts.path not in ("", "/") or parts.query or "?" in text:
        raise ValueError("has a path or a query: write only scheme, host and port, such as http://gw:8080")
    return f"{parts.scheme}://{parts.netloc}"


def read_http_url(text: str) -> str:
    _split_url(text, ("http", "https"))
    return text


def read_uri(text: str) -> str:
    """Any absolute URI, as wsa:To takes one."""
    scheme, colon, rest = text.partition(":")
    if not colon or not rest or not scheme.isascii() or not scheme.isalnum() or _NOT_IN_URLS.search(text):
        raise ValueError(f"{shorten(text)} is no absolute URI: write http://10.20.4.17:8090/ocpp")
    return text


def read_upstream_url(text: str) -> str:
    """The address of a central system: ws:// or wss:// for JSON, http:// or https:// for SOAP.

    Returns that of a WebSocket as ``read_websocket_url`` does; that of SOAP is used as it is.
    """
    scheme = text.partition("://")[0].lower()
    if scheme in ("ws", "wss"):
        return read_websocket_url(text)
    _split_url(_with_a_charger(text), ("ws", "wss", "http", "https"))
    return f"{scheme}{text[len(scheme) :]}"


def read_callback_url(text: str) -> str:
    """What a SOAP central system is told to call: ``https://gw.example.net/ocpp/cp/{charger}``."""
    if "{charger}" not in text:
        raise ValueError("has no {charger}: every charge point would have the same address")
    _split_url(_with_a_charger(text), ("http", "https"))
    return text


def _with_a_charger(text: str) -> str:
    """*text* as it is for one charge point."""
    for name in _PLACEHOLDER.findall(text):
        if name != "charger":
            raise ValueError(f"{{{name}}} is no placeholder here: only {{charger}} is")
    return text.replace("{charger}", "CP1")


def read_websocket_url(text: str) -> str:
    """The address of a central system: ``wss://csms.example.com/ocpp/{charger}``.

    Returns it with ``{charger}`` as the last segment of the path, which is where OCPP-J 1.6, 3.1.1, puts the
    identity; it is appended when the text does not have it.
    """
    parts = _split_url(text, ("ws", "wss"))
    for name in _PLACEHOLDER.findall(text):
        if name != "charger":
            raise ValueError(f"{{{name}}} is no placeholder here: only {{charger}} is")
    elsewhere = parts._replace(path="").geturl()
    if "{" in elsewhere or "{charger}" in parts.path.rpartition("/")[0]:
        raise ValueError("{charger} must be the last segment of the path, and stand there once")
    last = parts.path.rpartition("/")[2]
    if "{charger}" in last and last != "{charger}":
        raise ValueError(f"{{charger}} must be a whole segment of the path, found {shorten(last)}")
    if last == "{charger}":
        return f"{parts.scheme}{text[len(parts.scheme) :]}"
    return parts._replace(path=parts.path.rstrip("/") + "/{charger}").geturl()


def read_callback_template(text: str) -> str:
    """``http://{source_ip}:8090/``: an address made from what is known of a charge point."""
    names = _PLACEHOLDER.findall(text)
    for name in names:
        if name not in ("source_ip", "charger"):
            raise ValueError(f"{{{name}}} is no placeholder here: {{source_ip}} and {{charger}} are")
    if not names:
        raise ValueError(
            "has neither {source_ip} nor {charger}: every charge point would have the same address"
        )
    _split_url(text.replace("{source_ip}", "192.0.2.1").replace("{charger}", "CP1"), ("http", "https"))
    return text


def read_username(text: str) -> str:
    """A user name of HTTP Basic authentication; ``{charger}`` stands for the identity."""
    read_text_line(text)
    for name in _PLACEHOLDER.findall(text):
        if name != "charger":
            raise ValueError(f"{{{name}}} is no placeholder here: only {{charger}} is")
    if ":" in text:
        raise ValueError(
            "has a colon, which no user name of HTTP Basic authentication can have (RFC 7617, 2)"
        )
    return text


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split_url(text: str, schemes: tuple[str, ...]) -> SplitResult:
    """Take a URL apart. The messages never repeat a whole URL: it might hold a password."""
    *others, last = (f"{scheme}://" for scheme in schemes)
    expected = f"{', '.join(others)} or {last}"
    if _NOT_IN_URLS.search(text):
        raise ValueError('is no URL: it has blanks or one of "<>\\^`|')
    scheme, separator, _ = text.partition("://")
    if not separator:
        raise ValueError(f"is no URL: it starts with {expected}")
    if scheme.lower() not in schemes:
        twin = {"http": "ws", "https": "wss", "ws": "http", "wss": "https"}.get(scheme.lower())
        hint = f" (did you mean {twin}://?)" if twin in schemes else ""
        raise ValueError(f"starts with {shorten(scheme + '://')}, expected {expected}{hint}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as problem:
        raise ValueError(f"is no URL: {str(problem)[0].lower()}{str(problem)[1:]}") from None
    if not text.isascii():
        raise ValueError("has letters that no URL has: write %C3%BC for ü, and a host name as xn--…")
    if "@" in parts.netloc:
        raise ValueError("has a user name or a password in it: credentials do not belong in an address")
    if "#" in text:
        raise ValueError("has a fragment (#…), which is never sent")
    if not host:
        raise ValueError("is no URL: it has no host")
    if port == 0:
        raise ValueError("has port 0, where nobody can be reached")
    if not parts.netloc.startswith("["):
        _check_host(host)
    return parts


def _check_host(host: str) -> None:
    if not _HOST.fullmatch(host) or ".." in host:
        raise ValueError(f"{shorten(host)} is no host name or address")
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(f"{shorten(host)} is no IPv4 address") from None


def read_store_url(text: str) -> str:
    """``sqlite:////var/lib/state.db`` → the path of the file. Raises ValueError for any other URL."""
    scheme, separator, path = text.partition(":///")
    if scheme == "sqlite" and separator and path:
        return path
    if scheme in ("postgresql", "postgres"):
        raise ValueError(f"{shorten(text)}: PostgreSQL is not supported yet: write sqlite:///PATH")
    raise ValueError(f"{shorten(text)} is no store: write sqlite:///PATH or memory")
