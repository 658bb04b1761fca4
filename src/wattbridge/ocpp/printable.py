"""Texts that somebody else chose, as they may stand in a line for people.

What a terminal would obey (control characters, among them line breaks and escapes; marks that turn the
direction of text) is written as Python writes it. All letters and signs stay.
"""

from __future__ import annotations

import re

# What JSON lets stand in a string, and a terminal may obey.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """``"CP\\n1"`` → ``"CP\\\\n1"``: one line, without anything that is not seen."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_json(text: str) -> str:
    """The same JSON, with escapes for what would be obeyed."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
