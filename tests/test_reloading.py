"""A configuration is read again whole, and one that is wrong changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.fakes import PATIENCE, Listened, listen
from wattbridge.config import Config, load
from wattbridge.relay.journal import Journal
from wattbridge.reloading import CannotReload, Reloader

SMALL = """
gateway: {drain: 30s}
listeners: {main: {bind: "127.0.0.1:8080"}}
upstreams: {main: {url: "ws://127.0.0.1:9000/ocpp", auth: {basic: {password: {file: secret}}}}}
chargers: {CP1: }
"""


@dataclass
class FakeGateway:
    """Takes over what it is told, unless ``refusal`` says why not."""

    config: Config
    journal: Journal = field(default_factory=Journal)
    refusal: str = ""
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    async def take_over(self, config: Config) -> None:
        if self.refusal:
            raise CannotReload(self.refusal)
        self.config = config
        self.taken.set()

    def move_all(self) -> int:
        return 3


@dataclass
class World:
    file: Path
    gateway: FakeGateway
    reloader: Reloader
    heard: Listened

    def told(self, kind: str) -> list[str]:
        return [event.text for event in self.heard.told(kind)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    file = tmp_path / "gateway.yaml"
    file.write_text(SMALL)
    (tmp_path / "secret").write_text("geheim\n")
    loaded = load(file)
    gateway = FakeGateway(loaded.config)
    return World(file, gateway, Reloader(gateway, partial(load, file), loaded), listen(gateway.journal))


async def test_a_reload_tells_every_value_that_changed(world: World) -> None:
    world.file.write_text(SMALL.replace("30s", "5s"))
    reloaded = await world.reloader.reload("SIGHUP")
    assert [str(changed) for changed in reloaded.changed] == ["gateway.drain: 30s → 5s"]
    assert world.gateway.config.gateway.drain == 5.0
    assert world.told("configuration changed") == ["gateway.drain: 30s → 5s"]
    assert world.told("configuration reloaded") == ["SIGHUP: 1 value changed"]


async def test_sessions_are_moved_where_that_is_asked_for(world: World) -> None:
    assert (await world.reloader.reload("the API", move=True)).moved == 3
    assert world.told("configuration reloaded") == ["the API: 0 values changed, 3 sessions moved"]


async def test_a_file_that_is_wrong_changes_nothing_and_is_told_line_by_line(world: World) -> None:
    world.file.write_text(SMALL.replace("gateway: {drain: 30s}", "gateway: {drian: 30s}"))
    with pytest.raises(CannotReload, match="the configuration has 1 error") as refused:
        await world.reloader.reload("SIGHUP")
    assert [problem.line for problem in refused.value.problems] == [2]
    assert not world.gateway.taken.is_set()
    [problem] = world.told("configuration refused")
    assert problem == f"{world.file}:2:11: gateway.drian: unknown key (did you mean 'drain'?)"
    assert world.told("reload failed") == [
        "SIGHUP: the configuration has 1 error; the old configuration stays"
    ]


async def test_what_the_gateway_cannot_take_over_is_told(world: World) -> None:
    world.gateway.refusal = "listeners.main.bind: 127.0.0.1:8080: address already in use"
    with pytest.raises(CannotReload, match="address already in use"):
        await world.reloader.reload("SIGHUP")
    assert world.told("reload failed") == [
        "SIGHUP: listeners.main.bind: 127.0.0.1:8080: address already in use; the old configuration stays"
    ]


async def test_a_check_changes_nothing(world: World) -> None:
    world.file.write_text(SMALL.replace("30s", "5s"))
    checked = await world.reloader.check()
    assert [str(changed) for changed in checked.changed] == ["gateway.drain: 30s → 5s"]
    assert world.gateway.config.gateway.drain == 30.0
    assert world.heard.events == []


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("name", ["gateway.yaml", "secret"])
async def test_a_file_that_changes_is_seen(world: World, name: str, replaced: bool) -> None:
    file = world.file.with_name(name)
    text = SMALL.replace("30s", "5s") if name == "gateway.yaml" else "other\n"
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(world.reloader.watch())
        await asyncio.sleep(0.1)
        if replaced:  # as editors, package managers and Kubernetes do it
            new = world.file.with_name("new")
            new.write_text(text)
            new.replace(file)
        else:
            file.write_text(text)
        await world.gateway.taken.wait()
        watching.cancel()
    basic = world.gateway.config.upstreams["main"].auth
    assert basic is not None
    assert basic.basic is not None
    assert basic.basic.password is not None
    found = world.gateway.config.gateway.drain, basic.basic.password.get_secret_value()
    assert found == ((5.0, "geheim") if name == "gateway.yaml" else (30.0, "other"))


async def test_a_mistake_that_is_mended_is_seen_and_other_files_are_not(world: World) -> None:
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(world.reloader.watch())
        await asyncio.sleep(0.1)
        world.file.with_name("notes.txt").write_text("nothing of ours")
        world.file.write_text("gateway: [")
        await world.heard.until(lambda: bool(world.told("reload failed")))
        world.file.write_text(SMALL.replace("30s", "5s"))
        await world.gateway.taken.wait()
        watching.cancel()
    assert len(world.told("reload failed")) == 1
