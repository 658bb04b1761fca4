"""Vendor profiles: those that come with the gateway, how they extend each other, whether their rules fit the
messages of OCPP, and what they say to readers and writers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wattbridge.config.profile import FieldsRule, Profile
from wattbridge.config.sections import Section
from wattbridge.config.tree import Loc
from wattbridge.config.values import shorten, suggest
from wattbridge.ocpp.rules import (
    Alias,
    Condition,
    Edit,
    Fallback,
    Rules,
    Word,
    chains,
    compile_edits,
    dotted,
    find,
    fits,
    typed,
)
from wattbridge.ocpp.shapes import Field

FOLDER = Path(__file__).parents[1] / "profiles"
NONE = "none"  # the name of no profile at all
# Of a profile alone, and not of those that extend it: whom it is for, and how that is known.
_OWN = frozenset({"name", "title", "extends", "products", "firmware", "evidence", "requirements", "samples"})


@cache
def built_in_names() -> frozenset[str]:
    """The names of the profiles that come with the gateway; nothing is read for that."""
    return frozenset(file.stem for file in FOLDER.glob("*.yaml"))


@cache
def built_in(name: str) -> Profile:
    """A profile that comes with the gateway, as its file has it."""
    from wattbridge.config.reading import read_profile

    return read_profile(FOLDER / f"{name}.yaml")


def known_names(own: Iterable[str]) -> list[str]:
    """Every name a profile may be called by, with those of a configuration."""
    return sorted({*own, *built_in_names()})


def parent_of(name: str, extends: str, own: Mapping[str, Any]) -> tuple[str, bool]:
    """Which profile *name* extends, and whether that is one of its own configuration.

    One that extends its own name extends what comes with the gateway, whose place it takes.
    """
    return extends, extends in own and extends != name


def resolved(name: str, own: Mapping[str, Profile]) -> Profile:
    """The profile *name* with everything that those it extends say; all names are known to be good."""
    return _resolved(name, own if name in own else {})


def _resolved(name: str, own: Mapping[str, Profile]) -> Profile:
    profile = own[name] if name in own else built_in(name)
    if profile.extends is None:
        return profile
    parent, is_own = parent_of(name, profile.extends, own)
    return _over(_resolved(parent, own if is_own else {}), profile)


def _over(parent: Profile, child: Profile) -> Profile:
    """*child*, and below it what *parent* says. Lists are put together, the parent's first."""
    merged: dict[str, Any] = {}
    for key in Profile.model_fields:
        below, above = getattr(parent, key), getattr(child, key)
        if key in _OWN:
            merged[key] = above
        elif isinstance(above, Section):
            merged[key] = _section_over(below, above)
        elif isinstance(above, Mapping):
            both = {inner: _mapping_over(below.get(inner), value) for inner, value in above.items()}
            merged[key] = {**below, **both}
        elif isinstance(above, tuple):
            merged[key] = (*below, *above)
        else:
            merged[key] = above if key in child.model_fields_set else below
    return child.model_copy(update=merged)


def _section_over(parent: Section, child: Section) -> Section:
    update: dict[str, Any] = {}
    for key in type(child).model_fields:
        below, above = getattr(parent, key), getattr(child, key)
        if key not in child.model_fields_set:
            update[key] = below
        elif isinstance(above, tuple) and isinstance(below, tuple):
            update[key] = (*below, *(each for each in above if each not in below))
    return child.model_copy(update=update)


def _mapping_over(parent: Any, child: Any) -> Any:
    return {**parent, **child} if isinstance(parent, Mapping) and isinstance(child, Mapping) else child


# --- what they say to readers and writers


