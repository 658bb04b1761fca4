"""How many of something there are, in words."""

from __future__ import annotations

from wattbridge.counting import counted


def test_only_one_of_something_has_no_s() -> None:
    assert [counted(number, "charge point") for number in (0, 1, 2, 11)] == [
        "0 charge points",
        "1 charge point",
        "2 charge points",
        "11 charge points",
    ]
