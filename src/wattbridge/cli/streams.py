"""Standard output as commands need it: messages in UTF-8, and talk that every terminal can show."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import TextIO, TypeVar

Out = TypeVar("Out", bound=TextIO)

# What is written for a sign that the encoding of a terminal does not have.
PLAIN = {"▶": ">", "◀": "<", "→": "->", "…": "...", "≤": "<=", "·": "-"}


def for_messages(out: Out) -> Out:
    """*out* in UTF-8, whatever the locale says: what is written there is read by programs."""
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8")
    return out


def for_people(out: Out) -> Out:
    """*out*, with something plainer for what its encoding does not have."""
    if isinstance(out, io.TextIOWrapper):
        codecs.register_error("plain", _in_plain_signs)
        out.reconfigure(errors="plain")
    return out


def _in_plain_signs(problem: UnicodeError) -> tuple[str, int]:
    assert isinstance(problem, UnicodeEncodeError)
    signs = problem.object[problem.start : problem.end]
    return "".join(PLAIN.get(sign, "?") for sign in signs), problem.end


def forget_stdout() -> None:
    """Nothing more can be written there, not even what is still in the buffer at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
