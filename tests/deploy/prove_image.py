"""What the image does when it runs: ``make image-test``.

It is no part of ``make test``, since it takes longer and needs root and podman.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import PATIENCE, USUAL_ANSWERS, a_central_system, get, post, soap_request
from tests.interop.running import a_free_port
from wattbridge.config import Bind

pytestmark = pytest.mark.timeout(1200)  # seconds: the first time, packages are fetched
ROOT = Path(__file__).parent.parent.parent
IMAGE = os.environ.get("TAG", "localhost/wattbridge:dev")
ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(ROOT / "deploy/container/containers.conf")}
# As tight as it goes. Limits and timers of health are the machine's, which may not let us have them.
CONFINED = (
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"),
    *("--ulimit=host", "--network=host", "--health-interval=disable"),
)
CONFIGURATION = """
gateway: {{drain: 20s}}
listeners: {{field: {{bind: "127.0.0.1:{port}"}}}}
upstreams: {{central: {{url: "{url}"}}}}
chargers: {{CP1: }}
metrics: {{bind: "127.0.0.1:{metrics}"}}
logging: {{format: json}}
"""


def podman(*arguments: str, expect: int | None = 0) -> str:
    """Its output. What it says of the systemd that is not here goes to standard error."""
    ended = subprocess.run(
        ["podman", *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert expect is None or ended.returncode == expect, ended.stderr
    return ended.stdout


@dataclass
class Container:
    """A gateway in a container; charge points post to ``url``, its health is at ``health``."""

    name: str
    url: str
    health: Bind

    async def podman(self, *arguments: str, expect: int | None = 0) -> str:
        return await asyncio.to_thread(podman, *arguments, expect=expect)

    async def log(self) -> list[dict[str, Any]]:
        ended = await asyncio.to_thread(
            subprocess.run, ["podman", "logs", self.name], env=ENVIRONMENT, capture_output=True, text=True
        )
        return [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]

    async def until(self, event: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                if any(line["event"] == event for line in await self.log()):
                    return
                await asyncio.sleep(0.1)

    async def until_ready(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    if (await get(f"http://{self.health}/readyz")).status == 200:
                        return
                except OSError:
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def a_container(folder: Path, url: str) -> AsyncIterator[Container]:
    port, metrics = a_free_port(), a_free_port()
    (folder / "gateway.yaml").write_text(CONFIGURATION.format(port=port, metrics=metrics, url=url))
    os.chmod(folder, 0o755)  # noqa: PTH101  # the user in the container is another one
    name = f"wattbridge-{port}"
    podman("run", "-d", "--name", name, *CONFINED, "-v", f"{folder}:/etc/wattbridge:ro", IMAGE)
    container = Container(name, f"http://127.0.0.1:{port}/ocpp/cs", Bind("127.0.0.1", metrics))
    try:
        await container.until_ready()
        yield container
    finally:
        podman("rm", "--force", "--volumes", "--time=0", name, expect=None)


@pytest.fixture(scope="module")
def inspected() -> dict[str, Any]:
    [image] = json.loads(podman("image", "inspect", IMAGE))
    assert isinstance(image, dict)
    return image


def test_the_image_says_what_it_is(inspected: dict[str, Any]) -> None:
    config = inspected["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["wattbridge"]
    assert config["Cmd"] == ["run"]
    assert config["StopSignal"] == "SIGTERM"
    assert inspected["Healthcheck"]["Test"] == ["CMD", "wattbridge", "healthcheck"]
    labels = {key.rpartition(".")[2]: value for key, value in inspected["Labels"].items()}
    assert (labels["title"], labels["licenses"], labels["version"]) == ("Wattbridge", "Apache-2.0", "0.1.0")
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["revision"])
    assert inspected["Size"] < 200e6  # bytes


def test_there_is_no_shell_and_nobody_to_become() -> None:
    podman("run", "--rm", *CONFINED, "--entrypoint", "/bin/sh", IMAGE, "-c", "true", expect=127)
    program = (
        "import os\n"
        "names = {name for folder in os.environ['PATH'].split(':') if os.path.isdir(folder)\n"
        "         for name in os.listdir(folder)}\n"
        "print(os.getuid(), sorted(names & {'su', 'sh', 'bash', 'dash', 'apt-get', 'pip'}))"
    )
    python = "/opt/wattbridge/bin/python3"
    assert podman("run", "--rm", *CONFINED, "--entrypoint", python, IMAGE, "-c", program) == "65532 []\n"


def test_the_demo_runs_in_it() -> None:
    told = podman("run", "--rm", *CONFINED, IMAGE, "demo", "--for", "6s")
    assert re.search(r"^[1-9]\d* exchanges, 0 failed", told, re.MULTILINE)


async def test_one_exchange_and_a_good_end(tmp_path: Path) -> None:
    """From SOAP to JSON and back, on a root that is read-only; then SIGTERM, with a call under way."""
    async with a_central_system() as central_system, a_container(tmp_path, central_system.url) as container:
        assert (
            await container.podman("exec", container.name, "wattbridge", "healthcheck", "--ready") == "ok\n"
        )
        await container.podman("healthcheck", "run", container.name)
        told = await container.podman("exec", container.name, "/opt/wattbridge/bin/python3", "-c", (
            "import pathlib\n"
            "for name in ('/x', '/tmp/x', '/opt/wattbridge/x', '/var/lib/wattbridge/x'):\n"
            "    try: pathlib.Path(name).write_text('x')\n"
            "    except OSError as problem: print(name, problem.strerror)\n"
        ))  # fmt: skip
        # The state is the one place for it.
        assert told.splitlines() == [
            f"{name} Read-only file system" for name in ("/x", "/tmp/x", "/opt/wattbridge/x")
        ]

        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(post(container.url, soap_request("StartTransaction")))
            charge_point = await central_system.next()
            call = await charge_point.frame()
            assert call[::2] == [2, "StartTransaction"]
            stopping = tasks.create_task(container.podman("stop", "--time", "60", container.name))
            await container.until("stopping")
            answer = {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}
            await charge_point.send(json.dumps([3, call[1], answer]))
        response = posting.result()
        assert response.status == 200
        assert "<ocpp:transactionId>7</ocpp:transactionId>" in response.body
        assert await charge_point.close_code() == 1001
        assert await stopping
        [state] = json.loads(await container.podman("inspect", container.name))
        assert state["State"]["ExitCode"] == 0
        assert (await container.log())[-1]["event"] == "stopped"


async def test_a_configuration_that_changes_is_read_again(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_container(tmp_path, central_system.url) as container,
    ):
        assert (await post(container.url, soap_request("Heartbeat"))).status == 200
        file = tmp_path / "gateway.yaml"
        file.write_text(file.read_text().replace("drain: 20s", "drain: 5s"))
        await container.until("configuration reloaded")


# --- All together


WATCHERS = "localhost/wattbridge-watchers:bookworm"
GATEWAY = "wattbridge-test_gateway_1"
# Of the rest, Grafana cannot be had everywhere.
STARTED = ("gateway", "prometheus", "alertmanager", "demo-central-system", "demo-soap", "demo-json")


def compose(*arguments: str) -> None:
    files = (ROOT / "deploy/compose.yaml", ROOT / "tests/deploy/compose.debian.yaml")
    command = [
        *(sys.executable, "-m", "podman_compose", *(word for file in files for word in ("-f", str(file)))),
        *("-p", "wattbridge-test", "--profile", "demo", "--podman-run-args=--ulimit=host"),
        *arguments,
    ]
    environment = ENVIRONMENT | {"WATTBRIDGE_IMAGE": IMAGE, "GRAFANA_PASSWORD": "not started"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def composed() -> Iterator[None]:
    """The gateway with simulated peers, Prometheus and Alertmanager, in a network of their own."""
    if subprocess.run(["podman", "image", "exists", WATCHERS], env=ENVIRONMENT).returncode != 0:
        tar = ROOT / "build/container/watchers.tar"
        if not tar.exists():
            subprocess.run([ROOT / "deploy/container/base.sh", "watchers", tar], check=True, timeout=600)
        podman("import", "--quiet", str(tar), WATCHERS)
    # Whether what is waited for is healthy, podman would ask its systemd.
    compose("up", "-d", "--no-build", "--no-deps", *STARTED)
    yield
    compose("down", "--volumes", "--timeout", "3")


def page(url: str) -> str:
    """What stands there for the gateway, which knows the others by name; nothing when nobody answers."""
    program = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=5).read().decode())"
    return podman("exec", GATEWAY, "/opt/wattbridge/bin/python3", "-c", program, expect=None)


def until(url: str, *patterns: str) -> str:
    """The page, once all of the patterns are found in it."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        found = page(url)
        if all(re.search(pattern, found) for pattern in patterns):
            return found
        time.sleep(0.5)
    pytest.fail(page(url))


