"""The files of ``grafana/dashboards`` and what each is made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.src.charge_point import charge_point
from grafana.src.overview import overview
from grafana.src.reliability import reliability
from grafana.src.runtime import runtime
from grafana.src.translation import translation

FOLDER = Path(__file__).parent.parent / "dashboards"


def _text(made: Callable[[], Dashboard]) -> str:
    return JSONEncoder(sort_keys=True, indent=2).encode(made()) + "\n"


PAGES = {  # file → its text
    "overview.json": partial(_text, overview),
    "translation.json": partial(_text, translation),
    "reliability.json": partial(_text, reliability),
    "runtime.json": partial(_text, runtime),
    "charge-point.json": partial(_text, charge_point),
}
