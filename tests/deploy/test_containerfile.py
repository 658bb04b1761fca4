"""The recipe of the image. What is made with it is proven by ``make image-test``, which takes longer."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.test_packaging import PROJECT, ROOT, locked

TEXT = (ROOT / "deploy/Containerfile").read_text(encoding="utf-8")


def pins(file: Path) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9._-]+)==(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_the_image_has_what_was_tested() -> None:
    """The same versions, by hash. Write them anew with ``make lock``."""
    tested = locked()
    for name in ("requirements.lock", "build.lock", "tools.lock"):
        file = ROOT / "deploy/container" / name
        text = file.read_text(encoding="utf-8")
        assert "://" not in text
        assert all("--hash=sha256:" in pin for pin in text.replace("\\\n", "").splitlines())
        for package, version in pins(file).items():
            assert tested.get(package, version) == version, (name, package)
    needed = {canonicalize_name(re.split(r"[^\w-]", text)[0]) for text in PROJECT["project"]["dependencies"]}
    assert needed <= set(pins(ROOT / "deploy/container/requirements.lock"))
    assert "hatchling" in pins(ROOT / "deploy/container/build.lock")


def test_the_image_runs_as_nobody_with_a_health_check() -> None:
    assert re.findall(r"^USER (.*)$", TEXT, re.MULTILINE)[-1] == "65532:65532"
    assert re.search(r'^HEALTHCHECK .* CMD \["wattbridge", "healthcheck"\]$', TEXT, re.MULTILINE)
    assert f"\nARG VERSION={PROJECT['project']['version']}\n" in TEXT


def test_what_runs_needs_no_shell() -> None:
    """Neither when it is made nor when it runs: the base may have none."""
    runtime = TEXT.partition("FROM ${BASE}")[2]
    for line in re.findall(r"^(?:RUN|CMD|ENTRYPOINT|HEALTHCHECK.* CMD) (.*)$", runtime, re.MULTILINE):
        assert line.startswith("["), line


def copied() -> set[str]:
    """What the build is given of the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE)
    return {path for line in lines for path in line.split()}


def test_all_that_the_wheel_is_made_of_goes_into_the_build() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert copied() >= {*wheel["force-include"], "src", "pyproject.toml"}


def test_only_what_is_needed_goes_into_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    wanted = copied()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all(any(path == each or path.startswith(f"{each}/") for each in allowed) for path in wanted)
