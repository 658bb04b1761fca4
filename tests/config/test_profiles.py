"""Vendor profiles in a configuration and in files of their own: what they say, what is wrong with them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from wattbridge.config import ConfigErrors, Profile, read_profile, read_profile_text, read_text
from wattbridge.config.changes import changes
from wattbridge.config.profiles import FOLDER, built_in, built_in_names, known_names, resolved, rules_of
from wattbridge.ocpp.rules import Alias, Condition, Edit, Fallback, Rules, Word

SMALL = """\
gateway: {unknown: accept}
listeners: {soap: {bind: "127.0.0.1:8080"}}
upstreams: {main: {url: "ws://h/"}}
"""


def own(text: str) -> dict[str, Profile]:
    return dict(read_text(SMALL + text).config.profiles)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as errors:
        read_text(SMALL + text)
    return [str(problem).removeprefix("gateway.yaml:") for problem in errors.value.problems]


# --- what they say


def test_a_profile_says_nothing_when_nothing_is_written() -> None:
    assert rules_of("p", own("profiles: {p: }")["p"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "rewrite: yes",
        "time: {zone: Europe/Berlin}",
        "soap: {prefix: ns1}",
    ],
)
def test_what_would_not_pass_as_it_is_has_rules_even_without_any(text: str) -> None:
    assert rules_of("p", own(f"profiles: {{p: {{{text}}}}}")["p"]) == Rules("p")


@pytest.mark.parametrize(
    "text",
    [
        "calls: {timeout: 45s, answered_here: [Reset]}",
        "soap: {from: none, to: from, fault_status: 200}",
        "websocket: {subprotocol: required}",
        "rewrite: no",
    ],
)
def test_what_is_said_besides_payloads_lets_them_pass(text: str) -> None:
    assert rules_of("p", own(f"profiles: {{p: {{{text}}}}}")["p"]) is None


def test_rules_are_those_that_are_written() -> None:
    profile = own("""
profiles:
  p:
    time: {precision: seconds, z: local}
    text: {truncate: info}
    values: {unit: {Kwh: kWh}}
    unknown: {errorCode: {becomes: OtherError}}
    defaults: {chargePointVendor: ACME}
    aliases: [{action: BootNotification, field: interval, as: heartbeatInterval}]
    fields:
      - {action: MeterValues, when: {unit: , context: [Other, "Tr*"]}, drop: sampledValue.unit}
      - {action: GetConfiguration, part: response, scale: {configurationKey.value: 0.1}, set: {key: x}}
""")["p"]
    assert rules_of("p", profile) == Rules(
        "p",
        words=(Word("unit", "Kwh", "kWh"),),
        fallbacks=(Fallback("errorCode", "OtherError", ("vendorErrorCode", "info")),),
        defaults=(("chargePointVendor", "ACME"),),
        truncated=("info",),
        aliases=(Alias("BootNotificationResponse", "interval", "heartbeatInterval"),),
        edits=(
            Edit(
                "MeterValues",
                (Condition("unit", (None,)), Condition("context", ("Other", "Tr*"))),
                drop=("sampledValue.unit",),
            ),
            Edit(
                "GetConfigurationResponse",
                set=(("key", "x"),),
                scale=(("configurationKey.value", Decimal("0.1")),),
            ),
        ),
        precision="seconds",
        z_is_local=True,
    )


def test_one_profile_says_what_another_does_and_more() -> None:
    profiles = own("""
profiles:
  base:
    title: base
    products: [{vendor: ACME}]
    rewrite: yes
    calls: {timeout: 45s, answered_here: [Reset]}
    time: {zone: Europe/Berlin}
    text: {truncate: [info]}
    values: {unit: {Kwh: kWh, Watt: W}}
    fields: [{action: Reset, set: {type: Soft}}]
  child:
    extends: base
    calls: {retries: 2, answered_here: [Reset, ClearCache]}
    text: {truncate: [firmwareVersion]}
    values: {unit: {Kwh: Wh}, phase: {R: L1}}
    fields: [{action: Reset, set: {type: Hard}}]
  grandchild: {extends: child, rewrite: no, time: {zone: UTC}}
