"""What the pages say is true: their links lead somewhere, their configurations can be used, their commands
exist and print what stands there, and the texts they quote are those the gateway writes.

A comment before a fenced block says what it is: ``<!-- file: gateway.yaml -->`` names the file it becomes for
the commands further down the page, the others are named by the test that compares them.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main
import yaml
from lxml import etree
from typer.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.config.certificates import write_certificates
from tests.fakes import a_charge_point, soap_central_system
from tests.interop.running import Running, running
from tests.kept import PAYLOAD
from wattbridge.app import Gateway
from wattbridge.cli import app, pages
from wattbridge.config import ConfigErrors, load, read_text
from wattbridge.links.callbacks import AddressPolicy, CallbackClient, Refusal, choose
from wattbridge.links.http_client import Address
from wattbridge.ocpp import soap
from wattbridge.ocpp.actions import JsonCodec, dialect
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import CallError, Side
from wattbridge.operation.api.port import ROOT as API_ROOT
from wattbridge.operation.families import CHARGER_FAMILIES, FAMILIES
from wattbridge.reloading import Reloader
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.store.base import ChargePoint, Transaction, Waiting
from wattbridge.store.memory import MemoryStore

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md"), *ROOT.glob("grafana/*.md")]
)
README = ROOT / "README.md"
FIRST = ROOT / "docs/guides/first-charge-point.md"
CALLBACKS = ROOT / "docs/guides/callbacks-and-nat.md"
TROUBLESHOOTING = ROOT / "docs/guides/troubleshooting.md"
OLDER = ROOT / "docs/guides/older-charge-points.md"
ADMIN_API = ROOT / "docs/reference/admin-api.md"
EXAMPLE = ROOT / "deploy/gateway.yaml"

SECRETS = dict.fromkeys(
    ("CSMS_PASSWORD", "CSMS_0012345", "CP_0012345", "ADMIN_TOKEN"), "correct horse battery staple"
)
# What a fragment of a configuration needs around it.
AROUND = {
    "listeners": "listeners: {field: {bind: 0.0.0.0:8080}}\n",
    "upstreams": "upstreams: {cloud: {url: wss://csms.example.com/ocpp/}}\n",
    "chargers": "chargers: {CP3211: {}}\n",
}


# Only Linux has all of 127.0.0.0/8 on its loopback.
several_hosts = pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2 as a second host")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and the words behind it, the comment before it, where it begins."""

    page: Path
    line: int
    info: str
    marker: str
    text: str

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    marker, info, start = "", "", 0
    inside: list[str] | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.fullmatch(r"\s*```(.*)", line)
        if inside is not None:
            if fence:
                indent = min((len(one) - len(one.lstrip()) for one in inside if one.strip()), default=0)
                text = "".join(f"{one[indent:]}\n" for one in inside)
                found.append(Block(page, start, info, marker, text))
                inside, marker = None, ""
            else:
                inside.append(line)
        elif fence:
            info, inside, start = fence[1], [], number
        elif comment := re.fullmatch(r"<!-- (.*) -->", line):
            marker = comment[1]
        elif line.strip():
            marker = ""
    return found


ALL = [block for page in PAGES for block in blocks(page)]


def marked(page: Path, marker: str) -> list[str]:
    """The lines of the blocks with this comment."""
    lines = [line for block in blocks(page) if block.marker == marker for line in block.text.splitlines()]
    assert lines, f"{page.name} has no block {marker!r}"
    return lines


def without_code(text: str) -> str:
    return re.sub(r"^\s*```.*?^\s*```$", "", text, flags=re.DOTALL | re.MULTILINE)


# --- Links


