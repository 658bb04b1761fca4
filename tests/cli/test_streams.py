"""Standard output in locales that do not know every sign."""

from __future__ import annotations

import io

from wattbridge.cli.streams import for_messages, for_people


def written(out: io.TextIOWrapper, text: str) -> bytes:
    out.write(text)
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return out.buffer.getvalue()


def test_messages_are_utf_8_in_any_locale() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert written(for_messages(out), "<idTag>ä🔌</idTag>") == "<idTag>ä🔌</idTag>".encode()


def test_people_see_something_plainer_where_a_sign_is_missing() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert written(for_people(out), "▶ JSON a → b, ≤ 20 … ä▶") == b"> JSON a -> b, <= 20 ... ?>"


def test_people_see_every_sign_where_it_is_known() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert written(for_people(out), "▶ → ä") == "▶ → ä".encode()


def test_what_has_no_encoding_is_left_alone() -> None:
    out = io.StringIO()
    assert for_messages(out) is out
    assert for_people(out) is out
