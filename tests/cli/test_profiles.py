"""``wattbridge profile``: what is listed and shown, samples that are run, and profiles that are begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_main import run
from wattbridge.config.profiles import FOLDER, built_in_names

CONFIGURATION = """\
listeners: {field: {bind: "127.0.0.1:0"}}
upstreams: {cloud: {url: "ws://127.0.0.1/"}}
chargers: {CP1: {profile: acme}}
profiles:
  acme:
    title: ACME CC-1
    extends: keba
    products: [{vendor: ACME}]
    evidence: [a trace]
    requirements: [keep it dry]
    calls: {retries: 1}
    samples:
      - {title: passes, in: '[2,"1","Heartbeat",{}]', out: '[2,"1","Heartbeat",{}]'}
"""
CAPTURED = """
> [2,"1","BootNotification",{"chargePointVendor":"Foo [x]","chargePointModel":"CC","firmwareVersion":"1.2"}]
< at 10:00 [3,"1",{"status":"Accepted","currentTime":"2024-05-01T10:00:00Z","interval":300}] and more
[2,"2","StatusNotification",
  {"connectorId":1,"status":"INIT","errorCode":"Oops","timestamp":"2024-05-01T10:00:00"}]
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:o="urn://Ocpp/Cs/2015/10/"><s:Header>
<o:chargeBoxIdentity>CP1</o:chargeBoxIdentity></s:Header><s:Body><o:startTransactionRequest>
<o:connectorId>1</o:connectorId><o:idTag>it's</o:idTag><o:timestamp>2024-05-01T10:00:00Z</o:timestamp>
</o:startTransactionRequest></s:Body></s:Envelope>
[2,"3","DataTransfer",{"vendorId":"V","messageId":"MESSAGE"}]
[2,"4","Authorize",{"idTag":"much longer than an idTag may be"}]
[4,"9","NotSupported","",{}]
[2,"5","Fly",{}] [2,"6","Heart
""".replace("MESSAGE", "m" * 60)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION)
    (tmp_path / "trace.txt").write_text(CAPTURED)


def test_the_list_has_ours_and_those_of_a_configuration() -> None:
    code, out, err = run("profile", "list")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == len(built_in_names()) + 1
    assert "acme" not in out
    code, out, _ = run("profile", "list", "-c", "gateway.yaml")
    [line] = [line for line in out.splitlines() if line.startswith("acme ")]
    assert line.split() == ["acme", "configuration", "vendor", "like", "'ACME'"]
    code, out, _ = run("profile", "list", "--json")
    assert {entry["name"] for entry in json.loads(out)} == built_in_names()


def test_a_profile_is_shown_with_what_it_extends() -> None:
    code, out, err = run("profile", "show", "acme", "-c", "gateway.yaml")
    assert (code, err) == (0, "")
    assert (
        out
        == """\
acme: ACME CC-1
  for vendor like 'ACME'
  seen in: a trace
  to see to: keep it dry
  payloads: as they are where both sides speak the same
  websocket: {"subprotocol": "optional"}
  calls: {"timeout": "1m", "retries": 1}
  1 sample
"""
    )
    code, out, _ = run("profile", "show", "nkt", "--json")
    found = json.loads(out)
    assert (found["name"], found["soap"]) == ("nkt", {"prefix": "ns1"})
    _, out, _ = run("profile", "show", "chago")
    assert "  for charge points and routes that name it\n" in out
    assert "  payloads: read and written anew\n" in out


@pytest.mark.parametrize("command", ["show", "test"])
def test_a_profile_that_is_not_there_is_told(command: str) -> None:
    assert run("profile", command, "kebba") == (
        2, "", "wattbridge: there is no profile 'kebba' (did you mean 'keba'?)\n"
    )  # fmt: skip
    _, _, err = run("profile", command, "xyzzy")
    assert err.endswith("`wattbridge profile list` shows those there are\n")
    code, _, err = run("profile", command, "./nothing.yaml")
    assert (code, err) == (2, "nothing.yaml: no such file\n")
    Path("gateway.yaml").write_text("nonsense: 1\n")
    code, _, err = run("profile", command, "keba", "-c", "gateway.yaml")
    assert code == 2
    assert "unknown key" in err


@pytest.mark.parametrize("command", ["list", "test"])
def test_so_is_a_configuration_that_is_wrong(command: str) -> None:
    Path("gateway.yaml").write_text("nonsense: 1\n")
    code, _, err = run("profile", command, "-c", "gateway.yaml")
    assert code == 2
    assert "unknown key" in err


def test_samples_are_run() -> None:
    code, out, _ = run("profile", "test")
    assert code == 0
    assert out.endswith(f" samples of {len(built_in_names())} profiles, 0 failed\n")
    assert run("profile", "test", "acme", "-c", "gateway.yaml") == (
        0, "ok  acme: passes\n1 sample of 1 profile, 0 failed\n", ""
    )  # fmt: skip


def test_one_that_fails_is_shown() -> None:
    text = (FOLDER / "openevse.yaml").read_text().replace('"unit":"Celsius"}]}]}]\'', '"unit":"K"}]}]}]\'')
    Path("mine.yaml").write_text(text)
    code, out, _ = run("profile", "test", "mine.yaml")
    assert code == 1
    assert "FAILED  openevse: Values are texts, and C is Celsius\n" in out
    assert '        +      "unit": "Celsius",\n' in out or '"unit": "Celsius"' in out
    assert out.endswith("1 sample of 1 profile, 1 failed\n")
    code, out, _ = run("profile", "test", "mine.yaml", "--json")
    [found] = json.loads(out)
    assert (code, found["profile"]) == (1, "openevse")
    assert found["problem"]


# --- new


def test_a_profile_is_begun_with_captured_messages() -> None:
    code, out, err = run("profile", "new", "--from", "trace.txt")
    assert code == 0
    assert err == (
        "wattbridge: 8 messages, 6 of them samples; rules: defaults, text, time, unknown. "
        "Look through it, then: wattbridge profile test FILE\n"
    )
    Path("mine.yaml").write_text(out)
    assert "name: foo-x-cc\n" in out
    assert "  - vendor: Foo [[]x]\n    model: CC\n" in out
    assert "# firmware of the one that was seen: 1.2\nproducts:" in out
    assert "  StatusNotification.status:\n    becomes: Unavailable\n" in out
    assert "# times without an offset: write the zone in which they are meant\ntime:" in out
    assert "defaults:\n  StartTransaction.meterStart: '0'\n" in out
    assert "truncate:\n    - messageId\n" in out
    assert "too long, and an id must not be cut" in out or "no rule was found" in out
    assert run("profile", "test", "mine.yaml")[0] == 0
    # What it says is used.
    mended = '[2,"1","StatusNotification",{"connectorId":1,"status":"X","errorCode":"NoError"}]'
    Path("message.json").write_text(mended)
    code, out, err = run("translate", "message.json", "--profile", "mine.yaml", "--to", "json", "--explain")
    assert json.loads(out)[3]["status"] == "Unavailable"
    assert "(profile-fallback, profile mine.yaml)" in err


def test_it_has_the_name_it_is_given() -> None:
    Path("trace.txt").write_text('[2,"1","Heartbeat",{}]')
    code, out, _ = run("profile", "new", "--from", "trace.txt", "--name", "mine")
    assert code == 0
    assert "name: mine\n# no BootNotification was found" in out
    assert "products" not in out.partition("title:")[2]
    code, _, err = run("profile", "new", "--from", "trace.txt", "--name", "a b")
    assert code == 2
    assert "is no name" in err


@pytest.mark.parametrize("text", ["", "nothing to see", '[2,"1', "<Envelope>"])
def test_nothing_is_begun_without_a_message(text: str) -> None:
    Path("trace.txt").write_text(text)
    code, out, err = run("profile", "new", "--from", "trace.txt")
    assert (code, out) == (1, "")
    assert err.startswith("wattbridge: no message found")


def test_a_message_that_cannot_be_carried_is_no_sample() -> None:
    Path("trace.txt").write_text('<a:Envelope xmlns:a="urn:x">?</a:Envelope>[3,"1",{"status":"Accepted"}]')
    code, out, _ = run("profile", "new", "--from", "trace.txt")
    assert code == 0
    assert "samples:" not in out
    assert "# no rule was found for" in out


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"chargePointVendor": "V", "chargePointModel": "M", "own": 1}, "rewrite: true"),
        ({"chargePointVendor": "V" * 25, "chargePointModel": ""}, f"vendor: {'V' * 20}*"),
    ],
)
def test_what_is_odd_and_what_is_too_long(payload: dict[str, object], expected: str) -> None:
    Path("trace.txt").write_text(json.dumps([2, "1", "BootNotification", payload]))
    code, out, _ = run("profile", "new", "--from", "trace.txt")
    assert code == 0
    assert expected in out


# --- translate


def test_a_message_is_translated_by_a_profile() -> None:
    Path("reset.json").write_text('[2,"1","Reset",{"type":"Soft"}]')
    code, out, _ = run("translate", "reset.json", "--profile", "nkt")
    assert code == 0
    assert "<ns1:resetRequest>" in out
    assert run("translate", "reset.json", "--profile", "nobody")[0] == 2
    Path("boot.json").write_text(
        '[2,"1","BootNotification",{"chargePointVendor":"","chargePointModel":"ACChargePoint"}]'
    )
    code, out, err = run(
        "translate", "boot.json", "--profile", "huawei-scharger", "--to", "json", "--explain"
    )
    assert json.loads(out)[3]["chargePointVendor"] == "Huawei"
    assert "(profile-default, profile huawei-scharger)" in err
    Path("status.json").write_text(
        '[2,"1","StatusNotification",{"connectorId":1,"status":"Available","errorCode":"NoError",'
        '"timestamp":"2019-05-10T16:05:33Z"}]'
    )
    for zone, time in (((), "14:05:33"), (("--zone", "UTC"), "16:05:33")):
        _, out, _ = run("translate", "status.json", "--profile", "chago", "--to", "json", *zone)
        assert time in out
