"""``wattbridge init`` prints a file that can be used, and whose examples can be used, too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.test_main import run
from tests.config.certificates import write_certificates
from wattbridge.config import read_text

SECRETS = {"CSMS_PASSWORD": "x", "CP_0012345": "x", "ADMIN_TOKEN": "x"}

_EXAMPLE = re.compile(
    r'^( *)# ( *(?:- )?"?(?!yaml-language-server)[A-Za-z0-9_.-]+"?:(?: .*)?)$', re.MULTILINE
)


def with_its_examples(text: str) -> str:
    """As an operator would take the # away."""
    return _EXAMPLE.sub(r"\1\2", text)


@pytest.mark.parametrize("options", [(), ("--minimal",)])
def test_what_is_printed_can_be_checked(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("init", *options)
    assert (code, err) == (0, "")
    (tmp_path / "gateway.yaml").write_text(out)
    assert run("check", "--strict", "-c", "gateway.yaml") == (
        0,
        "",
        "ok: 1 listener, 1 upstream, 1 route, 1 charge point\n",
    )


def test_the_examples_can_be_used_together(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    for name, made in (("gateway.pem", "gw.pem"), ("gateway.key", "gw.key"), ("fleet.pem", "ca.pem")):
        (tmp_path / "certs" / name).write_bytes((tmp_path / "certs" / made).read_bytes())
    (tmp_path / "certs" / "csms-ca.pem").write_bytes((tmp_path / "certs" / "ca.pem").read_bytes())
    text = with_its_examples(run("init")[1]).replace("ws://127.0.0.1:9100", "wss://127.0.0.1:9100")
    loaded = read_text(text, folder=tmp_path, env=SECRETS)
    assert loaded.warnings == ()
    config = loaded.config
    assert list(config.upstreams) == ["cloud", "old", "audit"]
    assert config.upstreams["old"].protocol == "ocpp-soap"
    assert [route.name for route in config.routes] == [
        "old-firmware",
        "berlin",
        "test-devices",
        "everybody-else",
    ]
    assert list(config.chargers) == ["CP1", "BER-0001", "0012345"]
    assert config.listeners["field"].tls is not None
    assert config.callbacks.template == "http://{source_ip}:8090/"
    assert config.admin is not None


def test_every_line_fits_a_terminal() -> None:
    for options in ((), ("--minimal",)):
        assert max(map(len, run("init", *options)[1].splitlines())) <= 110
    assert len(run("init", "--minimal")[1].splitlines()) < 20
