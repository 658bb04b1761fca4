"""``wattbridge profile``: which vendor profiles there are, what each says, and whether its samples hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from wattbridge.cli.check import write_problems
from wattbridge.cli.tables import write_table
from wattbridge.config import Config, ConfigErrors, Profile, load, read_profile
from wattbridge.config.profiles import built_in, built_in_names, known_names, resolved
from wattbridge.config.values import shorten, suggest
from wattbridge.counting import counted
from wattbridge.profiling import Profile as Ready
from wattbridge.profiling import conditions_of, profile_of


def list_profiles(
    file: str | None, overrides: Sequence[str], *, as_json: bool, out: TextIO, err: TextIO
) -> int:
    """Those that come with the gateway, and with *file* those of a configuration, too.

    Returns 0, or 2 when the configuration cannot be used.
    """
    config, failed = _config(file, overrides, err)
    if failed:
        return 2
    own = config.profiles if config else {}
    profiles = {name: own[name] if name in own else built_in(name) for name in known_names(own)}
    if as_json:
        report = [
            {"name": name, "own": name in own, "title": profile.title, "for": _matches(profile)}
            for name, profile in profiles.items()
        ]
        out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        return 0
    write_table(
        ("PROFILE", "FROM", "FOR"),
        (
            (
                name,
                "configuration" if name in own else "gateway",
                "; ".join(_matches(profile)) or "who names it",
            )
            for name, profile in profiles.items()
        ),
        out,
    )
    return 0


def show_profile(
    name: str, file: str | None, overrides: Sequence[str], *, as_json: bool, out: TextIO, err: TextIO
) -> int:
    """One profile with everything that it extends. Returns 0, or 2 when there is none, or it is wrong."""
    ready = find_profile(name, _Given(file, overrides), err)
    if ready is None:
        return 2
    section = ready.section
    said = _said(section)
    if as_json:
        out.write(json.dumps({"name": ready.name, **said}, indent=2, ensure_ascii=False) + "\n")
        return 0
    out.write(f"{ready.name}: {section.title or 'no title'}\n")
    out.write(f"  for {'; or '.join(_matches(section)) or 'charge points and routes that name it'}\n")
    for heading, lines in (("seen in", section.evidence), ("to see to", section.requirements)):
        out.writelines(f"  {heading}: {line}\n" for line in lines)
    passes = "as they are where both sides speak the same" if ready.rules is None else "read and written anew"
    out.write(f"  payloads: {passes}\n")
    for key, value in said.items():
        if key not in ("title", "products", "firmware", "evidence", "requirements", "samples"):
            out.write(f"  {key}: {json.dumps(value, ensure_ascii=False)}\n")
    out.write(f"  {counted(len(section.samples), 'sample')}\n")
    return 0


def test_profiles(
    name: str | None,
    file: str | None,
    overrides: Sequence[str],
    *,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """Run the samples of one profile, or of all.

    Returns 0, 1 when one does not hold, 2 when there is no such profile, or it is wrong.
    """
    from wattbridge.cli.samples import run_sample

    given = _Given(file, overrides)
    if name is not None:
        one = find_profile(name, given, err)
        if one is None:
            return 2
        profiles = [one]
    else:
        config, failed = given.config(err)
        if failed:
            return 2
        own = config.profiles if config else {}
        profiles = [profile_of(each, resolved(each, own), own=each in own) for each in known_names(own)]
    report, failures, samples = [], 0, 0
    for profile in profiles:
        for sample in profile.section.samples:
            problem = run_sample(profile, sample)
            samples += 1
            failures += bool(problem)
            report.append({"profile": profile.name, "sample": sample.title, "problem": problem or None})
            if not as_json and (problem or name is not None):
                out.write(f"{'FAILED' if problem else 'ok'}  {profile.name}: {sample.title}\n")
                out.writelines(f"        {line}\n" for line in problem.splitlines())
    if as_json:
        out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        run = f"{counted(samples, 'sample')} of {counted(len(profiles), 'profile')}"
        out.write(f"{run}, {failures} failed\n")
    return 1 if failures else 0


class _Given:
    """The configuration that a command was given, read when it is needed."""

    def __init__(self, file: str | None, overrides: Sequence[str]) -> None:
        self._file, self._overrides = file, overrides

    def config(self, err: TextIO) -> tuple[Config | None, bool]:
        return _config(self._file, self._overrides, err)


def find_profile(name: str, given: _Given | None, err: TextIO) -> Ready | None:
    """The profile of that name, or in the file of that name; None, and it is told, when there is none."""
    if "/" in name or name.endswith((".yaml", ".yml", ".json", ".toml")):
        try:
            profile = read_profile(Path(name))
        except ConfigErrors as errors:
            write_problems(errors.problems, err)
            return None
        assert profile.name is not None
        # It may have the name of one that it extends, and takes its place then.
        own = {profile.name: profile}
        return profile_of(profile.name, resolved(profile.name, own), own=True)
    config, failed = given.config(err) if given is not None else (None, False)
    if failed:
        return None
    own = dict(config.profiles) if config else {}
    if name not in own and name not in built_in_names():
        hint = suggest(name, known_names(own)) or "; `wattbridge profile list` shows those there are"
        err.write(f"wattbridge: there is no profile {shorten(name)}{hint}\n")
        return None
    return profile_of(name, resolved(name, own), own=name in own)


def _config(file: str | None, overrides: Sequence[str], err: TextIO) -> tuple[Config | None, bool]:
    """The configuration, when one is asked for; and whether it cannot be used."""
    if file is None:
        return None, False
    try:
        return load(file, overrides=overrides).config, False
    except ConfigErrors as errors:
        write_problems(errors.problems, err)
        return None, True


def _matches(section: Profile) -> list[str]:
    """Whom it is for, in words, one text for each product."""
    return [" and ".join(map(str, conditions)) for conditions in conditions_of(section)]


def _said(section: Profile) -> dict[str, Any]:
    """What a profile says, without what is as usual."""
    dumped: dict[str, Any] = section.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {key: value for key, value in dumped.items() if key not in ("name", "extends")}