""")
    found = resolved("grandchild", profiles)
    assert (found.title, found.products, found.rewrite) == (None, (), False)
    assert (found.calls.timeout, found.calls.retries) == (45.0, 2)
    assert found.calls.answered_here == ("Reset", "ClearCache")
    assert found.time.zone is not None
    assert found.time.zone.key == "UTC"
    assert found.text.truncate == ("info", "firmwareVersion")
    assert found.values == {"unit": {"Kwh": "Wh", "Watt": "W"}, "phase": {"R": "L1"}}
    assert [rule.set["type"] for rule in found.fields] == ["Soft", "Hard"]
    assert resolved("child", profiles).rewrite is True


def test_a_profile_may_extend_one_of_ours_also_under_its_name() -> None:
    profiles = own("profiles: {keba: {extends: keba, calls: {retries: 1}}, mine: {extends: keba}}")
    ours = built_in("keba")
    assert resolved("keba", profiles).calls.timeout == ours.calls.timeout == 60.0
    assert resolved("mine", profiles).calls.retries == 1
    assert resolved("keba", {}) == ours
    assert resolved("keba-in-ampere", profiles).calls.retries == 0  # ours extends ours
    assert set(known_names(profiles)) == built_in_names() | {"mine"}


# --- what is wrong


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("profiles: {p: {fiels: []}}", "4:16: profiles.p.fiels: unknown key (did you mean 'fields'?)"),
        ("profiles: {none: }", "4:12: profiles.none: is the name of no profile at all: choose another"),
        ("profiles: {p: {name: q}}", "4:16: profiles.p.name: is 'q', but the key is 'p'"),
        ("chargers: {C: {profile: kebba}}", "4:16: chargers.C.profile: no profile 'kebba' (did you mean"),
        (
            "routes: [{name: r, match: any, upstream: main, profile: nkd}]",
            "4:48: routes.0.profile: no profile 'nkd' (did you mean 'nkt'?)",
        ),
        ("profiles: {p: {extends: q}, r: {extends: pp}}", "4:16: profiles.p.extends: no profile 'q'"),
        ("profiles: {p: {extends: p}}", "4:16: profiles.p.extends: 'p' extends itself"),
        ("profiles: {p: {products: [{}]}}", "4:27: profiles.p.products.0: would fit every charge point"),
        ("profiles: {p: {soap: {prefix: soap}}}", "4:23: profiles.p.soap.prefix: 'soap' is no prefix of"),
        ("profiles: {p: {fields: [{action: Reset}]}}", "4:25: profiles.p.fields.0: changes nothing"),
        (
            "profiles: {p: {fields: [{action: Reset, scale: {type: x}}]}}",
            "4:49: profiles.p.fields.0.scale.type: 'x' is no factor: write 1000 or 0.1",
        ),
        (
            "profiles: {p: {fields: [{action: Reset, scale: {type: 5000000}}]}}",
            "4:49: profiles.p.fields.0.scale.type: '5000000' is out of range: expected 0.000001 to 1000000",
        ),
        (
            "profiles: {p: {fields: [{action: Reste, set: {type: Soft}}]}}",
            "4:26: profiles.p.fields.0.action: there is no action 'Reste' (did you mean 'Reset'?)",
        ),
        (
            "profiles: {p: {fields: [{action: 'a b', set: {type: Soft}}]}}",
            "4:26: profiles.p.fields.0.action: 'a b' is no action: write StatusNotification",
        ),
        (
            "profiles: {p: {fields: [{action: Reset, set: {tipe: Soft}}]}}",
            "4:47: profiles.p.fields.0.set.tipe: Reset has no field 'tipe' (did you mean 'type'?)",
        ),
        (
            "profiles: {p: {fields: [{action: Reset, set: {type: Medium}}]}}",
            "4:47: profiles.p.fields.0.set.type: 'Medium' is not one of 'Hard', 'Soft'",
        ),
        (
            "profiles: {p: {fields: [{action: Reset, drop: [type]}]}}",
            "4:48: profiles.p.fields.0.drop.0: type is required and cannot be dropped",
        ),
        (
            "profiles: {p: {fields: [{action: Reset, when: {kind: x}, set: {type: Soft}}]}}",
            "4:48: profiles.p.fields.0.when.kind: Reset has no field 'kind'",
        ),
        (
            "profiles: {p: {fields: [{action: MeterValues, when: {sampledValue: x}, set: {value: '1'}}]}}",
            "4:54: profiles.p.fields.0.when.sampledValue: sampledValue is an object: only values",
        ),
        (
            "profiles: {p: {fields: [{action: MeterValues, when: {'sampled value': x}, set: {value: '1'}}]}}",
            "4:54: profiles.p.fields.0.when.\"sampled value\": 'sampled value' is no path of fields",
        ),
        (
            "profiles: {p: {fields: [{action: StopTransaction, set: {timestamp: now}}]}}",
            "4:57: profiles.p.fields.0.set.timestamp: 'now' is not a time like 2024-05-01T10:00:00Z",
        ),
        (
            "profiles: {p: {values: {unit: {Watt: Watts}}}}",
            "4:32: profiles.p.values.unit.Watt: 'Watts' is no word of unit",
        ),
        ("profiles: {p: {values: {idTag: {a: b}}}}", "4:25: profiles.p.values.idTag: idTag is no enum"),
        (
            "profiles: {p: {values: {unitt: {a: b}}}}",
            "4:25: profiles.p.values.unitt: charge points send no field 'unitt' (did you mean 'unit'?)",
        ),
        (
            "profiles: {p: {unknown: {errorCode: {becomes: Eror}}}}",
            "4:26: profiles.p.unknown.errorCode: 'Eror' is no word of errorCode (did you mean 'NoError'?)",
        ),
        ("profiles: {p: {unknown: {errorCode: }}}", "4:26: profiles.p.unknown.errorCode.becomes: is missing"),
        (
            "profiles: {p: {defaults: {meterStart: x}}}",
            "4:27: profiles.p.defaults.meterStart: 'x' is not an integer",
        ),
        ("profiles: {p: {defaults: {vendor: x}}}", "4:27: profiles.p.defaults.vendor: charge points send"),
        ("profiles: {p: {defaults: {unknownKey: x}}}", "4:27: profiles.p.defaults.unknownKey: unknownKey is"),
        (
            "profiles: {p: {text: {truncate: [idTag]}}}",
            "4:34: profiles.p.text.truncate.0: idTag tells who charges: two ids may be",
        ),
        ("profiles: {p: {text: {truncate: ['*', nil]}}}", "4:39: profiles.p.text.truncate.1: charge points"),
        ("profiles: {p: {text: {truncate: [data]}}}", "4:34: profiles.p.text.truncate.0: data may be of any"),
        (
            "profiles: {p: {aliases: [{action: BootNotification, field: intervall, as: x}]}}",
            "4:26: profiles.p.aliases.0: BootNotificationResponse has no field 'intervall'",
        ),
        (
            "profiles: {p: {aliases: [{action: BootNotification, field: interval, as: status}]}}",
            "4:26: profiles.p.aliases.0: only fields of the message itself can have another name",
        ),
        (
            "profiles: {p: {calls: {answered_here: [Heartbeat]}}}",
            "4:40: profiles.p.calls.answered_here.0: no charge point is asked for 'Heartbeat'",
        ),
        (
            "profiles: {p: {samples: [{title: x}]}}",
            "4:26: profiles.p.samples.0: needs a message that comes in (in)",
        ),
        (
            "profiles: {p: {samples: [{title: x, in: '[2]'}]}}",
            "4:26: profiles.p.samples.0: needs the message that goes out (out), or answered_here: yes",
        ),
        (
            "profiles: {p: {samples: [{title: x, in: Hallo, out: '[2]'}]}}",
            "4:37: profiles.p.samples.0.in: 'Hallo' is no message: expected a SOAP envelope",
        ),
        (
            "profiles: {p: {defaults: {info: \"a\\tb\"}}}",
            "4:27: profiles.p.defaults.info: expected one line of text",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text: str, problem: str) -> None:
    found = problems(text + "\n")
    assert found[0].startswith(problem), found


def test_profiles_that_extend_each_other_in_a_circle_are_refused() -> None:
    text = "profiles:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: b}\n  keba: {extends: a}\n"
    assert problems(text) == [
        "6:7: profiles.b.extends: extends itself: b → c → b",
        "7:7: profiles.c.extends: extends itself: c → b → c",
    ]


def test_what_is_no_profile_is_no_circle() -> None:
    assert problems("profiles: {a: {extends: b}, b: [x]}\n") == [
        "4:29: profiles.b: expected a mapping, found a list"
    ]
    assert problems("chargers: {C: [x]}\nroutes: x\n")


def test_a_change_of_a_profile_is_told() -> None:
    was = read_text(SMALL + "profiles: {p: {calls: {timeout: 1s}}}").config
    becomes = read_text(SMALL + "profiles: {p: {calls: {timeout: 2s}}, q: }").config
    assert [str(change) for change in changes(was, becomes)] == [
        "profiles.p.calls.timeout: 1s → 2s",
        "profiles.q: new: {}",
    ]


# --- in files of their own


@pytest.mark.parametrize("name", sorted(built_in_names()))
def test_ours_can_be_used_and_say_what_they_should(name: str) -> None:
    profile = built_in(name)
    assert profile.name == name
    assert profile.title
    assert profile.evidence
    assert profile.requirements
    assert profile.samples


def test_there_are_enough_of_them() -> None:
    assert len(built_in_names()) > 15
    assert len([name for name in built_in_names() if built_in(name).products]) > 13


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "p.yaml:1:1: name is missing: what it is called"),
        ("title: x\n", "p.yaml:1:1: name is missing: what it is called"),
        ("- x\n", "p.yaml:1:1: expected a profile, found a list"),
        (
            "name: p\nextends: kebba\n",
            "p.yaml:2:1: extends: no profile 'kebba' comes with the gateway (did you mean",
        ),
        (
            "name: p\nfields: [{action: Reset, set: {tipe: x}}]\n",
            "p.yaml:2:32: fields.0.set.tipe: Reset has no field",
        ),
        ("name: p\nsoap: {prefixx: a}\n", "p.yaml:2:8: soap.prefixx: unknown key (did you mean 'prefix'?)"),
        ("name: p\nname: q\n", "p.yaml:2:1: name: key 'name' is here twice, first in line 1"),
        ("name: [\n", "p.yaml:2:1: is no YAML"),
        (
            "name: p\nunknown: {errorCode: {}}\n",
            "p.yaml:2:11: unknown.errorCode.becomes: is missing (the word",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_told_likewise(text: str, problem: str) -> None:
    with pytest.raises(ConfigErrors) as errors:
        read_profile_text(text, "p.yaml")
    assert str(errors.value.problems[0]).startswith(problem), errors.value


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="no such file"):
        read_profile(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigErrors, match="is not UTF-8 text"):
        read_profile(tmp_path / "p.yaml")
    assert read_profile(FOLDER / "nkt.yaml").soap.prefix == "ns1"
