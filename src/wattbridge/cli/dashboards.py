"""``wattbridge dashboards``: what Grafana and Prometheus need to watch a gateway, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import yaml

from wattbridge.cli.tables import write_table


def folders(module: Path = Path(__file__)) -> dict[str, Path]:
    """What is rendered, by the name of its folder.

    They are in the package when that was installed from a wheel, and at the top of a checkout.
    """
    package, checkout = module.parents[1] / "watching", module.parents[3]
    if package.is_dir():
        return {"dashboards": package / "dashboards", "prometheus": package / "prometheus"}
    return {
        "dashboards": checkout / "grafana" / "dashboards",
        "prometheus": checkout / "deploy" / "prometheus",
    }


def list_dashboards(*, as_json: bool, out: TextIO) -> int:
    rows = [{"file": f"{name}/{file.name}", "what": _what(file)} for name, file in _files()]
    if as_json:
        out.write(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    else:
        write_table(("file", "what"), [tuple(row.values()) for row in rows], out)
    return 0


def render(folder: str, *, out: TextIO, err: TextIO) -> int:
    """Write all files below *folder*. Returns 2 when that cannot be."""
    for name, file in _files():
        target = Path(folder, name, file.name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        except OSError as error:
            err.write(f"wattbridge: {target}: {error.strerror}\n")
            return 2
        out.write(f"{target}\n")
    return 0


def _files() -> list[tuple[str, Path]]:
    return [
        (name, file)
        for name, folder in folders().items()
        for file in sorted(folder.iterdir())
        if file.is_file()
    ]


def _what(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        title: str = json.loads(text)["title"]
        return title
    if file.name == "wattbridge.rules.yaml":
        rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
        return f"{len({rule['alert'] for rule in rules if 'alert' in rule})} alerts"
    return {
        "alertmanager.yml": "an example for Alertmanager",
        "operator.yaml": "the same for Prometheus Operator",
        "prometheus.yml": "an example for Prometheus",
        "wattbridge.rules.test.yaml": "when each alert fires",
    }[file.name]
