"""``wattbridge admin``: hashes of tokens, and who did what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.keeping import Keeping, a_gateway_that_keeps
from tests.cli.test_main import run
from wattbridge.operation.api.tokens import is_hash_of


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Keeping]:
    with a_gateway_that_keeps(tmp_path) as keeping:
        yield keeping


def test_a_token_is_hashed() -> None:
    code, out, err = run("admin", "hash-token", text=b"a-token-of-some-length\n")
    assert (code, err) == (0, "")
    assert is_hash_of(out.strip(), "a-token-of-some-length")


def test_a_new_token_is_made() -> None:
    code, out, _ = run("admin", "hash-token", "--new")
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert code == 0
    assert len(lines["token"]) == 43
    assert is_hash_of(lines["hash"], lines["token"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"short\n", "the token has 5 characters, expected at least 16: --new makes one"),
        (b"two words of some length", "the token has blanks, or other characters than those of ASCII"),
        ("Zugangsschlüssel-1".encode(), "the token has blanks, or other characters than those of ASCII"),
    ],
)
def test_what_can_be_guessed_or_not_be_sent_is_refused(text: bytes, said: str) -> None:
    assert run("admin", "hash-token", text=text) == (2, "", f"wattbridge: {said}\n")


def test_who_did_what_is_a_table(gateway: Keeping) -> None:
    assert gateway.run("admin", "audit") == (0, "nothing was done\n", "")
    gateway.run("queue", "retry", "CP/1", "17")
    gateway.run("queue", "retry", "CP/1", "99")
    code, out, err = gateway.run("admin", "audit")
    head, last, first = (re.split(" {2,}", line) for line in out.splitlines())
    assert (code, err, head[0]) == (0, "", "time")
    assert "POST /queue/CP%2F1/99/retry" in last
    assert last[-1] == "no message of charge point 'CP/1' waits at position 99"
    assert "POST /queue/CP%2F1/17/retry" in first
    [told] = json.loads(gateway.run("admin", "audit", "--limit", "1", "--json")[1])
    assert (told["who"], told["charger"], told["status"]) == ("admin", "CP/1", 404)
    assert gateway.run("admin", "audit", "--who", "depot") == (0, "nothing was done\n", "")
