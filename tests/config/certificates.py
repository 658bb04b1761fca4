"""A certificate for configurations that name a file of them. Its key exists nowhere.

Made with ``openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 36500``.
"""

from __future__ import annotations

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
