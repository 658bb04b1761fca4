"""What sections say against each other, and what works but is rarely meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.certificates import CERTIFICATE, KEY, OTHER_KEY, write_certificates
from tests.config.test_reading import SMALL, problems, upstream
from wattbridge.config import AdminTls

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

    def test_a_match_has_a_condition(self) -> None:
        assert told(SMALL + "routes: [{name: a, match: {}, upstream: main}]\n")[0] == (
            "6:20: routes.0.match: has no condition: write any, or {charger: [BER-*]}"
        )
        assert told(SMALL + "routes: [{name: a, match: {charger: []}, upstream: main}]\n")[1] == (
            "6:28: routes.0.match.charger: is empty: at least one is needed"
        )

    def test_a_route_leads_to_a_central_system_or_away(self) -> None:
        assert told(SMALL + "routes: [{name: a, match: any}]\n") == [
            "6:10: routes.0: leads nowhere: write upstream and the name of a central system, or reject: {}"
        ]
        assert told(SMALL + "routes: [{name: a, match: any, upstream: main, reject: {}}]\n") == [
            "6:10: routes.0: has both upstream and reject: charge points are carried, or turned away"
        ]

    def test_every_name_in_a_route_is_one_that_is_there(self) -> None:
        routes = """\
routes:
  - {name: a, match: {listener: [soap, json]}, upstream: north, fallback: sout, mirror: [nort, x]}
  - {name: b, match: any, upstream: south}
"""
        assert told(TWO + routes) == [
            "5:40: routes.0.match.listener.1: no listener 'json' (there is 'soap')",
            "5:65: routes.0.fallback: no upstream 'sout' (did you mean 'south'?)",
            "5:90: routes.0.mirror.0: no upstream 'nort' (did you mean 'north'?)",
            "5:96: routes.0.mirror.1: no upstream 'x' (there is 'north', 'south')",
        ]

    def test_nobody_falls_back_to_where_he_is(self) -> None:
        routes = "routes: [{name: a, match: any, upstream: north, fallback: north, mirror: south}]\n"
        assert told(TWO + routes) == [
            "4:49: routes.0.fallback: 'north' is the upstream of this route already"
        ]

    def test_a_mirror_is_somebody_else(self) -> None:
        routes = "routes: [{name: a, match: any, upstream: north, fallback: south, mirror: [south, north]}]\n"
        assert told(TWO + routes) == [
            "4:75: routes.0.mirror.0: 'south' is the fallback of this route: it would get everything twice",
            "4:82: routes.0.mirror.1: 'north' is the upstream of this route: it would get everything twice",
        ]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ('{charger: ["BER-*"]}', '{charger: ["BER-*"]}'),
            ('{charger: ["BER-*"]}', "{charger: [BER-1, BER-2]}"),
            ('{charger: ["BER-*"]}', "{charger: BER-1, vendor: ACME}"),
            ("{vendor: ACME}", '{charger: ["B*"], vendor: ACME}'),
            ("{known: no}", "{known: no}"),
        ],
    )
    def test_a_narrower_route_behind_a_wider_one_is_never_reached(self, first: str, second: str) -> None:
        routes = f"""\
routes:
  - {{name: a, match: {first}, upstream: north}}
  - {{name: b, match: {second}, upstream: south}}
  - {{name: c, match: any, upstream: south}}
"""
        assert told(TWO + routes) == [
            "6:5: warning: routes.1: is never reached: routes.0 matches all of these"
        ]
        assert told(TWO + routes.replace(first, "{source: 10.0.0.0/8}", 1)) == []
        assert told(TWO + routes.replace(first, '{charger: ["HAM-*"]}', 1)) == []

    def test_a_list_of_versions_says_one_or_the_other(self) -> None:
        routes = """\
routes:
  - {name: a, match: {firmware: [">=1.2", "<1.10"]}, upstream: north}
  - {name: b, match: {firmware: ["<1.2", ">=1.10"]}, upstream: north}
  - {name: c, match: any, upstream: south}
