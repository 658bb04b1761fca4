"""The routes of a configuration become those of the relay, with everything they say."""

from __future__ import annotations

from ipaddress import ip_network

from tests.config.test_reading import config_of
from wattbridge.relay.routes import (
    Comparison,
    FirmwareIs,
    Heard,
    IdentityLike,
    KnownIs,
    ListenerIs,
    ModelLike,
    Reject,
    Rewrite,
    Route,
    SourceIn,
    VendorLike,
)
from wattbridge.routing import routes_of

CONFIG = config_of("""\
listeners: {field: {bind: "127.0.0.1:0"}}
chargers: {BER-1: {}}
upstreams:
  north: {url: "ws://127.0.0.1/n/"}
  south: {url: "ws://127.0.0.1/s/"}
  audit: {url: "ws://127.0.0.1/a/"}
routes:
  - name: everything
    match:
      charger: ["BER-*", HAM-1]
      vendor: ACME
      model: [CC-1*]
      firmware: [">=1.2,<1.4", "2.*"]
      source: 10.20.0.0/16
      listener: field
      known: no
    upstream: north
    fallback: south
    failover: {after: 5s, back_after: 10m}
    mirror: audit
    mirror_queue: 50
    identity: {rewrite: "^BER-", to: "DE*"}
    check: refuse
    subprotocol: required
  - name: tests
    match: {charger: TEST-*}
    reject: {boot_status: Pending, interval: 90s, error: NotSupported, description: not here}
  - {name: all, match: any, upstream: south}
""")


def test_every_condition_and_every_key_arrives() -> None:
    everything, tests, the_rest = routes_of(CONFIG).routes
    assert everything == Route(
        name="everything",
        conditions=(
            IdentityLike(("BER-*", "HAM-1")),
            KnownIs(False),
            ListenerIs(("field",)),
            SourceIn((ip_network("10.20.0.0/16"),)),
            VendorLike(("ACME",)),
            ModelLike(("CC-1*",)),
            FirmwareIs(((Comparison(">=", "1.2"), Comparison("<", "1.4")), "2.*")),
        ),
        upstream="north",
        fallback="south",
        failover_after=5.0,
        failover_back_after=600.0,
        mirrors=("audit",),
        mirror_queue=50,
        rewrite=Rewrite("^BER-", "DE*"),
        check="refuse",
        subprotocol_required=True,
    )
    assert tests == Route(
        name="tests",
        conditions=(IdentityLike(("TEST-*",)),),
        reject=Reject("Pending", 90, "NotSupported", "not here"),
    )
    assert the_rest == Route(name="all", upstream="south")


def test_the_defaults_of_both_are_the_same() -> None:
    text = 'listeners: {s: {bind: "127.0.0.1:0"}}\nupstreams: {u: {url: "ws://127.0.0.1/"}}\n'
    assert routes_of(config_of(text)).routes == (Route("all", upstream="u"),)
    [reject] = routes_of(config_of(text + "routes: [{name: all, match: any, reject: {}}]\n")).routes
    assert reject == Route("all", reject=Reject())


def test_the_first_route_that_matches_wins() -> None:
    routes = routes_of(CONFIG)
    assert routes.choose(Heard("TEST-1")).reject is not None
    assert routes.choose(Heard("BER-1")).upstream == "south"
    heard = Heard("BER-1", "10.20.0.1", "field", known=False, vendor="acme", model="cc-10", firmware="2.7")
    assert routes.choose(heard).upstream == "north"
    assert routes.choose(heard).known_as("BER-1") == "DE*1"