def rules_of(name: str, profile: Profile) -> Rules | None:
    """The rules for payloads of a resolved profile; None when its payloads may pass as they are."""
    time, soap = profile.time, profile.soap
    rules = Rules(
        profile=name,
        words=tuple(
            Word(path, seen, meant) for path, words in profile.values.items() for seen, meant in words.items()
        ),
        fallbacks=tuple(Fallback(path, each.becomes, each.keep) for path, each in profile.unknown.items()),
        defaults=tuple(profile.defaults.items()),
        truncated=profile.text.truncate,
        aliases=tuple(
            Alias(message_of(each.action, each.part), each.field, each.name, each.instead)
            for each in profile.aliases
        ),
        edits=tuple(map(_edit, profile.fields)),
        precision=time.precision or "",
        z_is_local=time.z == "local",
    )
    # A prefix and a zone are no rules of their own, but what passes as it is would not have them.
    changes = profile.rewrite or soap.prefix is not None or time.zone is not None
    return rules if changes or rules != Rules(profile=name) else None


def _edit(rule: FieldsRule) -> Edit:
    return Edit(
        message_of(rule.action, rule.part),
        tuple(Condition(path, values) for path, values in rule.when.items()),
        tuple(rule.set.items()),
        rule.drop,
        tuple(rule.scale.items()),
    )


def message_of(action: str, part: str) -> str:
    """``BootNotificationResponse``, as paths of messages begin."""
    return f"{action}Response" if part == "response" else action


# --- what is wrong with them


@dataclass(frozen=True, slots=True)
class Misfit:
    """A rule that does not fit: where in the profile, and why not."""

    loc: Loc
    problem: str


def misfits(profile: Profile) -> Iterator[Misfit]:
    """The rules of a profile, as it is written, that do not fit the messages of OCPP 1.6."""
    shapes = _shapes()
    for index, rule in enumerate(profile.fields):
        yield from _misfits_of_fields(rule, ("fields", index), shapes)
    for path, words in profile.values.items():
        loc: Loc = ("values", path)
        if problem := shapes.no_words(path):
            yield Misfit(loc, problem)
            continue
        for seen, meant in words.items():
            if problem := shapes.no_word_of(path, meant):
                yield Misfit((*loc, seen), problem)
    for path, unknown in profile.unknown.items():
        problem = shapes.no_words(path) or shapes.no_word_of(path, unknown.becomes)
        if problem:
            yield Misfit(("unknown", path), problem)
    for path, value in profile.defaults.items():
        if problem := shapes.no_default(path, value):
            yield Misfit(("defaults", path), problem)
    for index, path in enumerate(profile.text.truncate):
        if problem := shapes.no_text(path):
            yield Misfit(("text", "truncate", index), problem)
    for index, alias in enumerate(profile.aliases):
        loc = ("aliases", index)
        try:
            fields = shapes.fields(alias.action, alias.part)
            if len(find(message_of(alias.action, alias.part), fields, alias.field)) > 1 or any(
                field.name == alias.name for field in fields
            ):
                raise ValueError(
                    "only fields of the message itself can have another name, and only a new one"
                )
        except ValueError as problem:
            yield Misfit(loc, str(problem))
    for index, action in enumerate(profile.calls.answered_here):
        if action not in shapes.commands:
            hint = suggest(action, shapes.commands)
            yield Misfit(
                ("calls", "answered_here", index), f"no charge point is asked for {shorten(action)}{hint}"
            )


def _misfits_of_fields(rule: FieldsRule, loc: Loc, shapes: _Shapes) -> Iterator[Misfit]:
    message = message_of(rule.action, rule.part)
    try:
        fields = shapes.fields(rule.action, rule.part)
    except ValueError as problem:
        yield Misfit((*loc, "action"), str(problem))
        return
    single: list[tuple[Loc, str, Edit]] = []
    for path, values in rule.when.items():
        single.append(((*loc, "when", path), path, Edit(message, (Condition(path, values),))))
    for path, value in rule.set.items():
        single.append(((*loc, "set", path), path, Edit(message, set=((path, value),))))
    for index, path in enumerate(rule.drop):
        single.append(((*loc, "drop", index), path, Edit(message, drop=(path,))))
    for path, factor in rule.scale.items():
        single.append(((*loc, "scale", path), path, Edit(message, scale=((path, factor),))))
    for place, path, edit in single:
        misfit = shapes.misfit(path, edit, fields)
        if misfit:
            yield Misfit(place, misfit)


