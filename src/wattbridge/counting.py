"""How many of something there are, in words."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """``"1 charge point"``, ``"2 charge points"``, ``"0 charge points"``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
