"""Which central system a charge point belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of a charge point when its route is chosen.

    ``source`` is the address it speaks from, ``listener`` the name of the listener, ``known`` whether it is
    listed. ``vendor``, ``model`` and ``firmware`` are from its BootNotification, None before it.
    """

    identity: str
    source: str = ""
    listener: str = ""
    known: bool = True
    vendor: str | None = None
    model: str | None = None
    firmware: str | None = None
