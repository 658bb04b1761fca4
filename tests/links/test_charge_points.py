"""Whether a credential is a charge point's own, in every form the field sends it."""

from __future__ import annotations

import base64

import pytest

from wattbridge.links.charge_points import Once, presents

KEY = bytes.fromhex("abcdef00112233445566778899aabbccddeeff00")  # an AuthorizationKey of 20 bytes
DIGITS = KEY.hex().encode()


def basic(credential: bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(credential).decode()}"


@pytest.mark.parametrize("configured", [KEY, DIGITS, DIGITS.upper()])
@pytest.mark.parametrize("presented", [KEY, DIGITS, DIGITS.upper()])
def test_a_key_counts_as_bytes_and_as_its_digits_whichever_is_configured(
    configured: bytes, presented: bytes
) -> None:
    """OCPP-J 1.6, 6.2.2; half of the field sends the digits."""
    assert presents(basic(b"CP1:" + presented), "CP1", configured)


@pytest.mark.parametrize(
    ("credential", "identity", "password"),
    [
        (b"CP1:secret", "CP1", b"secret"),
        (b"CP1:se:cr:et", "CP1", b"se:cr:et"),
        (b"CP1:\xab\xcd\xef\x00", "CP1", b"\xab\xcd\xef\x00"),
        (b"CP1:", "CP1", b""),
        ("Säule:geheim".encode(), "Säule", b"geheim"),
        (b"RDAM 123:x", "RDAM 123", b"x"),
        (b"00:80:F4:44:13:AA:secret", "00:80:F4:44:13:AA", b"secret"),
        # No hexadecimal digits, and too few of them.
        (b"CP1:" + b"g" * 40, "CP1", b"g" * 40),
        (b"CP1:" + b"a5" * 10, "CP1", b"a5" * 10),
        (b"CP1:" + b"\xff" * 40, "CP1", b"\xff" * 40),
    ],
)
def test_the_password_is_bytes_and_ends_at_no_colon(
    credential: bytes, identity: str, password: bytes
) -> None:
    assert presents(basic(credential), identity, password)
    assert not presents(basic(credential + b"x"), identity, password)
    assert not presents(basic(b"x" + credential), identity, password)


@pytest.mark.parametrize("scheme", ["basic", "BASIC", " Basic "])
def test_the_scheme_is_known_in_any_letter_case(scheme: str) -> None:
    assert presents(basic(b"CP1:secret", scheme), "CP1", b"secret")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic Q1AxOnNlY3JldA",  # not padded
        "Bearer Q1AxOnNlY3JldA==",
        basic(b"CP1secret"),
        basic(b"CP1:wrong"),
        basic(b"CP2:secret"),
        basic(b"cp1:secret"),
        basic(b":secret"),
        basic(b"CP1:secret "),
        basic(b"CP1"),
        basic(b""),
    ],
)
def test_anything_else_is_no_credential(authorization: str | None) -> None:
    assert not presents(authorization, "CP1", b"secret")


def test_too_few_digits_are_a_password_like_others() -> None:
    assert not presents(basic(b"CP1:" + bytes.fromhex("a5" * 10)), "CP1", b"a5" * 10)


@pytest.mark.parametrize("authorization", [None, "Basic !!!", basic(b"CP2:other")])
def test_who_needs_no_password_may_present_anything(authorization: str | None) -> None:
    assert presents(authorization, "CP1", None)


def test_something_is_told_once_of_each() -> None:
    told = Once(most=2)
    assert [told.first(identity) for identity in ("CP1", "CP1", "CP2", "CP1")] == [True, False, True, False]
    assert told.first("CP3")
    assert told.first("CP1")  # it was forgotten for CP3
