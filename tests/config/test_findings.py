"""What sections say against each other, and what works but is rarely meant."""

from __future__ import annotations

import pytest

from tests.config.test_reading import SMALL, problems, upstream

TWO = """\
listeners: {soap: {bind: "127.0.0.1:0"}}
chargers: {CP1: {}}
upstreams: {north: {url: "ws://127.0.0.1/n/"}, south: {url: "ws://127.0.0.1/s/"}}
"""


def told(text: str) -> list[str]:
    return [problem.removeprefix("gateway.yaml:") for problem in problems(text)]


def test_a_sound_configuration_has_no_findings() -> None:
    assert told(SMALL) == []


class TestRoutes:
    def test_two_upstreams_need_routes(self) -> None:
        question = "is missing: which charge points belong to which of 'north', 'south'?"
        assert told(TWO) == [f"1:1: routes: {question}"]

    def test_the_last_route_must_match_all(self) -> None:
        assert told(TWO + 'routes:\n  - {name: n, match: {charger: ["N*"]}, upstream: north}\n') == [
            "5:15: routes.0.match: the last route must match every charge point: write any"
        ]

    def test_a_star_matches_all(self) -> None:
        assert told(SMALL + 'routes: [{name: a, match: {charger: ["*"]}, upstream: main}]\n') == []

    def test_what_stands_behind_a_route_for_all_is_never_reached(self) -> None:
        routes = """\
routes:
  - {name: a, match: any, upstream: north}
  - {name: b, match: any, upstream: south}
"""
        assert told(TWO + routes) == [
            "6:5: warning: routes.1: is never reached: routes.0 matches every charge point"
        ]

    def test_two_routes_of_one_name_cannot_be_told_apart(self) -> None:
        routes = """\
routes:
  - {name: a, match: {charger: [A]}, upstream: north}
  - {name: a, match: any, upstream: south}
"""
        assert told(TWO + routes) == ["6:6: routes.1.name: 'a' is already the name of routes.0"]

    def test_an_upstream_nobody_is_sent_to_is_named(self) -> None:
        routes = "routes: [{name: a, match: any, upstream: north}]\n"
        assert told(TWO + routes) == ["3:48: warning: upstreams.south: no route leads here"]

    def test_an_upstream_that_is_not_there_is_named_with_those_that_are(self) -> None:
        routes = "routes: [{name: a, match: any, upstream: elsewhere}]\n"
        assert told(TWO + routes) == [
            "4:32: routes.0.upstream: no upstream 'elsewhere' (there is 'north', 'south')"
        ]

    @pytest.mark.parametrize("match", ["al", "[A]", ""])
    def test_a_match_is_any_or_a_mapping(self, match: str) -> None:
        [problem] = told(SMALL + f"routes: [{{name: a, match: {match}, upstream: main}}]\n")[:1]
        assert problem.startswith("6:20: routes.0.match: expected any or {charger: [BER-*]}, found")

    def test_routes_of_a_wrong_shape_are_told_once(self) -> None:
        assert told(SMALL + "routes: all\n") == ["6:1: routes: expected a list, found a text: write [all]"]
        assert told(SMALL + "routes: [all]\n") == ["6:10: routes.0: expected a mapping, found a text"]


def test_two_listeners_cannot_have_one_address() -> None:
    text = 'listeners:\n  a: {bind: "0.0.0.0:80"}\n  b: {bind: "127.0.0.1:80"}\nupstreams: {u: {url: "ws://h/"}}\n'
    assert told(text + "chargers: {CP1: }\n") == [
        "3:7: listeners.b.bind: 127.0.0.1:80 is taken already: listeners.a.bind is 0.0.0.0:80"
    ]


def test_refusing_everybody_is_rarely_meant() -> None:
    assert told(SMALL.replace("chargers: {CP1: {}}\n", "")) == [
        "1:1: warning: gateway.unknown: every charge point is refused: none is listed under chargers "
        "(or write accept)"
    ]


def test_accepting_everybody_from_everywhere_is_rarely_meant() -> None:
    text = SMALL.replace("127.0.0.1:8080", "0.0.0.0:8080") + "gateway: {unknown: accept}\n"
    assert told(text) == [
        "2:3: warning: listeners.soap.allow: is empty while unknown charge points are accepted: "
        "whoever reaches this address can speak as any charge point"
    ]
    assert told(text.replace("0.0.0.0", "127.0.0.1")) == []


def test_a_network_of_everything_is_rarely_meant() -> None:
    assert told(SMALL + 'callbacks: {networks: ["0.0.0.0/0"]}\n') == [
        "6:24: warning: callbacks.networks.0: 0.0.0.0/0 lets a charge point have the gateway call "
        "any address there is"
    ]


def test_a_password_without_tls_is_warned_of_unless_it_stays_here() -> None:
    secret = "\nauth: {basic: {password: {env: P}}}"

    def warnings(url: str) -> list[str]:
        return problems(upstream(f"url: {url}{secret}"), env={"P": "x"})

    assert warnings("ws://csms.example.com/") == [
        "gateway.yaml:5:5: warning: upstreams.main.url: the password travels unencrypted: use wss://"
    ]
    assert warnings("ws://127.0.0.1:9000/") == warnings("ws://localhost/") == warnings("wss://h/") == []


def test_tls_that_protects_nothing_is_warned_of() -> None:
    assert told(upstream("url: wss://h/\ntls: {verify: no}")) == [
        "6:11: warning: upstreams.main.tls.verify: anybody can pose as this central system"
    ]
    assert told(upstream("url: ws://h/\ntls: {verify: no}")) == [
        "6:5: warning: upstreams.main.tls: is not used: the URL starts with ws://"
    ]


def test_an_identity_with_a_colon_cannot_be_a_user_name() -> None:
    """RFC 7617, 2."""
    text = upstream("url: wss://h/\nauth: {basic: {password: {env: P}}}").replace("CP1", '"a:b"')
    assert problems(text, env={"P": "x"}) == [
        'gateway.yaml:2:12: warning: chargers."a:b": has a colon, so HTTP Basic authentication at main fails '
        "(RFC 7617, 2)"
    ]


def test_the_keys_of_the_file_cannot_write_on_the_terminal() -> None:
    [problem] = told(SMALL + '"a\\e[31m\\n": {}\n')
    assert problem.startswith('6:1: "a\\u001b[31m\\n": unknown key')
