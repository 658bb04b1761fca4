"""A gateway that goes on with another configuration while it works: on real sockets, and as a process."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from tests.fakes import (
    PATIENCE,
    USUAL_ANSWERS,
    Listened,
    PlainWebSocket,
    a_central_system,
    a_charge_point,
    dial,
    exchange_bytes,
    fault,
    get,
    handshake,
    listen,
    post,
    post_bytes,
    soap_central_system,
    soap_request,
)
from tests.interop.running import a_free_port
from tests.test_app import Process, a_process
from wattbridge.app import Gateway
from wattbridge.config import load
from wattbridge.reloading import CannotReload, Reloader

CONFIGURATION = """
gateway: {{drain: {drain}, reload: {watch}{gateway}}}
listeners:
{listeners}
upstreams:
{upstreams}
routes:
{routes}
chargers: {chargers}
callbacks: {{networks: [127.0.0.0/8]}}
metrics: {{bind: "127.0.0.1:{metrics_port}"}}
logging: {{format: json}}
{more}
"""
CONNECT = "connect: {timeout: 5s, rate: 1000/s, backoff: {first: 10ms, max: 20ms}}"
TIME = {"currentTime": "2024-05-01T10:00:00Z"}


def configuration(
    *,
    url: str = "ws://127.0.0.1:9/ocpp",
    other: str = "ws://127.0.0.1:9/ocpp",
    to: str = "main",
    port: int = 0,
    paths: str = '[/ocpp/cs, "/ocpp/{charger}"]',
    listener: str = "",
    second: str = "",
    chargers: str = "{CP1: }",
    metrics_port: int = 0,
    drain: str = "2s",
    watch: str = "yes",
    gateway: str = "",
    more: str = "",
) -> str:
    """*listener* is more of the one listener, *second* another one; *to* is where the route leads."""
    listeners = [f'all: {{bind: "127.0.0.1:{port}", paths: {paths}{listener and ", "}{listener}}}']
    return CONFIGURATION.format(
        listeners="\n".join(f"  {each}" for each in [*listeners, *([second] if second else [])]),
        upstreams=f'  main: {{url: "{url}", {CONNECT}}}\n  other: {{url: "{other}", {CONNECT}}}',
        # Both are in use wherever the second route leads, or there would be a warning.
        routes="  - {name: spare, match: {charger: SPARE}, upstream: main, fallback: other}\n"
        f"  - {{name: all, match: any, upstream: {to}}}",
        chargers=chargers,
        metrics_port=metrics_port,
        drain=drain,
        watch=watch,
        gateway=gateway and f", {gateway}",
        more=more,
    )


@dataclass
class World:
    """A gateway at work on the configuration in ``file``."""

    gateway: Gateway
    reloader: Reloader
    file: Path
    heard: Listened

    @property
    def url(self) -> str:
        return self.gateway.addresses["all"]

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].partition("/")[0])

    async def reload(self, text: str, *, move: bool = False) -> int:
        """Go on with *text*; returns how many sessions were moved. Raises CannotReload."""
        self.file.write_text(text)
        return (await self.reloader.reload("the test", move=move)).moved

    async def metrics(self) -> str:
        return (await get(self.gateway.metrics_address)).body


@asynccontextmanager
async def a_gateway(folder: Path, text: str) -> AsyncIterator[World]:
    file = folder / "gateway.yaml"
    file.write_text(text)
    loaded = load(file)
    gateway = Gateway(loaded.config)
    world = World(gateway, Reloader(gateway, partial(load, file), loaded), file, listen(gateway.journal))
    ready, stopping, failed = asyncio.Event(), asyncio.Event(), None
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.run(stopping, ready.set))
        await ready.wait()
        try:
            yield world
        except Exception as error:  # of the test: raised when the gateway has stopped, and not in a group
            failed = error
        finally:
            stopping.set()
    if failed is not None:
        raise failed
    assert world.heard.told("internal error") == []


async def a_websocket(world: World, identity: str = "CP1") -> PlainWebSocket:
    return await dial(world.port, handshake(f"/ocpp/{identity}"))


# --- sessions -----------------------------------------------------------------------------------------------


async def test_a_session_keeps_its_way_until_it_is_moved(tmp_path: Path) -> None:
    """And what is heard for the first time takes the new one."""
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_central_system(USUAL_ANSWERS) as other,
        a_gateway(tmp_path, configuration(url=main.url, other=other.url)) as world,
    ):
        to_other = partial(
            configuration, url=main.url, other=other.url, to="other", chargers="{CP1: , CP2: }"
        )
        old = await a_websocket(world)
        assert await old.call("1", "Heartbeat", {}) == [3, "1", TIME]
        await world.reload(to_other())
        new = await a_websocket(world, "CP2")
        assert await new.call("1", "Heartbeat", {}) == [3, "1", TIME]
        assert await old.call("2", "Heartbeat", {}) == [3, "2", TIME]
        assert (main.identities, other.identities) == (["CP1"], ["CP2"])

        assert await world.reload(to_other(), move=True) == 1
        assert await old.call("3", "Heartbeat", {}) == [3, "3", TIME]
        assert (main.identities, other.identities) == (["CP1"], ["CP2", "CP1"])
        assert [call[2] for call in main.calls] == ["Heartbeat", "Heartbeat"]
        old.hang_up()
        new.hang_up()


async def test_a_call_in_flight_ends_where_it_began_when_its_session_is_moved(tmp_path: Path) -> None:
    async with (
        a_central_system() as main,
        a_central_system(USUAL_ANSWERS) as other,
        a_gateway(tmp_path, configuration(url=main.url, other=other.url)) as world,
    ):
        charge_point = await a_websocket(world)
        charge_point.send('[2,"1","Authorize",{"idTag":"1"}]')
        at_main = await main.next()
        call = await at_main.frame()
        assert await world.reload(configuration(url=main.url, other=other.url, to="other"), move=True) == 1
        await at_main.send(json.dumps([3, call[1], {"idTagInfo": {"status": "Blocked"}}]))
        assert json.loads(await charge_point.text()) == [3, "1", {"idTagInfo": {"status": "Blocked"}}]
        assert await at_main.close_code() == 1001
        assert await charge_point.call("2", "Heartbeat", {}) == [3, "2", TIME]
        assert other.identities == ["CP1"]
        charge_point.hang_up()


async def test_nobody_is_disconnected_by_a_reload(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_gateway(tmp_path, configuration(url=main.url)) as world,
    ):
        charge_point = await a_websocket(world)
        for number in range(3):
            assert await charge_point.call(str(number), "Heartbeat", {}) == [3, str(number), TIME]
            await world.reload(configuration(url=main.url, chargers=f"{{CP1: , X{number}: }}"))
        assert main.identities == ["CP1"]
        assert world.heard.told("charge point disconnected") == []
        charge_point.hang_up()


async def test_a_fleet_at_work_loses_nothing_while_it_is_moved_to_and_fro(tmp_path: Path) -> None:
    """From a JSON central system to a SOAP one and back; every call is answered with its result."""
    identities = [f"CP{number}" for number in range(12)]
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_charge_point(soap_central_system, path="/ocpp") as other,
    ):
        conf = partial(
            configuration,
            url=main.url,
            other=other.url,
            chargers=f"{{{', '.join(f'{identity}: ' for identity in identities)}}}",
            gateway='public_url: "http://gateway.example"',
        )
        async with a_gateway(tmp_path, conf()) as world, asyncio.TaskGroup() as tasks:
            over = False

            async def by_json(identity: str) -> None:
                socket = await a_websocket(world, identity)
                for number in count():
                    if over:
                        break
                    message_id = str(number)
                    assert await socket.call(message_id, "Heartbeat", {}) == [3, message_id, TIME]
                socket.hang_up()

            async def by_soap(identity: str) -> None:
                while not over:
                    assert (await post(world.url, soap_request("Heartbeat", identity))).status == 200

            for number, identity in enumerate(identities):
                tasks.create_task((by_json if number % 2 else by_soap)(identity))
            for target in ("other", "main") * 4:
                before = len(world.heard.records)
                await world.heard.until(lambda: len(world.heard.records) >= before + 60)  # noqa: B023
                assert await world.reload(conf(to=target), move=True) == len(identities)
            over = True
        assert {record.reason for record in world.heard.records} == {""}
        assert {record.upstream for record in world.heard.records} == {"main", "other"}
        assert main.most_at_once == 1


# --- listeners ----------------------------------------------------------------------------------------------


async def test_another_address_is_served_and_what_was_under_way_at_the_old_one_ends(tmp_path: Path) -> None:
    async with (
        a_central_system() as main,
        a_gateway(tmp_path, configuration(url=main.url, port=(first := a_free_port()))) as world,
        asyncio.TaskGroup() as tasks,
    ):
        old = world.url
        starting = tasks.create_task(post(old, soap_request("StartTransaction")))
        at_main = await main.next()
        call = await at_main.frame()
        await world.reload(configuration(url=main.url, port=(second := a_free_port())))
        assert world.port == second != first
        beating = tasks.create_task(post(world.url, soap_request("Heartbeat")))
        with pytest.raises(ConnectionError):
            await post(old, soap_request("Heartbeat"))
        await at_main.send(json.dumps([3, call[1], USUAL_ANSWERS["StartTransaction"]]))
        assert "<ocpp:transactionId>7</ocpp:transactionId>" in (await starting).body
        await at_main.answer(TIME, "Heartbeat")
        assert (await beating).status == 200


async def test_a_websocket_at_an_address_that_is_given_up_is_closed_in_good_order(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_gateway(tmp_path, configuration(url=main.url, port=a_free_port())) as world,
    ):
        charge_point = await a_websocket(world)
        assert await charge_point.call("1", "Heartbeat", {}) == [3, "1", TIME]
        await world.reload(configuration(url=main.url, port=a_free_port()))
        assert await charge_point.closed() == (1001, "the configuration has closed this listener")
        charge_point.hang_up()
        charge_point = await a_websocket(world)
        assert await charge_point.call("2", "Heartbeat", {}) == [3, "2", TIME]
        assert main.identities == ["CP1"]  # which has noticed nothing
        charge_point.hang_up()


async def test_an_address_that_is_taken_changes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with (
            a_central_system(USUAL_ANSWERS) as main,
            a_gateway(tmp_path, configuration(url=main.url)) as world,
        ):
            old, metrics = world.url, world.gateway.metrics_address
            free = a_free_port()
            second = f'second: {{bind: "127.0.0.1:{port}"}}'
            for text, section in (
                (configuration(port=port), "listeners.all"),
                (configuration(port=free, second=second), "listeners.second"),
                (configuration(port=free, metrics_port=port), "metrics"),
            ):
                with pytest.raises(CannotReload) as problem:
                    await world.reload(text)
                assert str(problem.value) == f"{section}.bind: 127.0.0.1:{port}: address already in use"
                assert (world.url, world.gateway.metrics_address) == (old, metrics)
                assert (await post(old, soap_request("Heartbeat"))).status == 200
                with pytest.raises(ConnectionRefusedError):  # what was opened for it is closed again
                    await asyncio.open_connection("127.0.0.1", free)
            assert main.identities == ["CP1"]
            page = await world.metrics()
            assert "wattbridge_config_reload_failures_total 3.0" in page
            assert "wattbridge_config_reloads_total 3.0" in page


async def test_limits_networks_and_paths_change_in_place(tmp_path: Path) -> None:
    """A connection that is open stays, and goes by the new rules with its next request."""
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_gateway(tmp_path, configuration(url=main.url, port=a_free_port())) as world,
    ):
        with_it: Callable[..., str] = partial(
            configuration, url=main.url, port=world.port, chargers="{CP1: , CP2: }"
        )
        charge_point = await a_websocket(world)
        old = world.url

        await world.reload(with_it(paths='[/new, "/json/{charger}"]'))
        assert (await post(old, soap_request("Heartbeat"))).status == 404
        assert world.url == old.replace("/ocpp/cs", "/new")
        assert (await post(world.url, soap_request("Heartbeat", "CP2"))).status == 200

        await world.reload(with_it(listener="limits: {body: 1KiB}"))
        assert (await post(old, soap_request("Heartbeat", "x" * 2000))).status == 413

        await world.reload(with_it(listener="allow: [192.0.2.0/24]"))
        assert (await post(old, soap_request("Heartbeat"))).status == 403

        await world.reload(with_it())
        assert await charge_point.call("1", "Heartbeat", {}) == [3, "1", TIME]
        charge_point.hang_up()


# --- TLS ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 and its key in files, which ``give`` writes anew."""

    folder: Path
    authority: trustme.CA

    def give(self) -> bytes:
        """The certificate that is in the file now, in DER."""
        given = self.authority.issue_cert("127.0.0.1")
        given.private_key_pem.write_to_path(self.folder / "gateway.key")
        given.cert_chain_pems[0].write_to_path(self.folder / "gateway.pem")
        return ssl.PEM_cert_to_DER_cert(given.cert_chain_pems[0].bytes().decode())

    @property
    def section(self) -> str:
        return f"tls: {{certificate: {self.folder}/gateway.pem, key: {self.folder}/gateway.key}}"

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path, trustme.CA())