"""
        assert told(TWO + routes) == [
            "5:23: warning: routes.0.match.firmware: every version fits, as one item of a list is enough: "
            "write '>=1.2,<1.10' where both must hold"
        ]

    def test_a_rewriting_that_cannot_be_done_is_told(self) -> None:
        def of(identity: str) -> list[str]:
            routes = f"routes: [{{name: a, match: any, upstream: main, identity: {identity}}}]\n"
            return told(SMALL + routes)

        assert of("{rewrite: '^EVB-(.*)$', to: 'DE*\\1'}") == []
        assert of("{rewrite: '^EVB-(.*)$', to: 'DE*\\2'}") == [
            "6:48: routes.0.identity: to does not fit rewrite: invalid group reference 2 at position 4"
        ]
        assert of("{rewrite: '^EVB-(.*)$', to: 'DE*\\g<id>'}") == [
            "6:48: routes.0.identity: to does not fit rewrite: unknown group name 'id'"
        ]
        assert of("{rewrite: '^(EVB', to: x}") == [
            "6:59: routes.0.identity.rewrite: '^(EVB' is no regular expression: missing ), unterminated "
            "subpattern at position 1"
        ]

    def test_two_charge_points_of_one_name_cannot_be_told_apart(self) -> None:
        routes = """\
routes:
  - {name: a, match: {charger: [A-*, B-*]}, upstream: north, identity: {rewrite: "^.-", to: ""}}
  - {name: b, match: any, upstream: south}
"""
        text = TWO.replace("CP1: {}", "A-1: {}, A-2: {}, C-1: {}, B-1: {}") + routes
        assert told(text) == ["5:62: warning: routes.0.identity: 'A-1' and 'B-1' would both be called '1'"]
        assert told(text.replace('to: ""', 'to: "\\\\g<0>"')) == []

    def test_what_a_route_has_and_does_not_use_is_named(self) -> None:
        routes = """\
routes:
  - {name: a, match: {vendor: A}, reject: {}, mirror: south, identity: {rewrite: a, to: b}}
  - {name: b, match: {charger: [B]}, upstream: north, failover: {after: 5s}, mirror_queue: 5}
  - {name: c, match: any, upstream: north}
