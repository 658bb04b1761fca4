"""The words of the configuration file: what is read, what is refused and with which sentence."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbridge.config import values
from wattbridge.config.values import Bind


def refusal(read: Callable[[str], Any], text: str) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        read(text)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30.0), ("1.5s", 1.5), ("5m", 300.0), ("24h", 86400.0), ("7d", 604800.0)],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert values.read_duration(text) == seconds


def test_durations_add_up_and_zero_needs_no_unit() -> None:
    assert values.read_duration("1h30m") == 5400.0
    assert values.read_duration("0") == values.read_duration("0s") == 0.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("30", "'30' has no unit: write 30s for seconds (ms, s, m, h, d)"),
        ("-5s", "'-5s' is negative: a duration is 0s or longer"),
        ("soon", "'soon' is no duration: write 500ms, 30s, 5m, 24h"),
        ("", "'' is no duration: write 500ms, 30s, 5m, 24h"),
        ("٣s", "'٣s' is no duration: write 500ms, 30s, 5m, 24h"),
        ("9" * 5000 + "s", f"'{'9' * 59}…' is no duration: write 500ms, 30s, 5m, 24h"),
    ],
)
def test_what_is_no_duration_is_named(text: str, sentence: str) -> None:
    assert refusal(values.read_duration, text) == sentence


@given(st.integers(0, 10**9))
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert values.read_duration(values.write_duration(seconds)) == pytest.approx(seconds, rel=1e-9)


@given(st.integers(0, 2**40))
def test_a_size_survives_being_written(size: int) -> None:
    assert values.read_size(values.write_size(size)) == size


@given(st.integers(1, 10**6), st.sampled_from("smh"))
def test_a_rate_survives_being_written(count: int, unit: str) -> None:
    per_second = values.read_rate(f"{count}/{unit}")
    assert values.read_rate(values.write_rate(per_second)) == pytest.approx(per_second, rel=1e-6)


def test_sizes_are_binary() -> None:
    assert values.read_size("256KiB") == 262144
    assert values.read_size("1MiB") == 1048576
    assert values.read_size("512B") == 512
    assert refusal(values.read_size, "256KB") == "'256KB' is no size: write 512B, 256KiB, 1MiB"
    assert refusal(values.read_size, "4096") == "'4096' has no unit: write 4096B for bytes (B, KiB, MiB, GiB)"
    assert refusal(values.read_size, "-1KiB") == "'-1KiB' is negative: a size is 0B or more"


def test_a_rate_is_read_as_events_per_second() -> None:
    assert values.read_rate("50/s") == 50.0
    assert values.read_rate("30/m") == 0.5
    assert refusal(values.read_rate, "50") == "'50' does not say per what: write 50/s, 50/m or 50/h"
    assert refusal(values.read_rate, "fast") == "'fast' is no rate: write 50/s, 10/m, 100/h"


@pytest.mark.parametrize("text", ["true", "yes", "on", "True", "YES"])
def test_yes_is_said_in_three_words(text: str) -> None:
    assert values.read_flag(text) is True


@pytest.mark.parametrize("text", ["false", "no", "off", "OFF"])
def test_no_is_said_in_three_words(text: str) -> None:
    assert values.read_flag(text) is False


def test_one_is_no_boolean() -> None:
    assert refusal(values.read_flag, "1") == "'1' is neither true (yes, on) nor false (no, off)"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:8080", "0.0.0.0", 8080),
        ("[::1]:8080", "::1", 8080),
        ("localhost:0", "localhost", 0),
        ("gw-1.example.net:65535", "gw-1.example.net", 65535),
    ],
)
def test_a_bind_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    bind = values.read_bind(text)
    assert bind == Bind(host, port)
    assert str(bind) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0.0.0.0:99999", "'0.0.0.0:99999': '99999' is no port: expected 0 to 65535"),
        ("0.0.0.0", "'0.0.0.0' has no port: write host:port, such as 0.0.0.0:8080"),
        ("[::1]", "'[::1]' has no port: write host:port, such as 0.0.0.0:8080"),
        (":8080", "':8080' has no host: write 0.0.0.0:8080 for every interface"),
        ("*:8080", "'*:8080' has no host: write 0.0.0.0:8080 for every interface"),
        ("::1:8080", "'::1:8080': write an IPv6 address in brackets, such as [::1]:8080"),
        ("[::g]:80", "'[::g]:80': '::g' is no IPv6 address"),
        ("300.1.1.1:80", "'300.1.1.1' is no IPv4 address"),
        ("a b:80", "'a b' is no host name or address"),
        ("localhost:http", "'localhost:http': 'http' is no port: expected 0 to 65535"),
        ("http://0.0.0.0:80", "'http://0.0.0.0:80' is a URL: write only host:port, such as 0.0.0.0:8080"),
    ],
)
def test_what_is_no_bind_is_named(text: str, sentence: str) -> None:
    assert refusal(values.read_bind, text) == sentence


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("localhost:80", "[::1]:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("0.0.0.0:80", "[::1]:80", False),
        ("[::]:80", "[fe80::1]:80", True),
        ("0.0.0.0:80", "0.0.0.0:81", False),
        ("0.0.0.0:0", "0.0.0.0:0", False),
    ],
)
def test_two_binds_overlap_when_the_system_would_refuse_the_second(
    one: str, other: str, overlap: bool
) -> None:
    assert values.read_bind(one).overlaps(values.read_bind(other)) is overlap


def test_a_network_may_be_one_address() -> None:
    assert values.read_network("10.20.0.0/16") == ipaddress.ip_network("10.20.0.0/16")
    assert values.read_network("10.20.4.17") == ipaddress.ip_network("10.20.4.17/32")
    assert values.read_network("fd00::/8") == ipaddress.ip_network("fd00::/8")


def test_a_network_with_host_bits_is_refused_with_the_one_that_was_meant() -> None:
    assert refusal(values.read_network, "10.20.4.17/16") == (
        "'10.20.4.17/16' has bits set behind the prefix (did you mean '10.20.0.0/16'?)"
    )
    assert refusal(values.read_network, "depot") == "'depot' is no network: write 10.20.0.0/16 or 10.20.4.17"


def test_a_zone_is_one_of_the_iana_database() -> None:
    assert values.read_zone("Europe/Berlin").key == "Europe/Berlin"
    assert refusal(values.read_zone, "Europe/Berln") == (
        "'Europe/Berln' is no time zone of the IANA database (did you mean 'Europe/Berlin'?)"
    )


@pytest.mark.parametrize("text", ["Europe", "../../etc/passwd", "/etc/passwd", "", "CET CEST"])
def test_what_is_no_zone_is_refused_without_a_trace(text: str) -> None:
    assert "is no time zone of the IANA database" in refusal(values.read_zone, text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("wss://csms.example.com/ocpp/{charger}", "wss://csms.example.com/ocpp/{charger}"),
        ("wss://csms.example.com/ocpp", "wss://csms.example.com/ocpp/{charger}"),
        ("ws://127.0.0.1:9000", "ws://127.0.0.1:9000/{charger}"),
        ("ws://127.0.0.1:9000/", "ws://127.0.0.1:9000/{charger}"),
        ("WSS://[::1]/a/?t=1", "wss://[::1]/a/{charger}?t=1"),
        ("WSS://csms_1/{charger}?t=1", "wss://csms_1/{charger}?t=1"),
    ],
)
def test_the_identity_is_the_last_segment_of_the_address(text: str, url: str) -> None:
    """OCPP-J 1.6, 3.1.1."""
    assert values.read_websocket_url(text) == url


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "https://csms.example.com/",
            "starts with 'https://', expected ws:// or wss:// (did you mean wss://?)",
        ),
        ("csms.example.com", "is no URL: it starts with ws:// or wss://"),
        ("ws://h/{charger}/x", "{charger} must be the last segment of the path, and stand there once"),
        (
            "ws://h/{charger}/{charger}",
            "{charger} must be the last segment of the path, and stand there once",
        ),
        (
            "ws://h/?id={charger}",
            "{charger} must be the last segment of the path, and stand there once",
        ),
        ("ws://h/cp-{charger}", "{charger} must be a whole segment of the path, found 'cp-{charger}'"),
        ("ws://h/{id}", "{id} is no placeholder here: only {charger} is"),
        (
            "wss://user:geheim@h/",
            "has a user name or a password in it: credentials do not belong in an address",
        ),
        ("ws://h/#a", "has a fragment (#…), which is never sent"),
        ("ws:///x", "is no URL: it has no host"),
        ("ws://h:0/", "has port 0, where nobody can be reached"),
        ("ws://h:99999/", "is no URL: port out of range 0-65535"),
        ("ws://[::1/", "is no URL: invalid IPv6 URL"),
        ("ws://a b/", 'is no URL: it has blanks or one of "<>\\^`|'),
        ("ws://{charger}.example.com/", "'{charger}.example.com' is no host name or address"),
        ("ws://1.2.3/", "'1.2.3' is no IPv4 address"),
    ],
)
def test_what_is_no_address_of_a_central_system_is_named(text: str, sentence: str) -> None:
    assert refusal(values.read_websocket_url, text) == sentence


def test_the_public_address_is_scheme_host_and_port() -> None:
    assert values.read_public_url("http://gw.example.net:8080/") == "http://gw.example.net:8080"
    for text in ("http://gw/ocpp", "http://gw?x=1", "http://gw/?"):
        assert refusal(values.read_public_url, text) == (
            "has a path or a query: write only scheme, host and port, such as http://gw:8080"
        )


def test_a_callback_template_has_places_for_what_is_known() -> None:
    for text in (
        "http://{source_ip}:8090/",
        "https://{source_ip}/{charger}",
        "http://nat.example.net/{charger}",
    ):
        assert values.read_callback_template(text) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "http://10.0.0.1/",
            "has neither {source_ip} nor {charger}: every charge point would have the same address",
        ),
        ("http://{ip}/", "{ip} is no placeholder here: {source_ip} and {charger} are"),
        ("ftp://{source_ip}/", "starts with 'ftp://', expected http:// or https://"),
    ],
)
def test_what_is_no_callback_template_is_named(text: str, sentence: str) -> None:
    assert refusal(values.read_callback_template, text) == sentence


def test_an_identity_is_one_line_that_a_url_can_end_in() -> None:
    for text in ("0012345", "DE*ABC*E0001", "RDAM 123", "Säule-1", "a/b"):
        assert values.read_identity(text) == text
    for text in ("", ".", "..", " CP1", "CP\n1", "CP\x9b1", "x" * 256):
        assert "identity" in refusal(values.read_identity, text)


def test_a_path_starts_with_a_slash() -> None:
    assert values.read_url_path("/ocpp/cs") == "/ocpp/cs"
    assert refusal(values.read_url_path, "ocpp/cs") == (
        "'ocpp/cs' is no path: it starts with '/', such as /ocpp/cs"
    )
    for text in ("/a?b", "/a b", "/a#b", "/{charger}"):
        assert "is no path: it has blanks or one of" in refusal(values.read_url_path, text)


def test_a_listener_has_addresses_of_two_kinds() -> None:
    for text in ("/ocpp/cs", "/ocpp/{charger}", "/{charger}", "/"):
        assert values.read_listener_path(text) == text
    last = "{charger} must be the last segment of the path, as a whole, and stand there once"
    for text in ("/cp-{charger}", "/{charger}/ws", "/{charger}/{charger}"):
        assert refusal(values.read_listener_path, text) == last
    assert "is no path: it has blanks or one of" in refusal(values.read_listener_path, "/{id}")
    assert "it starts with '/'" in refusal(values.read_listener_path, "ocpp/cs")


def test_a_callback_path_ends_in_the_identity() -> None:
    for text in ("/ocpp/cp/{charger}", "/{charger}"):
        assert values.read_callback_path(text) == text
    for text in ("/ocpp/cp", "/ocpp/cp-{charger}", "/{charger}/cp", "/{charger}/{charger}"):
        assert refusal(values.read_callback_path, text) == (
            f"{text!r} does not end in /{{charger}}: write /ocpp/cp/{{charger}}"
        )
    assert "is no path" in refusal(values.read_callback_path, "/a b/{charger}")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("wss://csms.example.com/ocpp", "wss://csms.example.com/ocpp/{charger}"),
        ("HTTPS://old.example.com/cs", "https://old.example.com/cs"),
        ("http://127.0.0.1:8080/cs?site=1", "http://127.0.0.1:8080/cs?site=1"),
        ("http://old.example.com/{charger}/cs", "http://old.example.com/{charger}/cs"),
    ],
)
def test_the_address_of_soap_is_used_as_it_is(text: str, url: str) -> None:
    assert values.read_upstream_url(text) == url


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("csms.example.com", "is no URL: it starts with ws://, wss://, http:// or https://"),
        ("ftp://h/", "starts with 'ftp://', expected ws://, wss://, http:// or https://"),
        ("http://h/{id}", "{id} is no placeholder here: only {charger} is"),
        (
            "wss://h/säulen/{charger}",
            "has letters that no URL has: write %C3%BC for ü, and a host name as xn--…",
        ),
        (
            "http://u:geheim@h/",
            "has a user name or a password in it: credentials do not belong in an address",
        ),
        ("ws://h/{charger}/x", "{charger} must be the last segment of the path, and stand there once"),
    ],
)
def test_what_is_no_address_of_any_central_system_is_named(text: str, sentence: str) -> None:
    assert refusal(values.read_upstream_url, text) == sentence


def test_a_callback_address_tells_charge_points_apart() -> None:
    url = "https://gw.example.net/ocpp/cp/{charger}"
    assert values.read_callback_url(url) == url
    assert refusal(values.read_callback_url, "https://gw.example.net/") == (
        "has no {charger}: every charge point would have the same address"
    )
    assert "expected http:// or https://" in refusal(values.read_callback_url, "ws://gw/{charger}")


def test_a_bracket_of_a_pattern_is_closed() -> None:
    for text in ("EVB-[0-9]*", "[!A]*", "[]]x", "[[]x", "a]", "*"):
        assert values.read_glob(text) == values.read_word_glob(text) == text
    for text in ("EVB-[0-9", "[]", "[0-9][", "[!]"):
        assert refusal(values.read_glob, text) == (
            f"{text!r} has a [ that is never closed: write [[] for the sign itself"
        )
    assert refusal(values.read_word_glob, "") == "'' is no pattern: write ACME or CC-1*"


@pytest.mark.parametrize(
    ("text", "comparisons"),
    [
        ("<1.4", (("<", "1.4"),)),
        (">=1.2,<1.4", ((">=", "1.2"), ("<", "1.4"))),
        (">= 1.2, != v1.3-beta", ((">=", "1.2"), ("!=", "v1.3-beta"))),
        ("==2", (("==", "2"),)),
        ("1.4*", ()),
        ("EVB_[0-9]*", ()),
    ],
)
def test_firmware_is_compared_or_fits_a_pattern(text: str, comparisons: tuple[tuple[str, str], ...]) -> None:
    assert values.read_firmware(text) == text
    assert values.comparisons_of(text) == comparisons


@pytest.mark.parametrize(
    ("text", "part"), [("<", "<"), ("=1.4", "=1.4"), (">=1.2,1.4", "1.4"), ("<beta", "<beta"), (">=1,", "")]
)
def test_a_comparison_needs_a_version(text: str, part: str) -> None:
    assert refusal(values.read_firmware, text) == (
        f"{part!r} compares with no version: write <1.4, <=, >, >=, == or != and a version that begins with "
        "a number"
    )


def test_a_regular_expression_is_one() -> None:
    assert values.read_regex("^EVB-(.*)$") == "^EVB-(.*)$"
    assert refusal(values.read_regex, "(") == (
        "'(' is no regular expression: missing ), unterminated subpattern at position 0"
    )
    assert refusal(values.read_regex, "") == "'' is no regular expression: write ^EVB-(.*)$"
    assert values.read_template("") == ""
    assert refusal(values.read_template, "a\n") == "expected one line of text"


def test_only_this_machine_reaches_loopback() -> None:
    assert [values.is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "LocalHost")] == [True] * 4
    assert [values.is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "gw.example.net")] == [
        False
    ] * 4


def test_other_words_are_refused_with_an_example() -> None:
    assert "no name" in refusal(values.read_name, "_other")
    assert "no name" in refusal(values.read_name, "x" * 65)
    assert "no whole number" in refusal(values.read_whole, "1.5")
    assert "no number" in refusal(values.read_number, "1e3")
    assert "negative" in refusal(values.read_number, "-1")
    assert "no subprotocol" in refusal(values.read_token, "ocpp 1.6")
    assert "no pattern" in refusal(values.read_glob, "")
    assert "no absolute URI" in refusal(values.read_uri, "/ocpp")
    assert "colon" in refusal(values.read_username, "a:b")
    assert "{id} is no placeholder" in refusal(values.read_username, "{id}")


def test_a_suggestion_is_made_only_for_what_is_close() -> None:
    assert values.suggest("mian", ["main", "audit"]) == " (did you mean 'main'?)"
    assert values.suggest("Main", ["main"]) == " (did you mean 'main'?)"
    assert values.suggest("nothing", ["main", "audit"]) == ""


def test_a_text_is_shown_on_one_short_line() -> None:
    assert values.shorten("a\nb") == "'a\\nb'"
    assert len(values.shorten("x" * 1000)) == 62