async def shown(world: World, certificate: Certificate) -> bytes:
    """The certificate that is shown to a new connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", world.port, ssl=certificate.context())
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


async def test_a_certificate_is_replaced_in_place(tmp_path: Path, certificate: Certificate) -> None:
    first = certificate.give()
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_gateway(tmp_path, configuration(url=main.url, listener=certificate.section)) as world,
    ):
        assert await shown(world, certificate) == first
        charge_point = await dial(world.port, handshake("/ocpp/CP1"), ssl=certificate.context())
        second = certificate.give()
        await world.reloader.reload("the test")
        assert await shown(world, certificate) == second
        assert await charge_point.call("1", "Heartbeat", {}) == [3, "1", TIME]

        (tmp_path / "gateway.key").write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())
        with pytest.raises(CannotReload):
            await world.reloader.reload("the test")
        assert await shown(world, certificate) == second
        charge_point.hang_up()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_tls_comes_to_an_address_without_a_refused_connection(
    tmp_path: Path, certificate: Certificate, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(tls_comes_to_an_address(tmp_path, certificate))


async def tls_comes_to_an_address(folder: Path, certificate: Certificate) -> None:
    certificate.give()
    port = a_free_port()
    reloaded = asyncio.Event()

    async def keep_connecting() -> None:
        """Until well after the reload. Raises ConnectionError in a moment when nobody listens."""
        after = 0
        while after < 20:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            after += reloaded.is_set()

    async with (
        a_central_system() as main,
        a_gateway(folder, configuration(url=main.url, port=port)) as world,
        asyncio.TaskGroup() as tasks,
    ):
        url = world.url
        starting = tasks.create_task(post(url, soap_request("StartTransaction")))
        at_main = await main.next()
        call = await at_main.frame()
        connecting = tasks.create_task(keep_connecting())
        await world.reload(configuration(url=main.url, port=port, listener=certificate.section))
        reloaded.set()
        async with asyncio.timeout(PATIENCE):
            await connecting
        assert world.url == url.replace("http:", "https:")

        secured = post_bytes(world.url, soap_request("Heartbeat"))
        beating = tasks.create_task(over_tls(certificate, secured, port))
        # What was accepted before TLS ends as it began.
        await at_main.send(json.dumps([3, call[1], USUAL_ANSWERS["StartTransaction"]]))
        assert "<ocpp:transactionId>7</ocpp:transactionId>" in (await starting).body
        await at_main.answer(TIME, "Heartbeat")
        assert (await beating).startswith(b"HTTP/1.1 200 ")
        with suppress(ConnectionError):  # and without TLS nobody is served any more
            assert await exchange_bytes(url, post_bytes(url, soap_request("Heartbeat"))) == b""


async def over_tls(certificate: Certificate, sent: bytes, port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificate.context())
    writer.write(sent)
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()


# --- as a process -------------------------------------------------------------------------------------------

SECRETS = ("first secret", "second secret", "the admin token")


def with_admin(folder: Path, port: int, **changes: Any) -> str:
    """Passwords and the token are in files; the log is of everything."""
    (folder / "token").write_text(SECRETS[2].replace(" ", "-"))
    admin = f'admin: {{bind: "127.0.0.1:{port}", token: {{file: {folder}/token}}}}'
    text = configuration(
        more=admin, chargers=f"{{CP1: {{password: {{file: {folder}/password}}}}}}", **changes
    )
    return text.replace("{format: json}", "{format: json, level: debug}")


async def answered(url: str, password: str) -> str:
    """``"served"``, or the subcode of the fault that CP1 is refused with."""
    credential = base64.b64encode(f"CP1:{password}".encode()).decode()
    header = f"Authorization: Basic {credential}\r\n"
    answer = await exchange_bytes(url, post_bytes(url, soap_request("Heartbeat"), headers=header))
    return "served" if answer.startswith(b"HTTP/1.1 200 ") else fault(answer.decode())[1]


async def reload_command(port: int, token: Path, *options: str) -> tuple[int, str, str]:
    """Exit code, output and errors of ``wattbridge reload``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wattbridge", "reload", "--admin", f"http://127.0.0.1:{port}",
        "--token-file", str(token), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30.0):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def ended(process: Process) -> str:
    """Stop it in good order; what it wrote since the last line that was read."""
    process.process.terminate()
    code, rest = await process.end()
    assert code == 0
    return rest


