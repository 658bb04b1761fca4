"""Which path is for which transport."""

from __future__ import annotations

import pytest

from wattbridge.links.paths import Paths, Place, read_segment

PATHS = Paths(("/ocpp/cs", "/ocpp/{charger}", "/steve/websocket/CentralSystemService/{charger}"))
SOAP, JSON, STEVE = "/ocpp/cs", "/ocpp/{charger}", "/steve/websocket/CentralSystemService/{charger}"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/ocpp/cs", Place(SOAP, "soap", None)),
        ("/OCPP/CS/", Place(SOAP, "soap", None)),
        ("//ocpp//cs//", Place(SOAP, "soap", None)),
        ("/ocpp/cs/CP1", Place(SOAP, "soap", "CP1")),
        ("/ocpp/CP1", Place(JSON, "json", "CP1")),
        ("/ocpp/CP%2F1", Place(JSON, "json", "CP%2F1")),
        ("/ocpp", Place(JSON, "json", None)),
        ("/steve/websocket/centralsystemservice/CP1", Place(STEVE, "json", "CP1")),
        ("/steve/websocket", None),
        ("/ocpp/CP1/more", None),
        ("/ocpp/cs/CP1/more", None),
        ("/", None),
        ("", None),
        ("*", None),
        ("/%FF/CP1", None),
    ],
)
def test_a_path_leads_to_a_place(path: str, place: Place | None) -> None:
    assert PATHS.find(path) == place


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/CP1", Place("/{charger}", "json", "CP1")),
        ("///charger", Place("/{charger}", "json", "charger")),
        ("/", Place("/{charger}", "json", None)),
        ("/a/b", None),
    ],
)
def test_websockets_may_be_opened_at_the_root(path: str, place: Place | None) -> None:
    assert Paths(("/{charger}",)).find(path) == place


def test_the_addresses_are_told_by_transport() -> None:
    assert PATHS.soap == (SOAP,)
    assert PATHS.json == (JSON, STEVE)
    assert (PATHS.addresses("soap"), PATHS.addresses("json")) == (SOAP, f"{JSON}, {STEVE}")
    assert Paths((SOAP,)).addresses("json") == SOAP
    assert PATHS.refusal("soap") is PATHS.refusal("json") is None


def test_a_transport_that_is_not_served_is_refused_and_not_named() -> None:
    paths = Paths((SOAP, JSON), "ocpp-json")
    assert paths.refusal("soap") == f"OCPP-S is not served here, only OCPP-J: {JSON}"
    assert paths.refusal("json") is None
    assert paths.addresses("soap") == paths.addresses("json") == JSON
    soap = paths.find(SOAP)
    assert soap is not None
    assert paths.greeting(soap) == (
        "This is the OCPP-S address of a Wattbridge gateway.\n"
        f"Those that speak OCPP-J open a WebSocket at {JSON} with the subprotocol ocpp1.6.\n"
    )


def test_a_segment_is_decoded_once() -> None:
    assert read_segment("100%2525 S%C3%A4ule") == "100%25 Säule"
    with pytest.raises(ValueError, match="invalid"):
        read_segment("%FF")
