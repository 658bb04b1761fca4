"""What is built is complete: a wheel works without the checkout, and the sdist makes the same wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MESSAGE = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">
  <s:Header>
    <o:chargeBoxIdentity xmlns:o="urn://Ocpp/Cs/2015/10/">CP3211</o:chargeBoxIdentity>
    <a:MessageID>1</a:MessageID>
  </s:Header>
  <s:Body><authorizeRequest xmlns="urn://Ocpp/Cs/2015/10/"><idTag>04E91C5A</idTag></authorizeRequest></s:Body>
</s:Envelope>
"""
CONFIGURATION = """\
listeners: {soap: {bind: "127.0.0.1:0"}}
upstreams: {cloud: {url: "ws://127.0.0.1:9/"}}
chargers: {CP3211: }
metrics: {bind: "127.0.0.1:0"}
"""


def build(checkout: Path, folder: Path, kind: str) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)],
        cwd=checkout,
        check=True,
        capture_output=True,
        timeout=60,
    )
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def unpacked_sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sdist = build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [checkout] = folder.iterdir()
    return checkout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in it; everything it depends on is where the tests run."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-index", "--no-deps", "--target", str(target), str(wheel)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return target


def run(installed: Path, folder: Path, *arguments: str) -> str:
    """What the installed command prints, far from the checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ended = subprocess.run(
        [str(installed / "bin" / "wattbridge"), *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_wheel_holds_the_package_and_the_service_descriptions(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    descriptions = {path.relative_to(ROOT / "wsdl").as_posix() for path in (ROOT / "wsdl").rglob("*.[wx]s*")}
    assert {"1.6/CentralSystemService.wsdl", "1.6/types.xsd"} <= descriptions
    assert {f"wattbridge/wsdl/{name}" for name in descriptions} <= names
    ours = {path.name for path in (ROOT / "src/wattbridge/profiles").iterdir()}
    assert {f"wattbridge/profiles/{name}" for name in ours} <= names
    assert all(name.endswith(".yaml") for name in ours)
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert modules | {"wattbridge/py.typed"} <= names
    assert {"wattbridge/watching/dashboards/overview.json"} <= names
    assert {"wattbridge/watching/prometheus/wattbridge.rules.yaml"} <= names
    version = PROJECT["project"]["version"]
    assert {name.partition("/")[0] for name in names} == {"wattbridge", f"wattbridge-{version}.dist-info"}
    assert not [name for name in names if "__pycache__" in name]


def test_a_wheel_tells_what_it_needs_and_nothing_of_development(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Metadata.from_email(archive.read(name))
    assert str(metadata.requires_python) == PROJECT["project"]["requires-python"]
    wanted = {Requirement(text).name for text in PROJECT["project"]["dependencies"]}
    needed = metadata.requires_dist or []
    assert {one.name for one in needed if "extra" not in str(one.marker)} == wanted
    assert [str(one) for one in needed if "extra" in str(one.marker)] == [
        'opentelemetry-exporter-otlp-proto-http<2,>=1.30; extra == "otel"',
        'opentelemetry-sdk<2,>=1.30; extra == "otel"',
        'spyne<3,>=2.14; extra == "simulators"',
    ]
    assert (metadata.description or "").startswith("# Wattbridge")


def test_a_wheel_is_the_same_each_time_it_is_built(wheel: Path, tmp_path: Path) -> None:
    assert build(ROOT, tmp_path, "wheel").read_bytes() == wheel.read_bytes()


def test_the_sdist_makes_the_same_wheel(wheel: Path, unpacked_sdist: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(build(unpacked_sdist, tmp_path, "wheel")) as second:
        assert first.namelist() == second.namelist()
        for name in first.namelist():
            assert first.read(name) == second.read(name), name


def test_the_sdist_holds_tests_and_pages(unpacked_sdist: Path) -> None:
    for name in ("Makefile", "CHANGELOG.md", "requirements.lock", "tests/test_packaging.py", "docs/index.md"):
        assert (unpacked_sdist / name).is_file(), name


def test_an_installed_wheel_works_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "version") == f"wattbridge {PROJECT['project']['version']}\n"
    assert "heartbeatRequest" in run(installed, tmp_path, "explain", "Heartbeat")
    assert "26 alerts" in run(installed, tmp_path, "dashboards", "list")
    (tmp_path / "message.xml").write_text(MESSAGE)
    assert (
        run(installed, tmp_path, "translate", "message.xml") == '[2,"1","Authorize",{"idTag":"04E91C5A"}]\n'
    )
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION)
    run(installed, tmp_path, "run", "--once-ready-exit")


def test_an_installed_wheel_brings_the_tables_of_its_store(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION)
    migrations = sorted(path.stem for path in (ROOT / "src/wattbridge/store/migrations").glob("*.sql"))
    told = run(installed, tmp_path, "store", "migrate")
    assert told == "".join(f"{name}: done\n" for name in migrations) + "ok: wattbridge.db is up to date\n"


def test_an_installed_wheel_reads_its_own_service_descriptions(installed: Path, tmp_path: Path) -> None:
    program = "from wattbridge.ocpp import wsdl; print(wsdl.descriptions_folder())"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert Path(ended.stdout.strip()) == installed / "wattbridge" / "wsdl"


# --- What is installed for development


def locked() -> dict[str, str]:
    """Package → version, as ``requirements.lock`` pins them."""
    pins: dict[str, str] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            name, _, version = line.partition(" ")[0].partition("==")
            pins[canonicalize_name(name)] = version
    return pins


def test_every_dependency_is_pinned_within_its_range() -> None:
    """Write it anew with ``make lock``."""
    pins = locked()
    for text in [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]:
        requirement = Requirement(text)
        pinned = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned), text


def test_the_lock_file_pins_by_hash_and_names_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    for pin in text.replace("\\\n", "").splitlines():
        assert "--hash=sha256:" in pin, pin