"""
        assert told(TWO + routes) == [
            "5:47: warning: routes.0.mirror: is not used: the route turns charge points away",
            "5:62: warning: routes.0.identity: is not used: the route turns charge points away",
            "6:55: warning: routes.1.failover: is not used: the route has no fallback",
            "6:78: warning: routes.1.mirror_queue: is not used: the route has no mirror",
        ]

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


def test_a_route_for_unknown_charge_points_lets_them_in() -> None:
    routes = "routes: [{name: a, match: {known: no}, upstream: main}, {name: b, match: any, reject: {}}]\n"
    text = SMALL.replace("chargers: {CP1: {}}\n", "") + routes
    assert told(text) == []
    [warning] = told(text.replace("127.0.0.1:8080", "0.0.0.0:8080"))
    assert warning.startswith("2:3: warning: listeners.soap.allow: is empty while unknown charge points are")


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


def test_a_charge_point_that_anybody_can_pose_as_is_warned_of() -> None:
    assert told(SMALL + "store: {url: memory}\n") == [
        "6:9: warning: store.url: what was confirmed to charge points is lost when the gateway ends"
    ]
    assert told(SMALL + "callbacks: {tls: {verify: no}}\n") == [
        "6:19: warning: callbacks.tls.verify: anybody can pose as a charge point that is called"
    ]


class TestSoapCentralSystems:
    def old(self, lines: str = "", url: str = "http://127.0.0.1:8090/cs", more: str = "") -> list[str]:
        text = upstream(f"url: {url}" + (f"\n{lines}" if lines else ""))
        return told(text + "gateway: {public_url: http://gw}\n" + more)

    def test_the_scheme_says_what_it_speaks(self) -> None:
        assert self.old() == []
        assert self.old("protocol: ocpp-soap") == []
        assert self.old("protocol: ocpp-json") == [
            "4:3: upstreams.main: protocol is ocpp-json, but url starts with 'http://' (did you mean ws://?)"
        ]
        assert self.old("protocol: ocpp-soap", url="wss://h/") == [
            "4:3: upstreams.main: protocol is ocpp-soap, but url starts with 'wss://' (did you mean https://?)"
        ]

    def test_it_must_know_where_to_call_back(self) -> None:
        text = upstream("url: http://127.0.0.1:8090/cs")
        assert told(text) == [
            "4:3: upstreams.main: no address to be called back at: set gateway.public_url, or "
            "soap.callback_url"
        ]
        known = upstream("url: http://127.0.0.1:8090/cs\nsoap: {callback_url: 'https://gw/cp/{charger}'}")
        assert told(known) == []

    def test_keys_of_the_other_protocol_are_named(self) -> None:
        assert self.old("ping: {every: 5s}\nsubprotocol: ocpp1.7\ncelsius: Celcius\nmax_frame: 1MiB") == [
            f"{place}: is not used: it is for central systems that speak JSON"
            for place in (
                "6:5: warning: upstreams.main.ping",
                "7:5: warning: upstreams.main.subprotocol",
                "8:5: warning: upstreams.main.celsius",
                "9:5: warning: upstreams.main.max_frame",
            )
        ]
        assert self.old("soap: {connections: 1}", url="ws://127.0.0.1:9000/") == [
            "4:3: upstreams.main: soap is for central systems that speak SOAP, at http:// or https://"
        ]

    def test_a_password_over_http_travels_in_the_open(self) -> None:
        text = upstream("url: http://old.example.com/cs\nauth: {basic: {password: {env: P}}}")
        assert problems(text + "gateway: {public_url: http://gw}\n", env={"P": "x"}) == [
            "gateway.yaml:5:5: warning: upstreams.main.url: the password travels unencrypted: use https://"
        ]

    def test_it_calls_at_a_listener_that_is_there(self) -> None:
        assert self.old("soap: {listener: sop}") == [
            "6:12: upstreams.main.soap.listener: no listener 'sop' (did you mean 'soap'?)"
        ]

    def test_it_does_not_call_where_charge_points_call(self) -> None:
        assert self.old("soap: {callback_path: '/ocpp/{charger}'}") == [
            "6:12: upstreams.main.soap.callback_path: /ocpp/{charger} is where charge points are served: "
            "listeners.soap has /ocpp/{charger}"
        ]
        assert self.old("soap: {callback_path: '/ocpp/cs/{charger}'}") == [
            "6:12: upstreams.main.soap.callback_path: /ocpp/cs/{charger} is where charge points are served: "
            "listeners.soap has /ocpp/cs"
        ]

    def test_a_listener_may_be_its_own(self) -> None:
        text = """\
