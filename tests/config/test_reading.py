"""A file becomes a configuration, or every problem in it is told at once with its place."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.config.certificates import AUTHORITY
from wattbridge.config import Bind, Config, ConfigErrors, load, read_text

SMALL = """\
listeners:
  soap: {bind: "127.0.0.1:8080"}
upstreams:
  main: {url: "ws://127.0.0.1:9000/"}
chargers: {CP1: {}}
"""


def config_of(text: str, *overrides: str, env: Mapping[str, str] | None = None) -> Config:
    return read_text(text, overrides=overrides, env=env or {}).config


def problems(
    text: str, *overrides: str, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> list[str]:
    """Errors and warnings, as they are printed."""
    try:
        return [*map(str, read_text(text, overrides=overrides, env=env or {}, folder=folder).warnings)]
    except ConfigErrors as errors:
        return [*map(str, errors.problems)]


def upstream(lines: str) -> str:
    """A file whose upstream has these further lines, from line 5 on."""
    head = 'listeners: {soap: {bind: "127.0.0.1:0"}}\nchargers: {CP1: {}}\nupstreams:\n  main:\n    '
    return head + lines.replace("\n", "\n    ") + "\n"


class TestWhatIsRead:
    def test_two_sections_are_enough(self) -> None:
        config = config_of(SMALL)
        assert config.version == 1
        assert config.gateway.name == "wattbridge"
        assert config.gateway.unknown == "refuse"
        assert config.listeners["soap"].bind == Bind("127.0.0.1", 8080)
        assert "/steve/services/CentralSystemService" in config.listeners["soap"].paths
        assert config.listeners["soap"].limits.body == 262144
        assert config.upstreams["main"].url == "ws://127.0.0.1:9000/{charger}"
        assert config.upstreams["main"].connect.backoff.max == 120.0
        assert config.upstreams["main"].auth is None
        assert config.callbacks.template is None
        assert config.sessions.alive == 3.0
        assert config.time.zone == ZoneInfo("UTC")
        assert config.metrics.bind == Bind("127.0.0.1", 9181)

    def test_one_upstream_needs_no_route(self) -> None:
        [route] = config_of(SMALL).routes
        assert (route.name, route.upstream, route.match.charger) == ("all", "main", ("*",))

    def test_an_identity_keeps_its_zeros_and_a_name_may_be_yes(self) -> None:
        config = config_of(
            SMALL.replace("CP1: {}", "0012345: {zone: Europe/Berlin}, yes: {}, 1.10: ")
            + "gateway: {name: on}\n"
        )
        assert list(config.chargers) == ["0012345", "yes", "1.10"]
        assert config.gateway.name == "on"

    def test_a_version_may_stand_without_quotes(self) -> None:
        config = config_of(SMALL.replace('8080"', '8080", versions: [1.6]'))
        assert config.listeners["soap"].versions == ("1.6",)

    def test_routes_keep_their_order(self) -> None:
        config = config_of("""\
listeners: {soap: {bind: "127.0.0.1:0"}}
upstreams: {north: {url: "ws://n/"}, south: {url: "ws://s/"}}
routes:
  - {name: one, match: {charger: ["BER-*", "HAM-00[0-9]"]}, upstream: north}
  - {name: all, match: any, upstream: south}
