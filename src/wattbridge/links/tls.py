"""TLS contexts of listeners and of connections to others; both can be given new certificates in place.

What is loaded into a context in use counts for handshakes from then on; connections that are open stay.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Context = ssl.SSLContext
ClientAuth = Literal["none", "optional", "required"]

_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def server_context(
    certificate: Path, key: Path, client_ca: Path | None = None, client_auth: ClientAuth = "none"
) -> ssl.SSLContext:
    """What a listener shows, and whose certificates it takes from those who connect.

    The files are PEM. Raises OSError (ssl.SSLError among them) for what cannot be read or does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
    context.verify_mode = _VERIFY[client_auth]
    return context


def contents(*files: Path | None) -> tuple[bytes, ...]:
    """What stands in *files*, to see whether it has changed. Raises OSError."""
    return tuple(file.read_bytes() if file is not None else b"" for file in files)


def client_context(
    ca: Path | None = None, *, verify: bool = True, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Whom a connection to another party trusts (without *ca*: whom the system trusts), and what it shows.

    Raises OSError for what cannot be read or does not fit.
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def reload(
    context: ssl.SSLContext,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    ca: Path | None = None,
) -> None:
    """Load what is given into a context in use. An authority that was trusted stays so until a restart.

    Raises OSError for what cannot be read or does not fit; *context* is then as it was.
    """
    # A key that does not fit its certificate would leave half of the pair behind.
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for each in (probe, context):
        if certificate is not None:
            each.load_cert_chain(certificate, key)
        if ca is not None:
            each.load_verify_locations(ca)


# --- until when a certificate is good ---

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME = 0x17
_VERSION = 0xA0


def expires(file: Path) -> float:
    """When the first of the certificates in *file* (PEM) expires, in seconds since the epoch.

    Raises OSError when it cannot be read, ValueError when there is none in it that can be understood.
    """
    blocks = _CERTIFICATE.findall(file.read_text("latin-1"))
    if not blocks:
        raise ValueError(f"{file} holds no certificate")
    try:
        return min(_not_after(ssl.PEM_cert_to_DER_cert(block)) for block in blocks)
    except IndexError:
        raise ValueError(f"{file} holds a certificate that is cut off") from None


def _not_after(certificate: bytes) -> float:
    """notAfter of a certificate in DER (RFC 5280, 4.1): the standard library tells it of no file."""
    _, whole, _ = _element(certificate, 0)
    _, part, _ = _element(certificate, whole)  # tbsCertificate
    kind, _, end = _element(certificate, part)
    if kind == _VERSION:  # optional; then serialNumber
        _, _, end = _element(certificate, end)
    for _ in ("signature", "issuer"):
        _, _, end = _element(certificate, end)
    _, validity, _ = _element(certificate, end)
    _, _, not_after = _element(certificate, validity)  # behind notBefore
    kind, begin, end = _element(certificate, not_after)
    text = certificate[begin:end].decode("ascii")
    # Two digits of a year are of 1950 to 2049 (RFC 5280, 4.1.2.5.1); strptime turns at 1969.
    if kind == _UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin and end of the content of the element at *at* (X.690, 8.1). Raises IndexError."""
    tag, length, at = der[at], der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, at = int.from_bytes(der[at : at + size], "big"), at + size
    return tag, at, at + length
