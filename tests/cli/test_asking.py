"""Where a gateway is, and with what token it is asked, can be said once for all commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_main import run


def test_the_environment_says_it_where_the_command_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-some-length")
    monkeypatch.setenv("WATTBRIDGE_ADMIN", "http://127.0.0.1:9")
    monkeypatch.setenv("WATTBRIDGE_TOKEN_FILE", str(file))
    assert run("problems")[2].startswith("wattbridge: no gateway at http://127.0.0.1:9: ")
    said = run("problems", "--admin", "http://127.0.0.1:7", "--token-file", str(tmp_path / "none"))[2]
    assert said == f"wattbridge: token file {tmp_path / 'none'}: no such file\n"
