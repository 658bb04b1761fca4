"""The first route whose conditions all hold is chosen, and every other one says why it was not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbridge.relay.routes import (
    Comparison,
    Condition,
    FirmwareIs,
    Heard,
    IdentityLike,
    KnownIs,
    ListenerIs,
    ModelLike,
    Operator,
    Reject,
    Rewrite,
    Route,
    Routes,
    SourceIn,
    VendorLike,
    version_key,
)

UNBOOTED = Heard("BER-0001", source="10.20.4.17", listener="field")
BOOTED = replace(UNBOOTED, vendor="ACME", model="CC-1", firmware="1.4.2")


class TestConditions:
    @pytest.mark.parametrize(
        "condition",
        [
            IdentityLike(("HAM-*", "BER-*")),
            IdentityLike(("BER-000[0-9]",)),
            VendorLike(("acme",)),
            VendorLike(("EVB*", "ac?e")),
            ModelLike(("cc-[0-9]",)),
            FirmwareIs(("1.4.*",)),
            FirmwareIs(("2.*", (Comparison(">=", "1.2"), Comparison("<", "1.10")))),
            SourceIn((ip_network("fd00::/8"), ip_network("10.20.0.0/16"))),
            ListenerIs(("json", "field")),
            KnownIs(True),
        ],
        ids=str,
    )
    def test_a_condition_that_holds_has_nothing_to_say(self, condition: Condition) -> None:
        assert condition.why_not(BOOTED) == ""

    @pytest.mark.parametrize(
        ("condition", "sentence"),
        [
            (IdentityLike(("ber-*",)), "identity is 'BER-0001', not like 'ber-*'"),
            (IdentityLike(("A", "B", "C")), "identity is 'BER-0001', not like 'A', 'B' or 'C'"),
            (IdentityLike(("ER-0001",)), "identity is 'BER-0001', not like 'ER-0001'"),
            (VendorLike(("EVB*",)), "vendor is 'ACME', not like 'EVB*'"),
            (ModelLike(("CC-2", "CC-3")), "model is 'CC-1', not like 'CC-2' or 'CC-3'"),
            (FirmwareIs(("1.3*",)), "firmware is '1.4.2', not like '1.3*'"),
            (FirmwareIs(((Comparison("<", "1.4"),),)), "firmware is '1.4.2', not <1.4"),
            (
                FirmwareIs(("2.*", (Comparison(">", "1.4.2"), Comparison("<", "2")))),
                "firmware is '1.4.2', not like '2.*' or >1.4.2,<2",
            ),
            (
                SourceIn((ip_network("10.21.0.0/16"), ip_network("fd00::/8"))),
                "source 10.20.4.17 is in none of 10.21.0.0/16, fd00::/8",
            ),
            (ListenerIs(("json",)), "listener is field, not json"),
            (KnownIs(False), "it is a known charge point"),
        ],
    )
    def test_a_condition_that_does_not_hold_says_why(self, condition: Condition, sentence: str) -> None:
        assert condition.why_not(BOOTED) == sentence

    def test_what_is_not_known_yet_holds_for_nothing(self) -> None:
        comparison = FirmwareIs(((Comparison("!=", "1"),),))
        assert VendorLike(("*",)).why_not(UNBOOTED) == "vendor is not known before BootNotification"
        assert ModelLike(("*",)).why_not(UNBOOTED) == "model is not known before BootNotification"
        assert comparison.why_not(UNBOOTED) == "firmware is not known before BootNotification"
        assert comparison.why_not(replace(BOOTED, firmware=None)) == "firmware is not in its BootNotification"
        assert SourceIn((ip_network("0.0.0.0/0"),)).why_not(Heard("CP1")) == "source is not known"
        assert ListenerIs(("field",)).why_not(Heard("CP1")) == "listener is not known"
        assert KnownIs(True).why_not(Heard("CP1", known=False)) == "it is an unknown charge point"

    def test_an_ipv4_address_on_an_ipv6_socket_is_itself(self) -> None:
        """RFC 4291, 2.5.5.2."""
        heard = Heard("CP1", source="::ffff:10.20.4.17")
        assert SourceIn((ip_network("10.20.0.0/16"),)).why_not(heard) == ""


class TestFirmware:
    @pytest.mark.parametrize(
        ("version", "comparison"),
        [
            ("1.4", "==1.4.0"),
            ("1.10", ">1.9"),
            ("1.4.2", ">=1.4"),
            ("1.4.2", ">1.4"),
            ("1.4.2", "!=1.4"),
            ("v1.3", "<1.4"),
            ("1.4", "==V1.4"),
            (" 1.4 ", "==1.4"),
            ("1.4-beta", ">1.4"),
            ("1.4-alpha", "<1.4-beta"),
            ("1.4.0-beta", "==1.4-beta"),
            ("1.4 build 7", "<1.5"),
            ("0", "==0.0"),
            ("2024.05.01", ">=2024.5.1"),
            ("99999999999999999999.1", ">1"),
        ],
    )
    def test_numbers_are_compared_as_numbers_and_the_rest_as_text(
        self, version: str, comparison: str
    ) -> None:
        operator: Operator = comparison.rstrip("0123456789.Vabeht-lp")  # type: ignore[assignment]
        assert Comparison(operator, comparison.removeprefix(operator)).holds(version)

    @pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
    def test_what_begins_with_no_number_compares_with_nothing(self, operator: Operator) -> None:
        assert not Comparison(operator, "1.4").holds("EVB_1.4")
        assert not Comparison(operator, "beta").holds("1.4")
        assert FirmwareIs(((Comparison(operator, "1.4"),),)).why_not(replace(BOOTED, firmware="EVB_1.4")) == (
            f"firmware is 'EVB_1.4', not {operator}1.4 (it does not begin with a number, so it cannot be "
            "compared)"
        )

    VERSIONS = st.builds(
        lambda numbers, text: ".".join(map(str, numbers)) + text,
        st.lists(st.integers(0, 30), min_size=1, max_size=4),
        st.sampled_from(["", "-a", "-b", " x", ".", "b2"]),
    )

    @given(VERSIONS, VERSIONS)
    def test_of_two_versions_exactly_one_is_less_or_they_are_the_same(self, one: str, other: str) -> None:
        less, same, more = (Comparison(operator, other).holds(one) for operator in ("<", "==", ">"))
        assert [less, same, more].count(True) == 1
        assert Comparison("<=", other).holds(one) == (less or same)
        assert Comparison(">=", other).holds(one) == (more or same)
        assert Comparison("!=", other).holds(one) == (not same)
        assert Comparison("<", one).holds(other) == more

    @given(VERSIONS, VERSIONS, VERSIONS)
    def test_versions_have_one_order(self, one: str, two: str, three: str) -> None:
        first, second, third = sorted((one, two, three), key=lambda version: version_key(version) or ((), ""))
        assert Comparison("<=", second).holds(first)
        assert Comparison("<=", third).holds(second)
        assert Comparison("<=", third).holds(first)

    @given(st.lists(st.integers(0, 99), min_size=1, max_size=5), st.integers(0, 3))
    def test_zeros_at_the_end_say_nothing(self, numbers: list[int], zeros: int) -> None:
        version = ".".join(map(str, numbers))
        assert Comparison("==", version).holds(version + ".0" * zeros)

    @given(st.text(max_size=30))
    def test_any_text_has_a_place_or_none(self, text: str) -> None:
        key = version_key(text)
        assert key is None or text.strip().lstrip("vV")[0] in "0123456789"


class TestRoutes:
    ROUTES = Routes(
        [
            Route("old-firmware", (VendorLike(("ACME",)), FirmwareIs(((Comparison("<", "1.4"),),))), "old"),
            Route("tests", (IdentityLike(("TEST-*",)),), reject=Reject()),
            Route("guests", (KnownIs(False), SourceIn((ip_network("10.0.0.0/8"),))), "guests"),
            Route("berlin", (IdentityLike(("BER-*",)),), "north"),
            Route("all", upstream="south"),
        ]
    )

    @pytest.mark.parametrize(
        ("heard", "name"),
        [
            (UNBOOTED, "berlin"),
            (BOOTED, "berlin"),
            (replace(BOOTED, firmware="1.3.9"), "old-firmware"),
            (Heard("TEST-1"), "tests"),
            (Heard("TEST-1", known=False), "tests"),
            (replace(UNBOOTED, known=False), "guests"),
            (Heard("HAM-1"), "all"),
        ],
    )
    def test_the_first_one_whose_conditions_hold_is_chosen(self, heard: Heard, name: str) -> None:
        assert self.ROUTES.choose(heard).name == name

    def test_every_one_before_it_says_why_it_was_not(self) -> None:
        explained = self.ROUTES.explain(replace(BOOTED, vendor="EVB"))
        assert [(route.name, reason) for route, reason in explained] == [
            ("old-firmware", "vendor is 'EVB', not like 'ACME'; firmware is '1.4.2', not <1.4"),
            ("tests", "identity is 'BER-0001', not like 'TEST-*'"),
            ("guests", "it is a known charge point"),
            ("berlin", ""),
        ]

    def test_unknown_charge_points_are_let_in_where_a_route_says_so(self) -> None:
        admits = {
            heard.identity: self.ROUTES.admits_unknown(heard)
            for heard in (
                Heard("guest", source="10.1.1.1", known=False),
                Heard("stranger", source="192.0.2.1", known=False),
                Heard("TEST-1", source="10.1.1.1", known=False),
                Heard("BER-1", source="10.1.1.1", known=True),
            )
        }
        assert admits == {"guest": True, "stranger": False, "TEST-1": False, "BER-1": True}

    def test_without_a_route_for_everybody_somebody_has_none(self) -> None:
        routes = Routes([Route("berlin", (IdentityLike(("BER-*",)),), "north")])
        with pytest.raises(LookupError, match="no route is for 'HAM-1'"):
            routes.choose(Heard("HAM-1"))
        assert [reason for _, reason in routes.explain(Heard("HAM-1"))] == [
            "identity is 'HAM-1', not like 'BER-*'"
        ]


class TestNames:
    def test_a_central_system_may_know_a_charge_point_by_another_name(self) -> None:
        route = Route("all", upstream="cloud", rewrite=Rewrite("^EVB-(.*)$", r"DE*ABC*\1"))
        assert route.known_as("EVB-0001") == "DE*ABC*0001"
        assert route.known_as("BER-0001") == "BER-0001"

    def test_without_a_rewriting_the_name_stays(self) -> None:
        assert Route("all", upstream="cloud").known_as("EVB-0001") == "EVB-0001"

    def test_a_name_never_becomes_nothing(self) -> None:
        assert Rewrite(".*", "").of("EVB-0001") == "EVB-0001"
