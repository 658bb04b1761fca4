"""TLS contexts of listeners and of connections to others; both can be given new certificates in place.

What is loaded into a context in use counts for handshakes from then on; connections that are open stay.
"""

from __future__ import annotations

import ssl
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