async def test_a_signal_has_the_configuration_read_again(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_process(tmp_path, configuration(url=main.url, watch="no")) as process,
    ):
        ready = await process.line("ready")
        url, metrics = ready["listeners"]["all"], ready["metrics"]
        assert fault((await post(url, soap_request("Heartbeat", "CP2"))).body)[1] == "SecurityError"
        file = tmp_path / "gateway.yaml"
        file.write_text(configuration(url=main.url, watch="no", chargers="{CP1: , CP2: }"))
        process.process.send_signal(signal.SIGHUP)
        assert (await process.line("configuration changed"))["text"].startswith("chargers")
        assert (await process.line("configuration reloaded"))["text"] == "SIGHUP: 1 value changed"
        assert (await post(url, soap_request("Heartbeat", "CP2"))).status == 200

        file.write_text(configuration(url=main.url, to="nobody"))
        process.process.send_signal(signal.SIGHUP)
        assert "nobody" in (await process.line("configuration refused"))["text"]
        failed = await process.line("reload failed")
        assert failed["text"] == "SIGHUP: the configuration has 1 error; the old configuration stays"
        assert (await post(url, soap_request("Heartbeat", "CP2"))).status == 200
        page = (await get(metrics)).body
        assert "wattbridge_config_reloads_total 2.0" in page
        assert "wattbridge_config_reload_failures_total 1.0" in page
        await ended(process)


