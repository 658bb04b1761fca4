"""From a file to the models: found, read, overridden, checked; with everything that is wrong told at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from wattbridge.config.files import read_limited, reason_of
from wattbridge.config.findings import (
    Finding,
    contradictions,
    doubts,
    findings_of,
    literal_secrets,
    wrong_rules,
)
from wattbridge.config.kinds import Surroundings
from wattbridge.config.models import Config, Metrics
from wattbridge.config.overrides import BadOverride, apply_override
from wattbridge.config.profile import Profile
from wattbridge.config.profiles import built_in_names, misfits
from wattbridge.config.tree import Node, Unreadable, read_tree, spell
from wattbridge.config.values import Bind, describe, read_bind, suggest

MAX_FILE = 16 * 1024 * 1024  # bytes; 100,000 charge points fit
MAX_PROFILE = 1024 * 1024  # bytes; samples may be long
SEARCHED = ("gateway.yaml", "/etc/wattbridge/gateway.yaml")
VARIABLE = "WATTBRIDGE_CONFIG"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: ``gateway.yaml:14:5: routes.2.upstream: no upstream 'mian'``."""

    file: str
    line: int | None
    column: int | None
    path: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        severity = "warning: " if self.severity == "warning" else ""
        # An override is named by its path already.
        path = f"{self.path}: " if self.path and self.file != f"--set {self.path}" else ""
        return f"{place}: {severity}{path}{self.message}"


class ConfigErrors(Exception):
    """The configuration cannot be used. ``problems``: errors and warnings, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and what its author should know.

    ``files`` are those it refers to: certificates, keys, secrets.
    """

    config: Config
    warnings: tuple[Problem, ...]
    file: str
    files: frozenset[Path] = frozenset()


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    overrides: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the configuration from *path*, or from where it is usually kept.

    ``overrides`` are texts such as ``gateway.drain=5s``. Raises ConfigErrors with everything that is wrong.
    """
    env = os.environ if env is None else env
    name = os.fspath(path) if path is not None else _find(env)
    try:
        text = read_limited(Path(name), MAX_FILE)
    except OSError as problem:
        source = f" (named by {VARIABLE})" if path is None and env.get(VARIABLE) == name else ""
        raise ConfigErrors([_whole_file(name, reason_of(problem) + source)]) from None
    except UnicodeDecodeError as problem:
        before = problem.object[: problem.start]
        line = before.count(b"\n") + 1
        column = problem.start - before.rfind(b"\n")
        message = f"is not UTF-8 text: byte 0x{problem.object[problem.start]:02x}"
        raise ConfigErrors([Problem(name, line, column, "", message)]) from None
    return read_text(text, name, folder=Path(name).parent, overrides=overrides, env=env)


def read_text(
    text: str,
    name: str = "gateway.yaml",
    *,
    folder: Path | None = None,
    overrides: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the configuration from a text; the suffix of *name* says whether it is YAML, JSON or TOML.

    Files it refers to are relative to *folder*. Raises ConfigErrors with everything that is wrong.
    """
    try:
        tree = read_tree(text, Path(name).suffix)
    except Unreadable as unreadable:
        problem = Problem(name, unreadable.line, unreadable.column, "", unreadable.message)
        raise ConfigErrors([problem]) from None
    overrides = tuple(overrides)
    if tree.root is None and not overrides:
        raise ConfigErrors([_whole_file(name, "is empty: it needs at least listeners and upstreams")])
    root = tree.root or Node({}, 1, 1)
    if not isinstance(root.value, dict):
        message = f"expected sections such as listeners and upstreams, found {describe(root.plain())}"
        raise ConfigErrors([Problem(name, root.line, root.column, "", message)])

    problems = [Problem(name, flaw.line, flaw.column, spell(flaw.loc), flaw.message) for flaw in tree.flaws]
    for override in overrides:
        try:
            root = apply_override(root, override)
        except BadOverride as bad:
            problems.append(_whole_file(bad.origin, str(bad)))

    data = root.plain()
    surroundings = Surroundings(folder or Path(), os.environ if env is None else env)
    config: Config | None = None
    findings: list[Finding] = []
    try:
        config = Config.model_validate(data, context=surroundings)
    except ValidationError as error:
        findings += findings_of(error)
    findings += contradictions(data)
    if config is not None:
        findings += wrong_rules(config)
    if config is not None and not findings:
        findings += doubts(config)
    findings += literal_secrets(data)
    problems += [_problem(finding, root, name) for finding in findings]
    problems.sort(key=lambda problem: (problem.file != name, problem.line or 0, problem.column or 0))
    if config is None or any(problem.severity == "error" for problem in problems):
        raise ConfigErrors(problems)
    return Loaded(config, tuple(problems), name, frozenset(surroundings.files))


