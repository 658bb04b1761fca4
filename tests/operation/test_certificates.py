"""Until when a certificate is valid."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from wattbridge.operation.certificates import not_after


@pytest.mark.parametrize("ends", [datetime(2031, 5, 1, 10, 0, 7), datetime(2061, 1, 2, 3, 4, 5)])
def test_it_is_read_from_the_file(tmp_path: Path, ends: datetime) -> None:
    """Until 2049 years have two digits (RFC 5280, 4.1.2.5)."""
    shown = trustme.CA().issue_cert("gw.example.net", not_after=ends)
    file = tmp_path / "gw.pem"
    file.write_bytes(shown.private_key_pem.bytes() + b"".join(pem.bytes() for pem in shown.cert_chain_pems))
    assert not_after(file) == ends.replace(tzinfo=UTC)


def test_what_cannot_be_read_ends_never(tmp_path: Path) -> None:
    pem = trustme.CA().cert_pem.bytes()
    cut = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    broken = pem.replace(pem[40:80], b"")
    for text in (b"", b"no PEM", cut, broken):
        (tmp_path / "broken.pem").write_bytes(text)
        assert not_after(tmp_path / "broken.pem") is None
    assert not_after(tmp_path / "none.pem") is None
