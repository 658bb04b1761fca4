"""What charge points call themselves does nothing to a terminal."""

from __future__ import annotations

import json

import pytest

from wattbridge.ocpp.printable import printable, printable_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CP-1 Säule №7 充电桩", "CP-1 Säule №7 充电桩"),
        ("E\x1b[31mRED\x1b]0;pwn\x07", r"E\x1b[31mRED\x1b]0;pwn\x07"),
        ("CP\r\n2026 [error] fake", r"CP\r\n2026 [error] fake"),
        ("\x9b31m", r"\x9b31m"),
        ("127.0.0.1 \u202efrom", "127.0.0.1 \\u202efrom"),
        ("half \ud800", r"half \ud800"),
        ("", ""),
    ],
)
def test_what_is_obeyed_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_json_says_the_same() -> None:
    said = {"vendor": "A\x9b2J\u202eB\x7f", "model": "Säule"}
    text = json.dumps(said, ensure_ascii=False)
    shown = printable_json(text)
    assert shown == r'{"vendor": "A\u009b2J\u202eB\u007f", "model": "Säule"}'
    assert json.loads(shown) == said