@pytest.mark.usefixtures("composed")
def test_the_peers_of_the_compose_file_talk_through_the_gateway() -> None:
    wanted = (
        rf'wattbridge_calls_total\{{action="{action}",charger_protocol="ocpp1.6-{transport}",.*\}} [1-9]'
        for action in ("BootNotification", "StatusNotification")
        for transport in ("soap", "json")
    )
    metrics = until("http://127.0.0.1:9181/metrics", *wanted)
    assert not re.search(r"^wattbridge_call_failures_total.* [1-9]", metrics, re.MULTILINE)
    podman("healthcheck", "run", GATEWAY)


@pytest.mark.usefixtures("composed")
def test_prometheus_sees_the_gateway_and_knows_whom_to_tell() -> None:
    asked = "http://prometheus:9090/api/v1/query?query=up%7Bjob%3D%22wattbridge%22%7D"
    until(asked, r'"instance":"gateway:9181","job":"wattbridge"\},"value":\[[\d.]+,"1"\]')
    rules = json.loads(page("http://prometheus:9090/api/v1/rules"))["data"]["groups"]
    alerts = [rule["name"] for group in rules for rule in group["rules"] if rule["type"] == "alerting"]
    assert "WattbridgeDown" in alerts
    assert not [rule for group in rules for rule in group["rules"] if rule["health"] == "err"]
    told = json.loads(page("http://prometheus:9090/api/v1/alertmanagers"))["data"]
    assert told["activeAlertmanagers"] == [{"url": "http://alertmanager:9093/api/v2/alerts"}]
    assert page("http://alertmanager:9093/-/ready").strip() == "OK"


@pytest.mark.usefixtures("composed")
def test_the_gateway_of_the_compose_file_stops_in_good_order() -> None:
    """The last of them: it is not there afterwards."""
    podman("stop", "--time", "60", GATEWAY)
    [stopped] = json.loads(podman("inspect", GATEWAY))
    assert stopped["State"]["ExitCode"] == 0


# --- What it is made of


def test_the_recipe_and_its_scripts_have_no_flaw() -> None:
    folder = Path(sys.executable).parent
    scripts = sorted((ROOT / "deploy/container").glob("*.sh"))
    for command in ([folder / "hadolint", ROOT / "deploy/Containerfile"], [folder / "shellcheck", *scripts]):
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stdout) == (0, "")
