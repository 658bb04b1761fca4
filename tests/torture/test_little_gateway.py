"""The crash test itself: it finds nothing wrong with a gateway that is right, and what a lying one loses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.torture.run import Plan, Result, run

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a gateway without a parent is ended on Linux only"
)


async def tried(folder: Path, *arguments: str, patience: float) -> Result:
    """The result of a few rounds; after *patience* seconds without a message what is missing is lost."""
    plan = Plan(
        seed=1,
        kills=4,
        charge_points=4,
        rest_every=4,
        disk=False,
        only_json=True,
        command=(sys.executable, "-m", "tests.torture.little_gateway", *arguments),
        no_progress=patience,
        nothing_comes=patience,
    )
    return await run(plan, folder, lambda line: None)


async def test_nothing_is_found_where_everything_is_kept(tmp_path: Path) -> None:
    result = await tried(tmp_path, patience=30.0)
    assert [found.finding for found in result.found.values()] == []
    assert len(result.ledger.arrivals) > 50


async def test_what_was_acknowledged_and_not_kept_is_found(tmp_path: Path) -> None:
    result = await tried(tmp_path, "--lies", patience=1.5)
    assert result.count("lost") > 0