def anchors(page: Path) -> set[str]:
    """The names that GitHub and GitLab give to headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# --- Configurations


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "yaml"], ids=str)
def test_configurations_can_be_used(block: Block, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    (tmp_path / "admin-token").write_text(SECRETS["ADMIN_TOKEN"], encoding="utf-8")
    text = block.text
    for section, around in AROUND.items():
        if f"\n{section}:" not in f"\n{text}":
            text += around
    if "wrong" in block.info:
        with pytest.raises(ConfigErrors):
            read_text(block.text)
    else:
        assert not read_text(text, folder=tmp_path, env=SECRETS).warnings


def test_the_example_of_deploy_can_be_used() -> None:
    loaded = read_text(EXAMPLE.read_text(encoding="utf-8"), env=SECRETS)
    assert not loaded.warnings


def test_prometheus_asks_where_the_metrics_are() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    [target] = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == str(read_text(EXAMPLE.read_text(encoding="utf-8"), env=SECRETS).config.metrics.bind)


# --- Commands


@dataclass(frozen=True)
class Command:
    words: tuple[str, ...]
    output: str
    files: dict[str, str]
    where: str

    def __str__(self) -> str:
        return self.where


def commands(page: Path) -> Iterator[Command]:
    """The commands of the console blocks, each with the files that the page has named by then."""
    files: dict[str, str] = {}
    for block in blocks(page):
        if block.marker.startswith("file: "):
            files[block.marker.removeprefix("file: ")] = block.text
        if block.language == "console":
            for line, part in enumerate(re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:], 1):
                typed, _, output = part.partition("\n")
                yield Command(tuple(shlex.split(typed)), output, dict(files), f"{block}+{line}")


COMMANDS = [command for page in PAGES for command in commands(page)]


def is_ours(words: Sequence[str]) -> bool:
    return words[0].rpartition("/")[2] == "wattbridge"


@pytest.mark.parametrize("command", [one for one in COMMANDS if is_ours(one.words) and one.output], ids=str)
def test_commands_print_what_stands_there(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in command.files.items():
        Path(name).write_text(text, encoding="utf-8")
    result = CliRunner(env={"WATTBRIDGE_CONFIG": "", "COLUMNS": "80"}).invoke(app, command.words[1:])
    assert result.stdout + result.stderr == command.output


def in_the_text(page: Path) -> Iterator[tuple[str, ...]]:
    """Commands of ours that stand in a sentence: ``wattbridge translate --explain``."""
    for span in re.findall(r"`(wattbridge [^`]+)`", without_code(page.read_text(encoding="utf-8"))):
        with suppress(ValueError):  # half a line of shell is no command
            yield tuple(shlex.split(span))


def test_commands_and_their_options_exist() -> None:
    mentioned = [one.words for one in COMMANDS if is_ours(one.words)]
    mentioned += [words for page in PAGES for words in in_the_text(page)]
    assert len(mentioned) > 20
    whole = typer.main.get_group(app)
    for words in mentioned:
        command: Any = whole
        rest = list(words[1:])
        while rest and isinstance(command, typer.core.TyperGroup):
            name = rest.pop(0)
            option = next((one for one in command.params if name in one.opts), None)
            if option is not None and not getattr(option, "is_flag", False):
                rest.pop(0)  # its value
                continue
            assert name.startswith("-") or name in command.commands, words
            command = command.commands.get(name, command)
        known = {"--help"}
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
        assert {word for word in rest if word.startswith("-") and len(word) > 1} <= known, words


def test_make_has_what_the_pages_promise() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert targets >= {"demo", "test", "check", "cover", "bench"}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"(?:`|\$ |\w=\w+ )make ([a-z][\w-]*)", text):
            assert target in targets, (page.name, target)


# --- What the README says of itself


def test_the_number_of_operations_is_right() -> None:
    number = len(dialect().operations)
    for page in (README, ROOT / "CHANGELOG.md"):
        told = re.search(r"all (\d+)\s+operations", page.read_text(encoding="utf-8"), re.IGNORECASE)
        assert told is not None
        assert int(told[1]) == number


# --- The log


def masked(line: str) -> str:
    """A line without what is different each time."""
    line = re.sub(r"^\S+Z ", "", line.strip())
    line = re.sub(r"seconds=[\d.e-]+", "seconds=…", line)
    line = re.sub(r"(http|ws)://[\d.]+:\d+", r"\1://…", line)
    line = re.sub(r"source=[\d.]+", "source=…", line)
    return re.sub(r"version=\S+", "version=…", line)


def post(url: str, body: bytes, source: str = "127.0.0.1", method: str = "POST") -> tuple[int, str]:
    """Status and text of the answer."""
    host, path = url.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection(host, timeout=30, source_address=(source, 0))
    try:
        connection.request(method, f"/{path}", body, {"Content-Type": "application/soap+xml"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def log_of(page: Path, folder: Path) -> set[str]:
    """What the gateway of a page logs: its configuration, its message, a known and an unknown identity that
    speak SOAP, and one that speaks JSON."""
    texts = {block.marker: block.text for block in blocks(page) if block.marker.startswith("file: ")}
    file = folder / "gateway.yaml"
    file.write_text(texts["file: gateway.yaml"], encoding="utf-8")
    message = texts["file: start.xml"]
    async with JsonCentralSystem() as central_system:
        settings = {
            "listeners.field.bind": "127.0.0.1:0",
            "listeners.field.allow": "[127.0.0.0/8]",
            "upstreams.cloud.url": f"{central_system.url}/{{charger}}",
            "callbacks.networks": "[127.0.0.0/8]",
            "metrics.bind": "127.0.0.1:0",
            "gateway.drain": "2s",
        }
        gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wattbridge", "run", "-c", str(file),
            *(word for path, value in settings.items() for word in ("--set", f"{path}={value}")),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert gateway.stderr is not None
        try:
            ready = (await gateway.stderr.readline()).decode()
            listening = re.search(r"http://[\d.:]+/ocpp/cs", ready)
            assert listening, ready
            url = listening[0]
            async with SoapChargePoint("CP3211", url) as charge_point:
                await charge_point.boot()
                await central_system.call("CP3211", "GetConfiguration", key=["HeartbeatInterval"])
            websockets = f"ws://{url.split('/')[2]}/ocpp"
            async with JsonChargePoint("CP3213", websockets) as charge_point:
                await charge_point.boot()
            for identity in ("CP3211", "CP3212"):
                await asyncio.to_thread(post, url, message.replace("CP3211", identity).encode())
        finally:
            gateway.terminate()
            rest = (await gateway.stderr.read()).decode()
            await gateway.wait()
    assert gateway.returncode == 0
    return {masked(line) for line in [ready, *rest.splitlines()]}


@pytest.mark.parametrize("page", [README, FIRST], ids=lambda page: page.name)
async def test_the_log_is_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    written = await log_of(page, tmp_path)
    shown = [
        line for block in blocks(page) if block.marker.startswith("log") for line in block.text.splitlines()
    ]
    assert len(shown) >= 5
    for line in shown:
        assert masked(line) in written


def test_the_demo_is_what_the_readme_shows() -> None:
    def told(line: str) -> str:
        line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "TIME", line)
        line = re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "TIME", line)
        line = re.sub(r"[0-9a-f]{8}…", "ID", line)
        return re.sub(r"127\.0\.0\.1:\d+|[\d.]+ ms|\(gateway [\d.]+\)", "…", line)

    ended = subprocess.run(
        [sys.executable, "-m", "wattbridge", "demo", "--for", "2s"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout
    printed = [told(line) for line in ended.stdout.splitlines()]
    for line in marked(README, "demo"):
        begin = told(line.removesuffix(" …"))
        assert any(one.startswith(begin) for one in printed), line


# --- The texts of the guides


async def test_callback_refusals_are_as_quoted() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError

    candidates: list[dict[str, str]] = [
        {},
        {"from_address": "http://www.w3.org/2005/08/addressing/anonymous"},
        {"from_address": "http://192.168.1.20:8090/"},
        {"from_address": "http://127.0.0.1:8090/"},
        {"from_address": "http://169.254.169.254/"},
        {"from_address": "http://cp3211.local:8090/"},
        {"from_address": "ftp://10.20.4.17/"},
        {"from_address": "10.20.4.17:8090"},
        {"pinned": "http://cp3211.example.net:8090/"},
    ]
    refusals = []
    for candidate in candidates:
        refusal = await choose(
            AddressPolicy(), identity="CP3211", source_ip="198.51.100.9", resolve=resolve, **candidate
        )
        assert isinstance(refusal, Refusal)
        refusals.append(refusal.text)
    assert refusals == marked(CALLBACKS, "refusals")


async def test_unreachable_charge_points_are_as_quoted() -> None:
    closing = asyncio.Event()

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def stay(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closing.wait()
        writer.close()

    def port_of(server: asyncio.Server) -> int:
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def error(port: int) -> str:
        client = CallbackClient(timeout=0.1)
        with pytest.raises(Unreachable) as raised:
            await client.post(Address("", "http", "127.0.0.1", port, "/", "127.0.0.1"), b"", "text/xml")
        await client.close()
        return re.sub(r"[\d.]+", "N", raised.value.description)

    quoted = [re.sub(r"[\d.]+", "N", line) for line in marked(CALLBACKS, "unreachable")]
    hasty = await asyncio.start_server(close, "127.0.0.1", 0)
    silent = await asyncio.start_server(stay, "127.0.0.1", 0)
    assert await error(port_of(hasty)) in quoted
    assert await error(port_of(silent)) in quoted
    closing.set()
    for server in (hasty, silent):
        server.close()
        await server.wait_closed()
    assert await error(port_of_nobody()) in quoted


def port_of_nobody() -> int:
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def envelope(body: str, *, identity: str = "CP3211", namespace: str = "urn://Ocpp/Cs/2015/10/") -> bytes:
    return (
        f'<s:Envelope xmlns:s="{soap.SOAP_12}" xmlns:o="{namespace}"><s:Header>'
        f"<o:chargeBoxIdentity>{identity}</o:chargeBoxIdentity></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def reason_of(answer: tuple[int, str]) -> str:
    [text] = etree.fromstring(answer[1].encode()).iter(f"{{{soap.SOAP_12}}}Text")
    return text.text or ""


CONFIGURATION = """
gateway: {{drain: 1s}}
listeners: {{soap: {{bind: "127.0.0.1:0", {listener}}}}}
upstreams: {{cloud: {{url: "{url}", connect: {{timeout: 200ms}}}}}}
chargers: {{CP3211: {{}}}}
metrics: {{bind: "127.0.0.1:0"}}
"""


def configuration(url: str = "ws://127.0.0.1:9/", listener: str = "") -> str:
    return CONFIGURATION.format(url=url, listener=listener)


async def test_what_a_charge_point_is_answered_is_as_quoted() -> None:
    heartbeat, long = "<o:heartbeatRequest/>", "<o:idTag>123456789012345678901234</o:idTag>"
    async with running(configuration()) as here:

        async def answer(body: bytes, path: str = "", method: str = "POST") -> tuple[int, str]:
            url = here.url.replace("/ocpp/cs", path) if path else here.url
            return await asyncio.to_thread(post, url, body, method=method)

        greeting = await answer(b"", method="GET")
        assert greeting[1].splitlines()[0] in marked(TROUBLESHOOTING, "answer: GET")
        wrong_path = await answer(envelope(heartbeat), path="/cs")
        assert wrong_path[1].splitlines() == marked(TROUBLESHOOTING, "answer: wrong path")
        faults = {
            "unknown": envelope(heartbeat, identity="CP3212"),
            "not SOAP": b"Hallo",
            "schema": envelope(f"<o:authorizeRequest>{long}</o:authorizeRequest>"),
        }
        for name, body in faults.items():
            assert [reason_of(await answer(body))] == marked(TROUBLESHOOTING, f"fault: {name}")
    async with running(configuration(listener='versions: ["1.6"]')) as here:
        older = envelope(heartbeat, namespace="urn://Ocpp/Cs/2012/06/")
        said = reason_of(await asyncio.to_thread(post, here.url, older))
        assert [said] == marked(TROUBLESHOOTING, "fault: older")
    async with running(configuration(listener="allow: [10.20.0.0/16]")) as here:
        refused = await asyncio.to_thread(post, here.url, envelope(heartbeat))
        assert refused[1].splitlines() == marked(TROUBLESHOOTING, "answer: not allowed")


def says(page: Path, text: str) -> bool:
    """Whether a table of the page has this text between backquotes, where … stands for anything."""
    plain = re.sub(r"\d+(?:\.\d+)?", "N", text.strip())
    spans = re.findall(r"`([^`]+)`", without_code(page.read_text(encoding="utf-8")))
    patterns = [".*".join(map(re.escape, re.sub(r"\d+(?:\.\d+)?", "N", span).split("…"))) for span in spans]
    return any(re.fullmatch(pattern, plain) for pattern in patterns)


async def test_refused_websockets_are_answered_as_quoted() -> None:
    async with JsonCentralSystem() as central_system:
        text = configuration(central_system.url).replace(
            "{CP3211: {}}", "{CP3211: {}, CP3213: {password: p}}"
        )
        async with running(text) as here:
            url = here.url.replace("http", "ws").removesuffix("/cs")

            async def refusal(url: str) -> str:
                with pytest.raises(InvalidStatus) as refused:
                    await connect(url, subprotocols=[Subprotocol("ocpp1.6")])
                response = refused.value.response
                return f"{response.status_code} {bytes(response.body).decode()}"

            async with connect(f"{url}/CP3211", subprotocols=[Subprotocol("ocpp1.6")]):
                texts = [
                    await refusal(address)
                    for address in (f"{url}/CP3211", f"{url}/CP3212", f"{url}/CP3213", url, f"{url}x/CP3211")
                ]
        assert [text[:3] for text in texts] == ["409", "404", "401", "404", "404"]
        async with running(configuration(listener="protocol: ocpp-soap")) as here:
            texts.append(await refusal(here.url.replace("http", "ws").replace("/cs", "/CP3211")))
    for text in texts:
        assert says(TROUBLESHOOTING, text[4:]), text
        assert re.search(rf"^\| {text[:3]} \|", TROUBLESHOOTING.read_text(encoding="utf-8"), re.MULTILINE)


async def test_what_a_soap_central_system_is_answered_is_as_quoted() -> None:
    reset = "<o:resetRequest><o:type>Soft</o:type></o:resetRequest>"
    central_system = "upstreams: {cloud: {url: 'http://127.0.0.1:9/', soap: {networks: [NETWORK]}}}"
    for network, identity, name in (
        ("127.0.0.0/8", "CP3211", "not connected"),
        ("127.0.0.0/8", "CP3212", "mismatch"),
        ("192.0.2.0/24", "CP3211", "elsewhere"),
    ):
        text = re.sub(r"upstreams: .*", central_system.replace("NETWORK", network), configuration())
        text = text.replace("{drain: 1s}", "{drain: 1s, public_url: 'http://127.0.0.1:8080'}")
        async with running(text) as here:
            url = here.url.replace("/ocpp/cs", "/ocpp/cp/CP3211")
            body = envelope(reset, identity=identity, namespace="urn://Ocpp/Cp/2015/10/")
            answer = await asyncio.to_thread(post, url, body)
        assert [reason_of(answer)] == marked(TROUBLESHOOTING, f"fault: {name}")


async def test_slow_and_large_requests_are_answered_as_quoted() -> None:
    hasty = "limits: {header_timeout: 100ms, body_timeout: 100ms}"
    begin = b"POST /ocpp/cs HTTP/1.1\r\nHost: gw\r\n"
    async with running(configuration(listener=hasty)) as here:
        for sent in (begin, begin + b"Content-Length: 9\r\n\r\n"):
            assert await _raw(here, sent) == ""
        assert says(TROUBLESHOOTING, await _raw(here, begin + b"Content-Length: 300000\r\n\r\n"))
        for told in here.told("request refused"):
            assert says(TROUBLESHOOTING, told.text), told.text
        assert len(here.told("request refused")) == 3


@several_hosts
async def test_too_many_connections_are_answered_as_quoted() -> None:
    async with running(configuration(listener="limits: {connections: 2, connections_per_source: 1}")) as here:
        writers = []
        for source in ("127.0.0.1", "127.0.0.2"):
            writers.append((await asyncio.open_connection(*here.host_and_port, local_addr=(source, 0)))[1])
            assert await _raw(here, b"", "127.0.0.1" if source == "127.0.0.1" else "127.0.0.3") == ""
        for told in here.told("connection refused"):
            assert says(TROUBLESHOOTING, told.text), told.text
        assert len(here.told("connection refused")) == 2
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def _raw(here: Running, sent: bytes, source: str = "127.0.0.1") -> str:
    reader, writer = await asyncio.open_connection(*here.host_and_port, local_addr=(source, 0))
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302, 101, 0])
async def test_refusing_central_systems_are_as_quoted(status: int) -> None:
    """101 opens the WebSocket without a subprotocol, 0 is nobody at all."""

    def answer(connection: ServerConnection, _: Request) -> Response | None:
        if status == 101:
            return None
        response = connection.respond(HTTPStatus(status), "no\n")
        if status == 302:
            response.headers["Location"] = "https://login.example.com/"
        return response

    async def nothing(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serve(nothing, "127.0.0.1", 0, process_request=answer) as central_system:
        port = next(iter(central_system.sockets)).getsockname()[1] if status else port_of_nobody()
        async with running(configuration(f"ws://127.0.0.1:{port}/")) as here:
            await asyncio.to_thread(post, here.url, envelope("<o:heartbeatRequest/>"))
            told = here.told("central system unreachable")
            assert told
            assert says(TROUBLESHOOTING, told[0].text), told[0].text


@several_hosts
async def test_a_second_host_is_noted_as_quoted() -> None:
    async with running(configuration()) as here:
        for source in ("127.0.0.1", "127.0.0.2"):
            await asyncio.to_thread(post, here.url, envelope("<o:fly/>"), source)
            await asyncio.to_thread(post, here.url, envelope("<o:heartbeatRequest/>"), source)
        [noted] = here.told("callback address")
    [quoted] = marked(CALLBACKS, "contender")
    line = f"{noted.kind} identity={noted.identity} text={noted.text!r}"
    assert re.sub(r"[\d.]+", "N", line) == re.sub(r"[\d.]+", "N", quoted)


def test_what_a_central_system_is_answered_is_as_quoted() -> None:
    page = b"<!DOCTYPE html><html><head><title>Login</title>"
    reset = dialect().operation(Side.CHARGE_POINT, "Reset")
    reply, _ = soap.read_reply(200, "text/html", page, reset)
    assert isinstance(reply, CallError)
    assert [reply.description] == marked(TROUBLESHOOTING, "reply: HTML")
    with pytest.raises(Violation) as refused:
        JsonCodec(dialect(), Side.CENTRAL_SYSTEM).read_call("Reset", {"type": "Medium"})
    assert [str(refused.value)] == marked(TROUBLESHOOTING, "reply: bad command")


# --- The admin API


def test_the_paths_of_the_admin_api_are_those_of_its_pages(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(WITH_ADMIN.partition("admin:")[0], encoding="utf-8")
    gateway = Gateway(load(str(file)).config)
    gateway.reload_with(Reloader(gateway, lambda: load(str(file)), load(str(file))))
    served = [(page.method, f"{API_ROOT}{page.path}") for page in gateway.admin_pages]
    told = re.findall(
        r"^\| `([A-Z]+) (/[^`]+)` \| \w+ \|", ADMIN_API.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(told) > 5
    assert sorted(told) == sorted(served)


def shape(answer: Any) -> Any:
    """An answer without its values: the names in it, in any order."""
    if isinstance(answer, dict):
        # Of these the names are those of the configuration.
        known = {name: value for name, value in answer.items() if name not in ("effective", "failures")}
        if isinstance(known.get("listeners"), dict):
            del known["listeners"]
        return {name: shape(value) for name, value in known.items()}
    if isinstance(answer, list):
        return [shape(one) for one in answer[:1] if not isinstance(one, str)]
    return type(answer).__name__


WITH_ADMIN = """
gateway: {drain: 1s}
listeners: {field: {bind: "127.0.0.1:0"}}
upstreams:
  cloud: {url: "ws://127.0.0.1:9/", connect: {timeout: 200ms}}
  spare: {url: "ws://127.0.0.1:9/"}
  audit: {url: "ws://127.0.0.1:9/"}
