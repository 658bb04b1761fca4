"""``wattbridge profile new``: a profile to begin with, made of captured messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

import yaml

from wattbridge.cli.samples import carry, quirks_of
from wattbridge.cli.translate import NoMessage
from wattbridge.config import read_profile_text
from wattbridge.config.profiles import resolved
from wattbridge.counting import counted
from wattbridge.links.handling import Boot, boot_of_element, boot_of_payload
from wattbridge.ocpp import soap
from wattbridge.ocpp.actions import ASKED, described_operations
from wattbridge.ocpp.differences import neutral
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Loss, Side
from wattbridge.ocpp.payloads import local_name
from wattbridge.ocpp.rules import chains, dotted
from wattbridge.ocpp.shapes import Field
from wattbridge.profiling import Profile as Ready
from wattbridge.profiling import profile_of

JSON = "["  # the form in which changes are easiest to see
MOST_SAMPLES = 20
MOST_RULES = 50
LONGEST = 20  # characters of a vendor and a model (OCPP 1.6, BootNotification.req)
_ENVELOPE = re.compile(r"<((?:[\w.-]{1,40}:)?)Envelope[\s>].*?</\1Envelope\s*>", re.DOTALL)
_FRAME = re.compile(r"\[\s*[234]\s*,\s*\"")
_INDEX = re.compile(r"\[\d+\]")
# What to begin with where a word is not known; the first one that the field has.
_GUESSES = ("OtherError", "Unavailable", "Other", "Outlet", "Rejected")


@dataclass
class _Draft:
    """A profile that is being made: what it says, and remarks by the key that they are about."""

    said: dict[str, Any]
    actions: dict[str, str]  # of replies, which do not say it
    remarks: dict[str, str] = field(default_factory=dict)

    def ready(self) -> Ready:
        """Raises ConfigErrors: what is added is known to fit, so that would be a mistake of ours."""
        profile = read_profile_text(_yaml(self.said), f"{self.said['name']}.yaml")
        return profile_of(
            self.said["name"], resolved(self.said["name"], {self.said["name"]: profile}), own=True
        )


def begin_profile(text: bytes, name: str | None, *, out: TextIO, err: TextIO) -> int:
    """Write a profile for the charge point whose messages are in *text*.

    Returns 0, or 1 when there is no message.
    """
    messages = list(dict.fromkeys(_messages(text.decode("utf-8", "replace"))))
    if not messages:
        err.write("wattbridge: no message found: neither a SOAP envelope (<…Envelope>) nor a frame ([2,…)\n")
        return 1
    boot = next((boot for boot in map(_boot_in, messages) if boot is not None), None)
    draft = _Draft({"name": name or _name_of(boot), "title": "What people call it"}, _answered(messages))
    if boot is not None:
        draft.said["products"] = [_product(boot)]
        if boot.firmware:
            draft.remarks["products"] = f"firmware of the one that was seen: {boot.firmware}"
    else:
        draft.remarks["title"] = (
            "no BootNotification was found: add products, or name the profile where it counts"
        )
    draft.said["evidence"] = ["where this was seen"]
    draft.said["requirements"] = ["what whoever installs it has to see to"]
    for message in messages:
        _learn(draft, message)
    samples: list[dict[str, Any]] = []
    for message in messages:
        sample = _sample(draft, message)
        if sample is not None and len(samples) < MOST_SAMPLES:
            samples.append(sample)
    if samples:
        draft.said["samples"] = samples
    out.write(_commented(draft))
    others = {"name", "title", "products", "evidence", "requirements", "samples"}
    rules = ", ".join(sorted(draft.said.keys() - others)) or "none"
    err.write(
        f"wattbridge: {counted(len(messages), 'message')}, {len(samples)} of them samples; rules: {rules}. "
        "Look through it, then: wattbridge profile test FILE\n"
    )
    return 0


# --- finding messages


def _messages(text: str) -> Iterator[str]:
    """Every envelope and every frame in a text, in their order."""
    place, decoder = 0, json.JSONDecoder()
    while True:
        envelope, frame = _ENVELOPE.search(text, place), _FRAME.search(text, place)
        if envelope is not None and (frame is None or envelope.start() < frame.start()):
            yield envelope[0]
            place = envelope.end()
        elif frame is not None:
            try:
                _, place = decoder.raw_decode(text, frame.start())
            except (ValueError, RecursionError):
                place = frame.end()
            else:
                yield text[frame.start() : place]
        else:
            return


def _answered(messages: list[str]) -> dict[str, str]:
    """What each CALLRESULT answers, by the CALL with its message id before it."""
    asked: dict[str, str] = {}
    found = {}
    for message in messages:
        frame: list[Any] = json.loads(message) if message.startswith("[") else [0]
        if frame[0] == 2 and len(frame) > 2 and isinstance(frame[2], str):
            asked[frame[1]] = frame[2]
        elif frame[0] == 3 and frame[1] in asked:
            found[message] = asked[frame[1]]
    return found


def _boot_in(message: str) -> Boot | None:
    """What a BootNotification says; None for every other message."""
    if message.startswith("["):
        frame = json.loads(message)
        is_boot = len(frame) > 3 and frame[0] == 2 and frame[2] == "BootNotification"
        return boot_of_payload(frame[3]) if is_boot else None
    try:
        body = soap.read_envelope(message.encode()).body
    except Violation:
        return None
    is_boot = body is not None and local_name(body).lower() == "bootnotificationrequest"
    return boot_of_element(body) if is_boot and body is not None else None


def _name_of(boot: Boot | None) -> str:
    words = f"{boot.vendor} {boot.model}" if boot else ""
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:64]
    return name or "my-charge-point"


def _product(boot: Boot) -> dict[str, str]:
    """A vendor and a model, with nothing in them taken for a pattern.

    Of what is too long, the beginning: it may be cut, and then be known as that.
    """
    found = {"vendor": boot.vendor, "model": boot.model}
    return {
        key: re.sub(r"([\[*?])", r"[\1]", value[:LONGEST]) + ("*" if len(value) > LONGEST else "")
        for key, value in found.items()
    }


# --- rules from complaints


def _learn(draft: _Draft, message: str) -> None:
    """Add rules until reading has nothing more to say that a rule could mend."""
    for _ in range(MOST_RULES):
        profile = draft.ready()
        try:
            found = carry(profile, message, JSON, draft.actions.get(message))
        except NoMessage:
            return
        except Violation as broken:
            if not _mend(draft, broken.path, broken.problem):
                draft.remarks.setdefault(
                    "evidence", f"no rule was found for: {broken.path}: {broken.problem}"[:300]
                )
                return
            continue
        for note in found.notes:
            if note.rule in ("zone-assumed", "zone-ambiguous") and "time" not in draft.said:
                draft.said["time"] = {"zone": "UTC"}
                draft.remarks["time"] = "times without an offset: write the zone in which they are meant"
            if note.rule in (
                "value-alias",
                "number-as-text",
                "text-as-number",
                "unknown-field",
                "empty-is-absent",
            ):
                draft.said["rewrite"] = True
                draft.remarks["rewrite"] = "odd, and understood: with this it is mended for everybody"
        mended = [_mend(draft, note.path, note.reason) for note in found.notes if isinstance(note, Loss)]
        if not any(mended):
            return


def _mend(draft: _Draft, path: str, problem: str) -> bool:
    """Add a rule for what is wrong at *path*; False when there is none that would help."""
    place = _INDEX.sub("", path)
    known = _said_by_charge_points().get(place)
    if known is None:
        return False
    name = place.rpartition(".")[2]
    if known.enum and "is not one of" in problem:
        unknown = draft.said.setdefault("unknown", {})
        key = place if place.count(".") == 1 else name
        if key in unknown:
            return False
        word = next((guess for guess in _GUESSES if guess in known.enum), known.enum[0])
        unknown[key] = {"becomes": word}
        seen = problem.partition(" is not one of ")[0]
        earlier = draft.remarks.get("unknown", "").removesuffix(" was not known")
        draft.remarks["unknown"] = f"{earlier + ', ' if earlier else 'a guess: '}{seen} was not known"
        return True
    if known.max_length is not None and "characters, expected at most" in problem:
        if known.type_name == "IdToken":
            draft.remarks["evidence"] = f"{place}: too long, and an id must not be cut"
            return False
        cut = draft.said.setdefault("text", {}).setdefault("truncate", [])
        if name in cut:
            return False
        cut.append(name)
        return True
    if (
        known.required
        and not known.repeated
        and not known.fields
        and ("missing" in problem or "found nothing" in problem or "found ''" in problem)
    ):
        defaults = draft.said.setdefault("defaults", {})
        if place in defaults:
            return False
        defaults[place] = _usual(known)
        draft.remarks["defaults"] = "a guess: write what belongs there"
        return True
    return False


def _usual(known: Field) -> str:
    if known.enum:
        return next((guess for guess in _GUESSES if guess in known.enum), known.enum[0])
    return {"integer": "0", "decimal": "0", "boolean": "false", "dateTime": "1970-01-01T00:00:00Z"}.get(
        known.kind, "unknown"
    )


def _said_by_charge_points() -> dict[str, Field]:
    """Every field that charge points send, by its path."""
    found: dict[str, Field] = {}
    for described in described_operations():
        commanded = ASKED[described.service] is Side.CHARGE_POINT
        name = f"{described.action}Response" if commanded else described.action
        fields = neutral(name, described.response if commanded else described.request)
        found |= {f"{name}.{dotted(chain)}": chain[-1] for chain in chains(fields)}
    return found


# --- samples


def _sample(draft: _Draft, message: str) -> dict[str, Any] | None:
    """The message as a sample; None where nothing of it can be carried."""
    action = draft.actions.get(message)
    try:
        found = carry(draft.ready(), message, JSON, action)
    except (NoMessage, Violation):
        return None
    what = found.message.operation.action if found.message.operation else "an error"
    sample: dict[str, Any] = {"title": f"{what} as it was captured"}
    if action is not None:
        sample["action"] = action
    sample["in"] = message
    if found.here is not None:
        sample["answered_here"] = True
    else:
        sample["out"] = found.text
    quirks = quirks_of(found)
    if quirks:
        sample["quirks"] = quirks
    return sample


# --- writing


class _Dumper(yaml.SafeDumper):
    """Lists are indented, and texts that hold messages are written as they are."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if text[:1] in ("[", "<", "'") or text != text.strip() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(said: dict[str, Any]) -> str:
    return yaml.dump(said, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000)


def _commented(draft: _Draft) -> str:
    lines = ["# A vendor profile, begun by `wattbridge profile new`. Look through it before it is used:"]
    lines.append("# rules are guesses, and samples may hold idTags and addresses.")
    for key, value in draft.said.items():
        if key in draft.remarks:
            lines.append(f"# {' '.join(draft.remarks[key].split())}")
        lines.append(_yaml({key: value}).rstrip("\n"))
    return "\n".join(lines) + "\n"