""")
        assert [(route.match.charger, route.upstream) for route in config.routes] == [
            (("BER-*", "HAM-00[0-9]"), "north"),
            (("*",), "south"),
        ]

    def test_a_charge_point_may_have_a_zone_of_its_own(self) -> None:
        config = config_of(SMALL + "time: {zone: Europe/Paris}\n", "chargers.CP2.zone=Europe/Berlin")
        assert config.zone_of("CP1").key == config.zone_of("unknown").key == "Europe/Paris"
        assert config.zone_of("CP2").key == "Europe/Berlin"

    def test_a_key_with_nothing_behind_it_is_an_empty_mapping_or_list(self) -> None:
        config = config_of(
            'listeners:\n  soap:\n    bind: "127.0.0.1:0"\n    limits:\n    allow:\n'
            'upstreams: {main: {url: "ws://h/", auth: , tls: }}\nroutes:\nchargers:\n  CP1:\ngateway:\n'
        )
        assert config.listeners["soap"].allow == ()
        assert config.listeners["soap"].limits.connections == 2000
        assert config.upstreams["main"].auth is None
        assert config.chargers["CP1"].zone is None

    def test_networks_are_networks(self) -> None:
        config = config_of(SMALL + "callbacks: {networks: [10.20.0.0/16]}\n")
        assert config.callbacks.networks == (ipaddress.ip_network("10.20.0.0/16"),)

    def test_nothing_can_be_changed_afterwards(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            config_of(SMALL).gateway.name = "other"

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("gateway.json", '{"listeners": {"s": {"bind": "[::1]:0"}}, "upstreams": {"u": {"url": "ws://h"}},'
             ' "sessions": {"alive": 2.5}, "time": {"milliseconds": true}}'),
            ("gateway.toml", 'sessions.alive = 2.5\ntime.milliseconds = true\n[listeners.s]\n'
             'bind = "[::1]:0"\n'
             '[upstreams.u]\nurl = "ws://h"\n'),
        ],
    )  # fmt: skip
    def test_json_and_toml_are_read_with_the_same_rules(self, name: str, text: str) -> None:
        config = read_text(text, name).config
        assert config.listeners["s"].bind == Bind("::1", 0)
        assert config.sessions.alive == 2.5
        assert config.time.milliseconds is True
        assert config.upstreams["u"].url == "ws://h/{charger}"


class TestSecrets:
    def basic(self, password: str) -> str:
        return upstream(f"url: wss://h/\nauth: {{basic: {{password: {password}}}}}")

    def password(self, config: Config) -> str:
        auth = config.upstreams["main"].auth
        assert auth
        assert auth.basic
        assert auth.basic.password
        return auth.basic.password.get_secret_value()

    def test_a_secret_comes_from_the_environment(self) -> None:
        config = config_of(self.basic("{env: CSMS_PASSWORD}"), env={"CSMS_PASSWORD": "geheim"})
        assert self.password(config) == "geheim"

    def test_a_secret_comes_from_a_file_beside_the_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("geheim\n")
        config = read_text(self.basic("{file: password}"), folder=tmp_path).config
        assert self.password(config) == "geheim"

    def test_a_secret_is_never_shown(self) -> None:
        config = config_of(self.basic("{env: P}"), env={"P": "geheim"})
        assert "geheim" not in repr(config) + str(config) + config.model_dump_json()

    def test_a_secret_in_the_file_works_with_a_warning(self) -> None:
        loaded = read_text(self.basic("geheim"))
        assert self.password(loaded.config) == "geheim"
        assert [*map(str, loaded.warnings)] == [
            "gateway.yaml:6:20: warning: upstreams.main.auth.basic.password: "
            "a secret stands in the file: write {env: NAME} or {file: path}"
        ]

    @pytest.mark.parametrize(
        ("password", "sentence"),
        [
            ("{env: NOPE}", "environment variable 'NOPE' is not set"),
            ("{env: EMPTY}", "environment variable 'EMPTY' is empty"),
            ("{env: LINES}", "environment variable 'LINES' has control characters or more than one line"),
            ("{file: nope}", "file 'nope': no such file"),
            ("{file: .}", "file '.': is a directory"),
            ("{file: binary}", "file 'binary' is not UTF-8 text"),
            ("{file: huge}", "file 'huge': is larger than 64KiB"),
            ('{file: "a\\0b"}', "file 'a\\x00b': no file has such a name"),
            ("{vault: x}", "is no secret: write {env: NAME} or {file: path}"),
            ("[geheim]", "is no secret: write {env: NAME} or {file: path}"),
            ("", "has no value: write {env: NAME} or {file: path}"),
        ],
    )
    def test_a_secret_that_cannot_be_had_is_an_error_with_its_place(
        self, tmp_path: Path, password: str, sentence: str
    ) -> None:
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
        (tmp_path / "huge").write_bytes(b"x" * 70_000)
        env = {"EMPTY": "", "LINES": "a\nb"}
        assert problems(self.basic(password), env=env, folder=tmp_path) == [
            f"gateway.yaml:6:20: upstreams.main.auth.basic.password: {sentence}"
        ]

    def test_no_message_repeats_what_might_be_a_secret(self) -> None:
        for auth in ("geheim", "{basic: geheim}", "{basic: [geheim]}", "{basic: {password: [geheim]}}"):
            told = problems(upstream(f"url: wss://u:geheim@h/\nauth: {auth}"))
            assert len(told) == 2
            assert "geheim" not in "".join(told)

    def test_a_certificate_file_is_looked_at(self, tmp_path: Path) -> None:
        text = upstream("url: wss://h/\ntls: {ca: ca.pem}")
        place = "gateway.yaml:6:11: upstreams.main.tls.ca"
        assert problems(text, folder=tmp_path) == [f"{place}: file 'ca.pem': no such file"]
        (tmp_path / "ca.pem").write_text("hello\n")
        assert problems(text, folder=tmp_path) == [
            f"{place}: file 'ca.pem' holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        ]

    @pytest.mark.parametrize(
        "content",
        [
            AUTHORITY,
            AUTHORITY * 2,
            AUTHORITY.replace("\n", "\r\n"),
            f"\ufeff# Bundle für die Säulen\n{AUTHORITY}",
        ],
        ids=["one", "two", "CRLF", "comment"],
    )
    def test_a_file_of_certificates_is_taken(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "ca.pem").write_text(content, encoding="utf-8", newline="")
        config = read_text(upstream("url: wss://h/\ntls: {ca: ca.pem}"), folder=tmp_path).config
        assert config.upstreams["main"].tls.ca == tmp_path / "ca.pem"
        ssl.create_default_context(cafile=tmp_path / "ca.pem")  # as the gateway takes it

    @pytest.mark.parametrize(
        "content",
        [
            "-----BEGIN CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
            AUTHORITY.removesuffix("-----END CERTIFICATE-----\n"),
            AUTHORITY.replace("MII", "M!I", 1),
            AUTHORITY.replace("\n", "\n  "),
            AUTHORITY + AUTHORITY[:300],
            AUTHORITY + AUTHORITY.replace("CERTIFICATE", "X509 CRL"),
        ],
        ids=[
            "only begun",
            "no certificate",
            "no end",
            "no base64",
            "indented",
            "second cut off",
            "wrong CRL",
        ],
    )
    def test_a_damaged_file_of_certificates_is_told(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "ca.pem").write_text(content)
        assert problems(upstream("url: wss://h/\ntls: {ca: ca.pem}"), folder=tmp_path) == [
            "gateway.yaml:6:11: upstreams.main.tls.ca: file 'ca.pem' cannot be read as PEM: something "
            "between its -----BEGIN …----- and -----END …----- lines is damaged or cut off"
        ]


class TestWhatIsWrong:
    def test_everything_is_told_at_once_with_its_place(self) -> None:
        assert problems("""\
