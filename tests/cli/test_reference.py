"""The committed reference says what the models say."""

from __future__ import annotations

from pathlib import Path

from wattbridge.cli.reference import page
from wattbridge.config import Config

COMMITTED = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def test_the_reference_is_not_behind_the_models() -> None:
    """Write it anew with ``wattbridge config reference > docs/reference/configuration.md``."""
    assert COMMITTED.read_text(encoding="utf-8") == page()


def test_every_section_has_a_heading() -> None:
    headings = [line for line in page().splitlines() if line.startswith("## `")]
    assert len(headings) == len(Config.model_fields)


def test_a_row_tells_value_default_and_meaning() -> None:
    lines = page().splitlines()
    assert (
        "| `drain` | duration, 0s to 1h | `30s` | How long a stopping gateway waits for calls under way. |"
        in lines
    )
    assert "| `auth.basic` | section | – | HTTP Basic authentication. |" in lines