def read_profile(path: Path) -> Profile:
    """The profile in a file of its own. Raises ConfigErrors with everything that is wrong."""
    name = os.fspath(path)
    try:
        text = read_limited(path, MAX_PROFILE)
    except OSError as problem:
        raise ConfigErrors([_whole_file(name, reason_of(problem))]) from None
    except UnicodeDecodeError:
        raise ConfigErrors([_whole_file(name, "is not UTF-8 text")]) from None
    return read_profile_text(text, name)


def read_profile_text(text: str, name: str) -> Profile:
    """The same from a text; *name* is that of the file it is from. Raises ConfigErrors."""
    try:
        tree = read_tree(text, Path(name).suffix)
    except Unreadable as unreadable:
        raise ConfigErrors(
            [Problem(name, unreadable.line, unreadable.column, "", unreadable.message)]
        ) from None
    root = tree.root or Node({}, 1, 1)
    problems = [Problem(name, flaw.line, flaw.column, spell(flaw.loc), flaw.message) for flaw in tree.flaws]
    findings: list[Finding] = []
    profile: Profile | None = None
    if not isinstance(root.value, dict):
        findings.append(Finding((), f"expected a profile, found {describe(root.plain())}"))
    else:
        try:
            profile = Profile.model_validate(root.plain(), context=Surroundings(Path(name).parent))
        except ValidationError as error:
            findings += findings_of(error, inside=("profiles", "NAME"))
        else:
            if profile.name is None:
                findings.append(Finding((), "name is missing: what it is called"))
            elif profile.extends is not None and profile.extends not in built_in_names():
                hint = suggest(profile.extends, built_in_names())
                findings.append(
                    Finding(("extends",), f"no profile {profile.extends!r} comes with the gateway{hint}")
                )
            findings += (Finding(misfit.loc, misfit.problem) for misfit in misfits(profile))
    problems += [_problem(finding, root, name) for finding in findings]
    problems.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
    if profile is None or problems:
        raise ConfigErrors(problems)
    return profile


def metrics_bind(path: str | os.PathLike[str] | None = None, *, env: Mapping[str, str] | None = None) -> Bind:
    """Where a gateway with this configuration serves its health.

    Nothing else of it is looked at, and where it cannot be read, or does not say, this is the usual place: a
    gateway that runs goes on with the configuration it had when its file has become wrong.
    """
    usual: Bind = Metrics().bind
    try:
        name = os.fspath(path) if path is not None else _find(os.environ if env is None else env)
        node = read_tree(read_limited(Path(name), MAX_FILE), Path(name).suffix).root
        for key in ("metrics", "bind"):
            node = node and node.child(key)
        return read_bind(node.value) if node and isinstance(node.value, str) else usual
    except (ConfigErrors, OSError, Unreadable, ValueError):  # UnicodeDecodeError is a ValueError
        return usual


def _find(env: Mapping[str, str]) -> str:
    if env.get(VARIABLE):
        return env[VARIABLE]
    for place in SEARCHED:
        try:
            Path(place).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # it is there, and reading it will say what is wrong
        return place
    message = f"no such file, nor is there {SEARCHED[1]}: use -c FILE, or set {VARIABLE}"
    raise ConfigErrors([_whole_file(SEARCHED[0], message)])


def _whole_file(name: str, message: str) -> Problem:
    return Problem(name, None, None, "", message)


def _problem(finding: Finding, root: Node, name: str) -> Problem:
    node = root.nearest(finding.loc)
    file = node.origin or name
    return Problem(file, node.line, node.column, spell(finding.loc), finding.message, finding.severity)