@cache
def _shapes() -> _Shapes:
    return _Shapes()


class _Shapes:
    """The messages of OCPP 1.6, for whoever names fields in them."""

    def __init__(self) -> None:
        # Here and not above: it reads the service descriptions, and most configurations have no profiles.
        from wattbridge.ocpp.actions import ASKED, described_operations
        from wattbridge.ocpp.differences import neutral
        from wattbridge.ocpp.messages import Side

        self._fields: dict[str, tuple[Field, ...]] = {}
        self.actions: set[str] = set()
        self.commands: set[str] = set()
        self._said: list[tuple[str, Field]] = []  # what charge points say: path and field
        for described in described_operations():
            action, response = described.action, f"{described.action}Response"
            self.actions.add(action)
            shapes = {
                action: neutral(action, described.request),
                response: neutral(response, described.response),
            }
            self._fields |= shapes
            commanded = ASKED[described.service] is Side.CHARGE_POINT
            if commanded:
                self.commands.add(action)
            said = response if commanded else action
            self._said += [(f"{said}.{dotted(chain)}", chain[-1]) for chain in chains(shapes[said])]

    def fields(self, action: str, part: str) -> tuple[Field, ...]:
        """The fields of a message. Raises ValueError when there is no such action."""
        if action not in self.actions:
            raise ValueError(f"there is no action {shorten(action)}{suggest(action, self.actions)}")
        return self._fields[message_of(action, part)]

    def misfit(self, path: str, edit: Edit, fields: tuple[Field, ...]) -> str:
        """Why *edit*, which names the field *path* alone, does not fit a message; "" when it does."""
        try:
            chain = find(edit.message, fields, path)
            if edit.when and chain[-1].fields:
                return f"{path} is an object: only values are compared"
            compile_edits(Rules(edits=(edit,)), edit.message, fields, lossy=False)
        except ValueError as problem:
            names = {chain[-1].name for chain in chains(fields)}
            hint = suggest(path.rpartition(".")[2], names) if "has no field" in str(problem) else ""
            return f"{problem}{hint}"
        return ""

    def _named(self, path: str) -> list[Field]:
        return [field for place, field in self._said if fits(place, path)]

    def _unknown(self, path: str) -> str:
        names = {place.rpartition(".")[2] for place, _ in self._said}
        hint = suggest(path.rpartition(".")[2], names)
        return f"charge points send no field {shorten(path)}{hint}"

    def no_words(self, path: str) -> str:
        """Why there are no words at *path*; "" when there are."""
        named = self._named(path)
        if not named:
            return self._unknown(path)
        return "" if any(field.enum for field in named) else f"{path} is no enumeration"

    def no_word_of(self, path: str, word: str) -> str:
        words = {value: None for field in self._named(path) for value in field.enum}
        if word in words:
            return ""
        hint = suggest(word, words) or f" (there is {', '.join(words)})"
        return f"{shorten(word)} is no word of {path}{hint}"

    def no_default(self, path: str, value: str) -> str:
        named = self._named(path)
        if not named:
            return self._unknown(path)
        try:
            for field in named:
                typed(field, value)
        except ValueError as problem:
            return str(problem)
        return f"{path} is a list" if any(field.repeated for field in named) else ""

    def no_text(self, path: str) -> str:
        if path == "*":
            return ""
        named = self._named(path)
        if not named:
            return self._unknown(path)
        if any(field.type_name == "IdToken" for field in named):
            return f"{path} tells who charges: two ids may be the same when they are cut"
        return "" if any(field.max_length is not None for field in named) else f"{path} may be of any length"
