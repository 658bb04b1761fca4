"""``python -m grafana.src``: write ``grafana/dashboards``."""

from __future__ import annotations

from grafana.src.pages import FOLDER, PAGES

for name, text in PAGES.items():
    (FOLDER / name).write_text(text(), encoding="utf-8")