version: 1
gatway: {}
gateway: {drain: -5s, unknown: refus}
listeners:
  soap:
    bind: 0.0.0.0:99999
    limits: {body: 256KB, connections: 0}
    allow:
      - 10.20.4.17/16
upstreams:
  main: {url: "csms.example.com/", ping: {every: 30}, connect: {backoff: {jitter: 7}}}
  main: {url: "ws://h/"}
routes:
  - {name: ber, match: {charger: ["BER-*"]}, upstream: mian}
chargers:
  BER-1: {zone: Europe/Berln}
""") == [
            "gateway.yaml:2:1: gatway: unknown key (did you mean 'gateway'?)",
            "gateway.yaml:3:11: gateway.drain: '-5s' is negative: a duration is 0s or longer",
            "gateway.yaml:3:23: gateway.unknown: 'refus' is not one of 'refuse', 'accept' "
            "(did you mean 'refuse'?)",
            "gateway.yaml:6:5: listeners.soap.bind: '0.0.0.0:99999': '99999' is no port: expected 0 to 65535",
            "gateway.yaml:7:14: listeners.soap.limits.body: '256KB' is no size: write 512B, 256KiB, 1MiB",
            "gateway.yaml:7:27: listeners.soap.limits.connections: '0' is out of range: "
            "expected 1 to 1000000",
            "gateway.yaml:9:9: listeners.soap.allow.0: '10.20.4.17/16' has bits set behind the prefix "
            "(did you mean '10.20.0.0/16'?)",
            "gateway.yaml:11:10: upstreams.main.url: is no URL: it starts with ws://, wss://, http:// or "
            "https://",
            "gateway.yaml:11:43: upstreams.main.ping.every: '30' has no unit: "
            "write 30s for seconds (ms, s, m, h, d)",
            "gateway.yaml:11:75: upstreams.main.connect.backoff.jitter: '7' is out of range: expected 0 to 1",
            "gateway.yaml:12:3: upstreams.main: key 'main' is here twice, first in line 11",
            "gateway.yaml:14:17: routes.0.match: the last route must match every charge point: write any",
            "gateway.yaml:14:46: routes.0.upstream: no upstream 'mian' (did you mean 'main'?)",
            "gateway.yaml:16:11: chargers.BER-1.zone: 'Europe/Berln' is no time zone of the IANA database "
            "(did you mean 'Europe/Berlin'?)",
        ]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "gateway.yaml: is empty: it needs at least listeners and upstreams"),
            ("# later\n", "gateway.yaml: is empty: it needs at least listeners and upstreams"),
            ("- a\n", "gateway.yaml:1:1: expected sections such as listeners and upstreams, found a list"),
            ("hello", "gateway.yaml:1:1: expected sections such as listeners and upstreams, found a text"),
            (
                "a: [1\nb: 2",
                "gateway.yaml:2:2: is no YAML: did not find expected ',' or ']' while parsing a flow "
                "sequence that starts in line 1 "
                "(inside { } and [ ], quote a text that has one of { } [ ] , in it)",
            ),
        ],
    )
    def test_a_file_that_is_none_gets_one_line(self, text: str, problem: str) -> None:
        assert problems(text) == [problem]

    def test_what_must_be_there_is_asked_for(self) -> None:
        assert problems("gateway: {}\n") == [
            "gateway.yaml:1:1: listeners: is missing (where charge points come in, by name)",
            "gateway.yaml:1:1: upstreams: is missing (central systems, by name)",
        ]
        assert problems("listeners:\nupstreams: {main: {}}\n") == [
            "gateway.yaml:1:1: listeners: is empty: at least one is needed",
            "gateway.yaml:2:13: upstreams.main.url: is missing (its address)",
        ]

    @pytest.mark.parametrize(
        ("lines", "problem"),
        [
            ("sessions: [1]", "6:1: sessions: expected a mapping, found a list"),
            ("gateway: {name: {a: b}}", "6:11: gateway.name: expected one value (name), found a mapping"),
            ("gateway: {name: }", "6:11: gateway.name: has no value"),
            (
                "callbacks: {networks: 10.0.0.0/8}",
                "6:13: callbacks.networks: expected a list, found a text: write [10.0.0.0/8]",
            ),
            ("callbacks: {networks: {a: b}}", "6:13: callbacks.networks: expected a list, found a mapping"),
            ("version: 2", "6:1: version: this release reads version 1, found '2'"),
            ("sessions: {alive: 0}", "6:12: sessions.alive: '0' is out of range: expected 1 to 1000"),
            (
                "sessions: {heartbeat: 0s}",
                "6:12: sessions.heartbeat: '0s' is out of range: expected 1s to 168h",
            ),
            (
                "callbacks: {answer: 99GiB}",
                "6:13: callbacks.answer: '99GiB' is out of range: expected 1KiB to 256KiB",
            ),
            (
                "tenants: {}",
                "6:1: tenants: unknown key: expected version, gateway, listeners, upstreams, routes, "
                "chargers, profiles, callbacks, websocket, sessions, offline, store, time, metrics, tracing, "
                "admin, logging",
            ),
            (
                "metrics: {bind: 0.0.0.0:8080}",
                "6:11: metrics.bind: 0.0.0.0:8080 is taken already: listeners.soap.bind is 127.0.0.1:8080",
            ),
        ],
    )
    def test_a_wrong_value_is_told_with_what_was_expected(self, lines: str, problem: str) -> None:
        assert problems(SMALL + lines + "\n") == [f"gateway.yaml:{problem}"]

    def test_a_wait_cannot_start_longer_than_it_may_become(self) -> None:
        assert problems(upstream("url: ws://h/\nconnect: {backoff: {first: 5m}}")) == [
            "gateway.yaml:6:15: upstreams.main.connect.backoff: first (5m) is longer than max (2m)"
        ]

    def test_the_default_address_of_the_metrics_is_taken_too(self) -> None:
        assert problems(SMALL.replace("8080", "9181")) == [
            "gateway.yaml:1:1: metrics.bind: 127.0.0.1:9181 is taken already: "
            "listeners.soap.bind is 127.0.0.1:9181"
        ]

    def test_a_problem_in_json_has_its_place_and_one_in_toml_its_key(self) -> None:
        with pytest.raises(ConfigErrors) as errors:
            read_text('{"gateway":\n  {"drain": 30},\n "listeners": {}, "upstreams": {}}', "gateway.json")
        assert str(errors.value).splitlines()[0] == (
            "gateway.json:2:4: gateway.drain: '30' has no unit: write 30s for seconds (ms, s, m, h, d)"
        )
        with pytest.raises(ConfigErrors) as errors:
            read_text("[gateway]\ndrain = 30\n", "gateway.toml")
        assert "gateway.toml: gateway.drain: '30' has no unit" in str(errors.value)


class TestFiles:
    def tried(self, path: Path | str | None, env: Mapping[str, str] | None = None) -> str:
        with pytest.raises(ConfigErrors) as errors:
            load(path, env=env or {})
        return str(errors.value)

    def test_a_file_is_read_from_where_it_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "north.yaml"
        file.write_text("\ufeff" + SMALL, encoding="utf-8")
        assert load(file).config.listeners["soap"].bind.port == 8080
        assert load(file).file == str(file)
        assert load(env={"WATTBRIDGE_CONFIG": str(file)}).file == str(file)

    def test_the_folder_we_are_in_comes_before_etc(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "gateway.yaml").write_text(SMALL)
        assert load(env={}).file == "gateway.yaml"

    def test_a_file_that_is_not_there_is_told_with_how_it_was_named(self, tmp_path: Path) -> None:
        missing = tmp_path / "missing.yaml"
        assert self.tried(missing) == f"{missing}: no such file"
        assert self.tried(None, {"WATTBRIDGE_CONFIG": str(missing)}) == (
            f"{missing}: no such file (named by WATTBRIDGE_CONFIG)"
        )

    @pytest.mark.skipif(Path("/etc/wattbridge/gateway.yaml").exists(), reason="a gateway is installed here")
    def test_without_any_file_the_places_are_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert self.tried(None) == (
            "gateway.yaml: no such file, nor is there /etc/wattbridge/gateway.yaml: "
            "use -c FILE, or set WATTBRIDGE_CONFIG"
        )

    def test_what_is_no_readable_file_gets_one_line(self, tmp_path: Path) -> None:
        assert self.tried(tmp_path) == f"{tmp_path}: is a directory"
        assert self.tried("/dev/zero") == "/dev/zero: is larger than 16MiB"
        picture = tmp_path / "gateway.yaml"
        picture.write_bytes(b"a: b\n\x89PNG\r\n\x1a\n")
        assert self.tried(picture) == f"{picture}:2:1: is not UTF-8 text: byte 0x89"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_may_not_be_read_gets_one_line(self, tmp_path: Path) -> None:
        file = tmp_path / "gateway.yaml"
        file.write_text(SMALL)
        file.chmod(0)
        assert self.tried(file) == f"{file}: may not be read (permission denied)"

    def test_paths_are_relative_to_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "password").write_text("geheim")
        file = tmp_path / "gateway.yaml"
        file.write_text(upstream("url: wss://h/\nauth: {basic: {password: {file: secrets/password}}}"))
        auth = load(file).config.upstreams["main"].auth
        assert auth
        assert auth.basic
        assert auth.basic.password
        assert auth.basic.password.get_secret_value() == "geheim"


def test_fifty_thousand_charge_points_can_be_listed() -> None:
    lines: Sequence[str] = [f'  "{number:07d}": {{zone: Europe/Berlin}}' for number in range(50_000)]
    text = SMALL.replace("chargers: {CP1: {}}\n", "chargers:\n") + "\n".join(lines)
    assert len(config_of(text).chargers) == 50_000
