"""Each module of ``wattbridge/ocpp`` is covered whole, lines and branches, by its own test file alone.

``python -m tests.coverage_by_module [module …]`` runs ``tests/ocpp/test_<module>.py`` for each module and
prints a line; what is missing is listed, and the exit code is 1. A line that is reached only by the tests of
others is reached by accident.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "wattbridge" / "ocpp"
TESTS = ROOT / "tests" / "ocpp"
CONFIGURATION = ROOT / "pyproject.toml"


@dataclass(frozen=True)
class Covered:
    """What the tests of one module reach.

    ``missing`` lists lines and branches; ``failure`` is pytest's output when the tests did not pass.
    """

    module: str
    percent: float
    missing: str
    failure: str = ""

    @property
    def whole(self) -> bool:
        return not self.missing and not self.failure

    def __str__(self) -> str:
        if self.failure:
            return f"{self.module:<12} failed\n{self.failure}"
        return f"{self.module:<12} {self.percent:5.1f} %  {self.missing}".rstrip()


def modules(package: Path = PACKAGE) -> list[str]:
    """The modules that need a test file of their own: all but a package's docstring."""
    return sorted(file.stem for file in package.glob("*.py") if file.stem != "__init__")


def cover(module: str, package: Path = PACKAGE, tests: Path = TESTS) -> Covered:
    """Run the tests of *module* in a process of their own and see what of it they reach."""
    source, test_file = package / f"{module}.py", tests / f"test_{module}.py"
    if not test_file.is_file():
        return Covered(module, 0.0, "", f"{test_file} is missing")
    with tempfile.TemporaryDirectory() as folder:
        data, report = Path(folder) / "data", Path(folder) / "report.json"
        coverage, where = (
            [sys.executable, "-m", "coverage"],
            [f"--rcfile={CONFIGURATION}", f"--data-file={data}"],
        )
        run = subprocess.run(
            [*coverage, "run", *where, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test_file)],
            cwd=ROOT,
            env={**os.environ, "HYPOTHESIS_PROFILE": "cover"},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            return Covered(module, 0.0, "", run.stdout + run.stderr)
        written = [*coverage, "json", "-q", *where, f"--include={source}", "-o", str(report)]
        subprocess.run(written, cwd=ROOT, check=False, capture_output=True)
        if not report.is_file():
            return Covered(module, 0.0, "", f"{test_file} never imports {source}")
        files = json.loads(report.read_text())["files"]
    (found,) = files.values()
    return Covered(
        module,
        found["summary"]["percent_covered"],
        ", ".join(missing(found["missing_lines"], found["missing_branches"])),
    )


def missing(lines: list[int], branches: list[list[int]]) -> Iterator[str]:
    """``12``, ``14-17`` for lines, ``20->25`` for a branch that was never taken."""
    for index, line in enumerate(lines):
        if index and lines[index - 1] == line - 1:
            continue
        last = line
        while last + 1 in lines:
            last += 1
        yield str(line) if last == line else f"{line}-{last}"
    for start, end in branches:
        if start not in lines and end not in lines:
            yield f"{start}->{'exit' if end < 0 else end}"


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in modules()]
    if unknown:
        sys.stderr.write(f"no such module: {', '.join(unknown)}; there are {', '.join(modules())}\n")
        return 2
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(cover, names or modules()))
    for result in results:
        sys.stdout.write(f"{result}\n")
    return 0 if all(result.whole for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