async def test_a_file_that_changes_is_read_again_by_itself(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRETS[0])
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_process(tmp_path, with_admin(tmp_path, a_free_port(), url=main.url)) as process,
    ):
        url = (await process.line("ready"))["listeners"]["all"]
        assert await answered(url, SECRETS[0]) == "served"
        (tmp_path / "password").write_text(SECRETS[1])
        assert (await process.line("configuration reloaded"))["text"] == "a file has changed: 1 value changed"
        assert await answered(url, SECRETS[1]) == "served"
        assert await answered(url, SECRETS[0]) == "SecurityError"
        await ended(process)


async def test_watching_begins_and_ends_with_a_reload(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with a_process(tmp_path, configuration(watch="no")) as process:
        await process.line("ready")
        for watch, drain, why in (
            ("yes", "2s", "SIGHUP: 1 value changed"),
            ("no", "3s", "a file has changed: 2 values changed"),
            ("no", "4s", "SIGHUP: 1 value changed"),  # and not by itself
        ):
            file.write_text(configuration(watch=watch, drain=drain))
            if why.startswith("SIGHUP"):
                process.process.send_signal(signal.SIGHUP)
            assert (await process.line("configuration reloaded"))["text"] == why
        await ended(process)


async def test_the_command_tells_by_its_exit_code_how_it_went(tmp_path: Path) -> None:
    port, file, token = a_free_port(), tmp_path / "gateway.yaml", tmp_path / "token"
    (tmp_path / "password").write_text(SECRETS[0])
    async with (
        a_central_system(USUAL_ANSWERS) as main,
        a_central_system(USUAL_ANSWERS) as other,
        a_process(tmp_path, with_admin(tmp_path, port, url=main.url, watch="no")) as process,
    ):
        told = await process.line("ready")
        url = told["listeners"]["all"]
        assert await answered(url, SECRETS[0]) == "served"

        (tmp_path / "password").write_text(SECRETS[1])
        changed = with_admin(tmp_path, port, url=main.url, other=other.url, to="other", watch="no")
        file.write_text(changed)
        code, out, err = await reload_command(port, token, "--check")
        assert (code, err) == (0, "")
        assert out.endswith("ok: 3 values would change\n")
        assert await answered(url, SECRETS[0]) == "served"
        code, out, err = await reload_command(port, token, "--move")
        assert (code, err) == (0, "")
        assert out.endswith("ok: 3 values changed, 1 session moved\n")
        assert not any(secret in out for secret in SECRETS)
        assert await answered(url, SECRETS[1]) == "served"
        assert other.identities == ["CP1"]

        file.write_text(changed.replace("upstream: other", "upstream: nobody"))
        code, out, err = await reload_command(port, token)
        assert (code, out) == (1, "")
        assert "nobody" in err
        assert err.endswith("the old configuration stays\n")

        code, _, err = await reload_command(port, tmp_path / "nothing")
        assert (code, err) == (2, f"wattbridge: token file {tmp_path}/nothing: no such file\n")
        nobody = a_free_port()
        code, _, err = await reload_command(nobody, token)
        assert (code, err) == (
            3,
            f"wattbridge: no gateway at http://127.0.0.1:{nobody}: Connection refused\n",
        )
        (tmp_path / "wrong").write_text("wrong")
        code, _, err = await reload_command(port, tmp_path / "wrong")
        assert code == 4
        log = await ended(process)
        assert "configuration reloaded" in log
        for secret in SECRETS:
            assert secret not in log
            assert secret.replace(" ", "-") not in log
