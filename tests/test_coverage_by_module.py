"""The pure part is covered whole, each module by its own tests; and the tool that says so can be believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import coverage_by_module
from tests.coverage_by_module import TESTS, cover, missing, modules


def test_every_module_has_its_test_file() -> None:
    assert [module for module in modules() if not (TESTS / f"test_{module}.py").is_file()] == []
    assert "payloads" in modules()
    assert "__init__" not in modules()


def test_every_module_is_covered_whole_by_its_own_test_file(capsys: pytest.CaptureFixture[str]) -> None:
    """A child process for each module: half a minute, the longest test there is."""
    assert coverage_by_module.main([]) == 0, capsys.readouterr().out


def test_what_is_not_reached_is_listed(tmp_path: Path) -> None:
    (tmp_path / "test_errors.py").write_text(
        "from wattbridge.ocpp.errors import shown\n\ndef test_some(): assert shown(7) == '7'\n"
    )
    found = cover("errors", tests=tmp_path)
    assert not found.whole
    assert 0 < found.percent < 100
    assert found.missing
    assert str(found) == f"errors       {found.percent:5.1f} %  {found.missing}"


def test_lines_and_branches_are_listed_shortly() -> None:
    branches = [[10, 12], [10, 20], [30, -28], [14, 40]]
    assert list(missing([12, 14, 15, 16, 18], branches)) == ["12", "14-16", "18", "10->20", "30->exit"]


def test_tests_that_fail_or_are_missing_are_no_tests(tmp_path: Path) -> None:
    assert not cover("errors", tests=tmp_path).whole
    assert str(cover("errors", tests=tmp_path)).startswith("errors       failed\n")
    (tmp_path / "test_errors.py").write_text("def test_nothing(): assert 0, 'no'\n")
    assert "no" in cover("errors", tests=tmp_path).failure
    (tmp_path / "test_errors.py").write_text("def test_nothing(): pass\n")
    assert cover("errors", tests=tmp_path).failure.endswith("errors.py")


def test_an_unknown_module_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert coverage_by_module.main(["payload"]) == 2
    assert capsys.readouterr().err.startswith("no such module: payload; there are actions, ")