gateway: {public_url: http://gw}
listeners:
  soap: {bind: "127.0.0.1:0", paths: [/cs]}
  inside: {bind: "127.0.0.1:0", paths: []}
chargers: {CP1: {}}
upstreams: {main: {url: "http://127.0.0.1:8090/", soap: {listener: inside, callback_path: "/cs/{charger}"}}}
"""
        assert told(text) == []
        assert told(text.replace('listener: inside, callback_path: "/cs/{charger}"', "")) == [
            "4:33: listeners.inside.paths: is empty: nothing is served here, and no upstreams.NAME.soap."
            "listener names it"
        ]

    def test_a_call_back_from_anywhere_is_rarely_meant(self) -> None:
        text = upstream("url: https://old.example.com/cs").replace("127.0.0.1:0", "0.0.0.0:8080")
        text += "gateway: {public_url: http://gw}\n"
        assert told(text) == [
            "4:3: warning: upstreams.main.soap.networks: is empty: whoever reaches 0.0.0.0:8080 "
            "(listeners.soap) can call charge points in its name"
        ]
        assert told(text.replace("cs\n", "cs\n    soap: {networks: [10.0.0.0/8]}\n")) == []

    def test_a_mirror_that_calls_where_another_calls_cannot_be_told_from_it(self) -> None:
        text = """\
gateway: {public_url: http://gw}
listeners: {a: {bind: "127.0.0.1:0"}, b: {bind: "127.0.0.1:0"}}
chargers: {CP1: {}}
upstreams:
  old: {url: "http://127.0.0.1/a"}
  new: {url: "http://127.0.0.1/b"}
routes: [{name: all, match: any, upstream: old, mirror: [new]}]
"""
        assert told(text) == [
            "7:58: warning: routes.0.mirror.0: new calls charge points at /ocpp/cp/{charger} as old does: "
            "calls of the one cannot be told from those of the other"
        ]
        apart = text.replace('a"}', 'a", soap: {listener: a}}').replace(
            'b"}\nr', 'b", soap: {listener: b}}\nr'
        )
        assert told(apart) == []
        assert told(text.replace('b"}', 'b", soap: {callback_path: "/new/{charger}"}}')) == []


class TestPasswordsOfChargePoints:
    HEAD = """\
listeners: {soap: {bind: "127.0.0.1:0"}}
upstreams:
  north: {url: "wss://h/", auth: {basic: {}}}
  south: {url: "wss://h/"}
routes:
  - {name: a, match: {charger: ["N-*"]}, upstream: north}
  - {name: b, match: {charger: ["X-*"], vendor: ACME}, upstream: north}
  - {name: c, match: any, upstream: south}
"""

    def warnings(self, chargers: str) -> list[str]:
        return problems(f"{self.HEAD}chargers: {chargers}\n", env={"P": "x"})

    def test_a_central_system_may_know_each_charge_point_by_its_own(self) -> None:
        assert self.warnings("{N-1: {upstream_password: {env: P}}, S-1: {}}") == []

    def test_those_without_one_are_told(self) -> None:
        assert self.warnings("{S-1: {}, N-1: {}}") == [
            "gateway.yaml:3:35: warning: upstreams.north.auth.basic: has no password, nor has 'N-1': set "
            "upstream_password of each"
        ]
        assert self.warnings("{N-1: {}, X-1: {}, N-2: {}}") == [
            "gateway.yaml:3:35: warning: upstreams.north.auth.basic: has no password, nor has 'N-1' and 2 "
            "more: set upstream_password of each"
        ]

    def test_one_that_nobody_asks_for_is_named(self) -> None:
        text = SMALL.replace("CP1: {}", "CP1: {upstream_password: {env: P}}")
        assert problems(text, env={"P": "x"}) == [
            "gateway.yaml:5:18: warning: chargers.CP1.upstream_password: is not used: no central system has "
            "auth.basic"
        ]

    def test_a_password_left_empty_is_forgotten(self) -> None:
        for key in ("password", "upstream_password"):
            assert told(SMALL.replace("CP1: {}", f"CP1: {{{key}: }}")) == [
                f"5:18: chargers.CP1.{key}: has no value: write {{env: NAME}} or {{file: path}}"
            ]


class TestTlsOfOurOwn:
    def listener(self, folder: Path, tls: str) -> list[str]:
        text = f'listeners:\n  soap:\n    bind: "127.0.0.1:0"\n    tls: {tls}\n'
        text += 'upstreams: {main: {url: "ws://127.0.0.1:9000/"}}\nchargers: {CP1: {}}\n'
        return [problem.removeprefix("gateway.yaml:") for problem in problems(text, folder=folder)]

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_certificates(tmp_path)
        certs = tmp_path / "certs"
        (certs / "other.key").write_text(OTHER_KEY)
        (certs / "locked.key").write_text(KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"))
        (certs / "broken.key").write_text(KEY[:100] + KEY[-30:])
        return tmp_path

    def test_a_certificate_and_its_key_are_taken(self, folder: Path) -> None:
        assert self.listener(folder, "{certificate: certs/gw.pem, key: certs/gw.key}") == []

    def test_one_file_may_hold_both(self, folder: Path) -> None:
        (folder / "both.pem").write_text(KEY + CERTIFICATE)
        assert self.listener(folder, "{certificate: both.pem, key: both.pem}") == []

    @pytest.mark.parametrize(
        ("tls", "problem"),
        [
            (
                "{certificate: certs/gw.pem, key: certs/other.key}",
                "4:5: listeners.soap.tls: key 'other.key' does not belong to certificate 'gw.pem': the first "
                "certificate in the file must be the one the key was made for",
            ),
            (
                "{certificate: certs/gw.pem, key: certs/gw.pem}",
                "4:38: listeners.soap.tls.key: file 'certs/gw.pem' holds no private key in PEM "
                "(-----BEGIN PRIVATE KEY-----)",
            ),
            (
                "{certificate: certs/gw.pem, key: certs/locked.key}",
                "4:38: listeners.soap.tls.key: file 'certs/locked.key': its key is locked with a password, "
                "and nobody is there to give it: write it without one, readable by the gateway only",
            ),
            (
                "{certificate: certs/gw.pem, key: certs/nope.key}",
                "4:38: listeners.soap.tls.key: file 'certs/nope.key': no such file",
            ),
            ("{certificate: certs/gw.pem, key: }", "4:38: listeners.soap.tls.key: has no value"),
            (
                "{certificate: certs/gw.pem}",
                "4:5: listeners.soap.tls.key: is missing (the private key of that certificate, in PEM and "
                "without a password)",
            ),
            (
                "{certificate: certs/gw.pem, key: certs/gw.key, client_auth: required}",
                "4:5: listeners.soap.tls: client_auth is required, but there is no client_ca to check "
                "certificates with",
            ),
            (
                "{certificate: certs/gw.pem, key: certs/gw.key, client_ca: certs/ca.pem}",
                "4:57: warning: listeners.soap.tls.client_ca: is not used: client_auth is none",
            ),
        ],
    )
    def test_what_cannot_be_used_is_told(self, folder: Path, tls: str, problem: str) -> None:
        assert self.listener(folder, tls) == [problem]

    def test_a_damaged_key_is_told_without_its_content(self, folder: Path) -> None:
        [problem] = self.listener(folder, "{certificate: certs/gw.pem, key: certs/broken.key}")
        assert problem.startswith(
            "4:5: listeners.soap.tls: certificate 'gw.pem' with key 'broken.key' cannot be used for TLS: "
        )

    def test_a_file_that_is_gone_is_told(self, folder: Path) -> None:
        """A configuration made in Python names paths, which nothing has read before."""
        with pytest.raises(ValueError, match=r"certificate and key cannot be used: .*No such file"):
            AdminTls(certificate=folder / "certs/gw.pem", key=folder / "gone.key")

    def test_what_is_shown_to_others_needs_both(self, folder: Path) -> None:
        text = upstream("url: wss://h/\ntls: {certificate: certs/gw.pem}")
        assert problems(text, folder=folder) == [
            "gateway.yaml:6:5: upstreams.main.tls: certificate needs key: one is of no use without the other"
        ]
        text = upstream("url: wss://h/\ntls: {key: certs/gw.key}")
        assert problems(text, folder=folder) == [
            "gateway.yaml:6:5: upstreams.main.tls: key needs certificate: one is of no use without the other"
        ]
        text = upstream("url: wss://h/\ntls: {certificate: certs/gw.pem, key: certs/other.key}")
        assert "does not belong to" in problems(text, folder=folder)[0]

    def test_the_admin_interface_is_in_the_open_only_with_tls(self, folder: Path) -> None:
        def of(admin: str) -> list[str]:
            return problems(SMALL + f"admin: {admin}\n", env={"T": "x"}, folder=folder)

        assert of("{token: {env: T}}") == of("{bind: 'localhost:1', token: {env: T}}") == []
        assert of("{bind: '0.0.0.0:9180', token: {env: T}}") == [
            "gateway.yaml:6:1: admin: bind is 0.0.0.0:9180, where others could read the token on its way: "
            "set tls, or bind to 127.0.0.1:9180"
        ]
        tls = "tls: {certificate: certs/gw.pem, key: certs/gw.key}"
        assert of(f"{{bind: '0.0.0.0:9180', token: {{env: T}}, {tls}}}") == []
        assert of("{bind: '127.0.0.1:8080', token: {env: T}}") == [
            "gateway.yaml:6:9: admin.bind: 127.0.0.1:8080 is taken already: listeners.soap.bind is "
            "127.0.0.1:8080"
        ]
        assert of("{bind: '127.0.0.1:1'}") == [
            "gateway.yaml:6:1: admin: nobody could ask: set tokens, or token"
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