routes:
  - {name: everybody, match: any, upstream: cloud, fallback: spare, mirror: [audit]}
chargers: {CP3211: {}}
metrics: {bind: "127.0.0.1:0"}
admin: {bind: "127.0.0.1:0", token: {file: admin-token}}
"""


async def test_the_admin_api_answers_as_its_page_shows(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.write(
        Waiting("CP3211", 17, "StopTransaction", PAYLOAD, "", kept=time.time()),
        Transaction("CP3211", "2000000017", provisional=1, connector_id="1", id_tag="04E91C5A"),
    )
    async with a_gateway_with_an_admin_api(tmp_path, WITH_ADMIN, store) as gateway:
        url = gateway.addresses["field"]
        await asyncio.to_thread(post, url, envelope("<o:heartbeatRequest/>", namespace=OF_15))
        # What was said of a charge point before is in the store.
        await store.write(
            ChargePoint(
                "CP3211", "soap 1.5", "field", vendor="ACME", model="CC-1", firmware="1.3", heard=time.time()
            )
        )
        await asyncio.to_thread(post, url, envelope(A_BAD_STATUS, namespace=OF_15))
        (tmp_path / "gateway.yaml").write_text(WITH_ADMIN.replace("drain: 1s", "drain: 2s"), encoding="utf-8")
        asked = {block.marker: block.text for block in blocks(ADMIN_API)}
        for block in blocks(ADMIN_API):
            if block.marker.startswith("answer: "):
                method, path = block.marker.removeprefix("answer: ").split()
                body = asked.get(f"body: {method} {path}", "")
                answer = await asyncio.to_thread(ask, f"{gateway.admin_address}{path}", method, body)
                assert shape(json.loads(answer)) == shape(json.loads(block.text)), block


OF_15 = "urn://Ocpp/Cs/2012/06/"
A_BAD_STATUS = (
    "<o:statusNotificationRequest><o:connectorId>1</o:connectorId><o:status>Available</o:status>"
    "<o:errorCode>NoError</o:errorCode><o:mood>good</o:mood></o:statusNotificationRequest>"
)


@asynccontextmanager
async def a_gateway_with_an_admin_api(folder: Path, text: str, store: MemoryStore) -> AsyncIterator[Gateway]:
    """The gateway of a configuration *text* that is in *folder*, with the token beside it."""
    (folder / "admin-token").write_text(SECRETS["ADMIN_TOKEN"], encoding="utf-8")
    file = folder / "gateway.yaml"
    file.write_text(text, encoding="utf-8")
    gateway = Gateway(load(str(file)).config, store)
    gateway.reload_with(Reloader(gateway, lambda: load(str(file)), load(str(file))))
    ready, stopping = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.run(stopping, ready.set))
        await ready.wait()
        try:
            yield gateway
        finally:
            stopping.set()


BOOT_OF_15 = (
    "<o:bootNotificationRequest><o:chargePointVendor>ACME</o:chargePointVendor>"
    "<o:chargePointModel>CC-1</o:chargePointModel><o:firmwareVersion>1.3</o:firmwareVersion>"
    "</o:bootNotificationRequest>"
)


async def test_reports_are_as_quoted(tmp_path: Path) -> None:
    [text] = [block.text for block in blocks(OLDER) if block.marker == "file: gateway.yaml"]
    async with JsonCentralSystem() as cloud, a_charge_point(soap_central_system) as old:
        for found, meant in (
            ("0.0.0.0:8080", "127.0.0.1:0"),
            ("10.20.0.0/16", "127.0.0.0/8"),
            ("wss://csms.example.com/ocpp", cloud.url),
            ("https://old.example.com/services/CentralSystemService", old.url),
        ):
            assert found in text
            text = text.replace(found, meant)
        text += 'metrics: {bind: "127.0.0.1:0"}\nadmin: {bind: "127.0.0.1:0", token: {file: admin-token}}\n'
        async with a_gateway_with_an_admin_api(tmp_path, text, MemoryStore()) as gateway:
            url = gateway.addresses["field"]
            await asyncio.to_thread(post, url, envelope(BOOT_OF_15, namespace=OF_15))
            async with JsonChargePoint("HAM-0001", f"ws://{url.split('/')[2]}/ocpp") as charge_point:
                await charge_point.boot()
                await charge_point.start_transaction("04E91C5A")
                await charge_point.meter_values()
                await charge_point.stop_transaction()
                for identity in ("CP3211", "HAM-0001"):
                    where = ["--admin", str(gateway.admin_address), "--token-file", f"{tmp_path}/admin-token"]
                    result = await asyncio.to_thread(
                        CliRunner().invoke, app, ["chargers", "report", identity, *where]
                    )
                    printed = [f"$ wattbridge chargers report {identity}", *result.stdout.splitlines()]
                    assert without_times(printed) == without_times(marked(OLDER, f"report: {identity}"))


def without_times(lines: list[str]) -> list[str]:
    return [re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", line) for line in lines]


def ask(url: str, method: str, body: str) -> bytes:
    """The body of what the admin API answers, an error too."""
    host, path = url.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {SECRETS['ADMIN_TOKEN']}"}
        connection.request(method, f"/{path}", body.encode(), headers)
        return connection.getresponse().read()
    finally:
        connection.close()


# --- Metrics


def test_metrics_named_in_a_sentence_exist() -> None:
    known = {family.full_name for family in (*FAMILIES.values(), *CHARGER_FAMILIES)}
    for page in PAGES:
        for name in re.findall(r"`(wattbridge_\w+)`", page.read_text(encoding="utf-8")):
            assert name in known, (page.name, name)


# --- Generated pages, versions


@pytest.mark.parametrize("name", list(pages.PAGES))
def test_generated_pages_are_up_to_date(name: str) -> None:
    """Write them anew with ``make reference``."""
    assert (ROOT / f"docs/reference/{name}.md").read_text(encoding="utf-8") == pages.PAGES[name]()


def test_the_changelog_begins_with_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    latest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert latest is not None
    assert latest[1] == project["version"]
