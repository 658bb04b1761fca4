"""``--set a.b=c`` overrides one value, typed by its key, and is named in what goes wrong with it."""

from __future__ import annotations

import ipaddress

import pytest

from tests.config.test_reading import SMALL, config_of, problems, upstream


def test_a_value_is_typed_by_its_key() -> None:
    config = config_of(
        SMALL,
        "gateway.drain=5s",
        "gateway.name=0012",
        "time.milliseconds=yes",
        "upstreams.main.url=wss://csms.example.com/ocpp/{charger}",
        "upstreams.main.connect.backoff.jitter=0.5",
    )
    assert config.gateway.drain == 5.0
    assert config.gateway.name == "0012"
    assert config.time.milliseconds is True
    assert config.upstreams["main"].url == "wss://csms.example.com/ocpp/{charger}"
    assert config.upstreams["main"].connect.backoff.jitter == 0.5


def test_lists_and_mappings_are_written_as_in_the_file() -> None:
    config = config_of(
        SMALL,
        "listeners.soap.allow=[10.0.0.0/8, fd00::/8]",
        "chargers={CP2: {zone: Europe/Berlin}}",
        'upstreams.main.auth={basic: {username: "{charger}", password: {env: P}}}',
        env={"P": "geheim"},
    )
    assert config.listeners["soap"].allow == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("fd00::/8"),
    )
    assert list(config.chargers) == ["CP2"]
    assert config.upstreams["main"].auth is not None


def test_a_secret_may_be_named_in_either_way() -> None:
    text = upstream("url: wss://h/\nauth: {basic: {password: {env: OLD}}}")
    for override in (
        "upstreams.main.auth.basic.password={env: NEW}",
        "upstreams.main.auth.basic.password.env=NEW",
    ):
        auth = config_of(text, override, env={"NEW": "new"}).upstreams["main"].auth
        assert auth
        assert auth.basic
        assert auth.basic.password
        assert auth.basic.password.get_secret_value() == "new"


def test_items_of_lists_are_numbered() -> None:
    text = SMALL + "routes: [{name: all, match: any, upstream: other}]\n"
    assert config_of(text, "routes.0.upstream=main").routes[0].upstream == "main"
    config = config_of(SMALL, "routes.0={name: a, match: {charger: [A*]}, upstream: main}", "routes.1.name=b",
                       "routes.1.match=any", "routes.1.upstream=main")  # fmt: skip
    assert [route.name for route in config.routes] == ["a", "b"]


def test_a_key_with_dots_is_quoted() -> None:
    assert config_of(SMALL, 'chargers."DE.1=x".zone=UTC').chargers["DE.1=x"].zone is not None


def test_nothing_behind_the_sign_takes_a_value_away() -> None:
    text = SMALL + "gateway: {public_url: http://gw}\n"
    assert config_of(text, "gateway.public_url=").gateway.public_url is None


def test_a_shared_value_is_overridden_in_one_place() -> None:
    text = SMALL.replace("chargers: {CP1: {}}", "chargers: {A: &a {zone: UTC}, B: *a}")
    config = config_of(text, "chargers.A.zone=Europe/Berlin")
    assert str(config.chargers["A"].zone) == "Europe/Berlin"
    assert str(config.chargers["B"].zone) == "UTC"


def test_an_empty_file_can_be_filled() -> None:
    assert config_of("", "listeners.s.bind=127.0.0.1:0", "upstreams.u.url=ws://h/").upstreams["u"].url


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("gateway.drain=soon", "--set gateway.drain: 'soon' is no duration: write 500ms, 30s, 5m, 24h"),
        ("gateway.drian=5s", "--set gateway.drian: unknown key (did you mean 'drain'?)"),
        ("gateway.name", "--set gateway.name: expected PATH=VALUE, such as gateway.drain=5s"),
        ("=5", "--set : expected PATH=VALUE, such as gateway.drain=5s"),
        ("a..b=5", "--set a..b: expected PATH=VALUE, such as gateway.drain=5s"),
        ("gateway.name=", "--set gateway.name: has no value"),
        ("routes.1.name=b", "--set routes.1.name: '1' is no place in a list of 0: the first is 0"),
        ("routes.x.name=b", "--set routes.x.name: 'x' is no place in a list of 0: the first is 0"),
        (
            "listeners.soap.allow=[a",
            "--set listeners.soap.allow: is no YAML: did not find expected ',' or ']' while parsing a "
            "flow sequence that starts in line 1 "
            "(inside { } and [ ], quote a text that has one of { } [ ] , in it)",
        ),
        ("listeners.soap.allow=!x []", "--set listeners.soap.allow: tags such as '!x' are not read"),
        (
            "listeners.soap.allow=[nowhere]",
            "--set listeners.soap.allow: listeners.soap.allow.0: 'nowhere' is no network: "
            "write 10.20.0.0/16 or 10.20.4.17",
        ),
    ],
)
def test_a_wrong_override_is_named(override: str, problem: str) -> None:
    assert problems(SMALL, override) == [problem]


def test_a_secret_of_an_override_is_never_shown() -> None:
    text = upstream("url: wss://h/\nauth: {basic: {password: {env: OLD}}}")
    assert problems(text, "upstreams.main.auth.basic.password=geheim") == [
        "--set upstreams.main.auth.basic.password: warning: "
        "a secret stands in the file: write {env: NAME} or {file: path}"
    ]
    assert "geheim" not in "".join(problems(text, "upstreams.main.auth.basic.password=[geheim]"))
