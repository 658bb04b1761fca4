"""Certificates and keys for configurations that name files of them. Nothing but tests trusts them.

The key of the authority exists nowhere. Made with ``openssl req -x509 -newkey ec -pkeyopt
ec_paramgen_curve:P-256 -days 36500``, the second one with ``-addext
subjectAltName=DNS:localhost,IP:127.0.0.1``.
"""

from __future__ import annotations

from pathlib import Path

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBoDCCAUWgAwIBAgIUXvxfA2CWCcmglQBZWMr0Y3pgxpIwCgYIKoZIzj0EAwIw
JDEiMCAGA1UEAwwZV2F0dGJyaWRnZSB0ZXN0IGF1dGhvcml0eTAgFw0yNjExMjAx
NjI4MjZaGA8yMTI2MTAyNzE2MjgyNlowJDEiMCAGA1UEAwwZV2F0dGJyaWRnZSB0
ZXN0IGF1dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEbOLGHGQBrj
ehDT6JM1TveYaf2HSia9bLf2d2bh6bspOTtRrDQm1rz7DkKgZSgbl9ed1MVv6rPr
5Y8eawe8cQejUzBRMB0GA1UdDgQWBBRTNc2I1ON6djrYfyAQZEWEt/timjAfBgNV
HSMEGDAWgBRTNc2I1ON6djrYfyAQZEWEt/timjAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0kAMEYCIQDcNdSDCGaZPHTz6jJJscgrKqUXgy091lrGGAJ5vSPi
JgIhAJKzv/Rg3wcbBW247+wzgDVHE/2V2mx2bvwIEwSCCp7W
-----END CERTIFICATE-----
"""

# Shown at localhost and 127.0.0.1; it is its own authority.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUfNirJVYl0f6AAUHIJ/bqhKEfO4UwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzAxMDQwNFoYDzIxMjYxMTAz
MDEwNDA0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARcDrjlhWM2/Da7pe8CX6R5jSnYLmfbfNfW60gKH5Z6Mwk6saGMV6sd
XhjFsgVO6tm3e2pWkZiPtHiTHUOGCgj8o28wbTAdBgNVHQ4EFgQUlEiGkLYbvfC3
FYiqA0o19dZ4B/QwHwYDVR0jBBgwFoAUlEiGkLYbvfC3FYiqA0o19dZ4B/QwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgKe2HwtIAMHID31Le/ySFVh7h1P/cKjMgAYVG1DQBgHYCIFcA
5tpUQu9MZDyTQh7UhT++K9XRQ/ol6rAKjjIgWyur
-----END CERTIFICATE-----
"""

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgT9TPNl6pD1UnGorq
BCOQ/VtrCYP3SAFNnxA1HhWXEuWhRANCAARcDrjlhWM2/Da7pe8CX6R5jSnYLmfb
fNfW60gKH5Z6Mwk6saGMV6sdXhjFsgVO6tm3e2pWkZiPtHiTHUOGCgj8
-----END PRIVATE KEY-----
"""

# The key of something else.
OTHER_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoqwukXxQKDtSM4eo
BnSRl6XrhwkJspwohjdfG9vS+muhRANCAATnHrvo0KssVoQ4pE5rdFxiG1u4yNIB
WkgACHHjVaFnz0hKC/gNOxwoIy7CunqkwPMhMKn4qyR3ehP8Ge9gW/Ya
-----END PRIVATE KEY-----
"""


def write_certificates(folder: Path) -> None:
    """``certs/`` as the example of the reference has it."""
    certs = folder / "certs"
    certs.mkdir()
    (certs / "ca.pem").write_text(AUTHORITY)
    (certs / "gw.pem").write_text(CERTIFICATE)
    (certs / "gw.key").write_text(KEY)
