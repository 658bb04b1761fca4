"""Until when a certificate is valid, read from its file."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME, _GENERALIZED_TIME, _EXPLICIT_0 = 0x17, 0x18, 0xA0


def not_after(file: Path) -> datetime | None:
    """When the first certificate in a PEM *file* ends; None when there is none that can be read.

    Source: RFC 5280, 4.1 (TBSCertificate) and 4.1.2.5 (Validity).
    """
    try:
        found = _PEM.search(file.read_bytes())
        return _not_after(base64.b64decode(found[1])) if found else None
    except (OSError, binascii.Error, ValueError, IndexError):
        return None


def _not_after(der: bytes) -> datetime:
    [(_, certificate)] = _parts(der)
    _, tbs = next(_parts(certificate))
    parts = [part for part in _parts(tbs) if part[0] != _EXPLICIT_0]  # without the version
    validity = parts[3][1]  # behind serial number, signature algorithm and issuer
    (_, _), (kind, ends) = _parts(validity)
    text = ends.decode("ascii")
    if kind == _UTC_TIME:  # two digits of the year: 1950 to 2049
        text = ("19" if text >= "50" else "20") + text
    elif kind != _GENERALIZED_TIME:
        raise ValueError(f"found tag {kind:#x} where a time was expected")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value, one behind the other."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            octets = length & 0x7F
            length, at = int.from_bytes(der[at : at + octets]), at + octets
        if at + length > len(der):
            raise ValueError("a value is cut off")
        yield tag, der[at : at + length]
        at += length
