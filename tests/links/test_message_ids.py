"""The ids of messages are UUIDs as everybody else's."""

from __future__ import annotations

import uuid

from wattbridge.links.message_ids import new_uuid


def test_a_message_id_is_a_random_uuid() -> None:
    """RFC 9562, 5.4."""
    for text in (new_uuid() for _ in range(1000)):
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (4, uuid.RFC_4122)


def test_no_two_are_the_same() -> None:
    assert len({new_uuid() for _ in range(10_000)}) == 10_000
