"""The samples of a vendor profile, run: a message goes in and another one comes out, as in the gateway."""

from __future__ import annotations

import json
import re
from difflib import unified_diff
from typing import Any

from wattbridge.cli.translate import Carried, NoMessage, Way, carried
from wattbridge.config import Sample
from wattbridge.links.charge_point_json import is_spoken
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call
from wattbridge.ocpp.payloads import Options
from wattbridge.ocpp.reasons import PROFILE_RULES
from wattbridge.ocpp.tolerances import OCPP_NAMESPACE, VERSION_BY_DATE
from wattbridge.profiling import Profile, options_by

# Who is who in samples.
IDENTITY = "CP1"
ADDRESS = "http://charge-point.example/ocpp"
GATEWAY = "http://gateway.example/ocpp/cs"

_MESSAGE_ID = re.compile(r"(<wsa:MessageID>)[^<]*(</wsa:MessageID>)")
_BETWEEN = re.compile(r">\s+<")


def run_sample(profile: Profile, sample: Sample) -> str:
    """Why *sample* does not hold; "" when it does."""
    if sample.offers is not None:
        served = is_spoken(
            tuple(sample.offers),
            profile.handling.subprotocols,
            required=profile.section.websocket.subprotocol == "required",
        )
        if served == sample.serves:
            return ""
        return f"a WebSocket that offers {sample.offers!r} is {'served' if served else 'not served'}"
    assert sample.comes is not None
    try:
        found = carry(profile, sample.comes, sample.goes or "[", sample.action)
    except (NoMessage, Violation) as broken:
        return str(broken)
    problems = []
    applied = quirks_of(found)
    if set(applied) != set(sample.quirks):
        problems.append(f"rules that apply: {', '.join(applied) or 'none'}")
    here = is_answered_here(profile, found)
    if here != sample.answered_here:
        problems.append(f"the gateway {'answers' if here else 'does not answer'} it itself")
    elif sample.goes is not None and shape(found.text) != shape(sample.goes):
        wanted, got = (json.dumps(shape(text), indent=1).splitlines() for text in (sample.goes, found.text))
        problems += [line for line in unified_diff(wanted, got, "out", "found", lineterm="", n=1)]
    if sample.status is not None and found.status != sample.status:
        problems.append(f"HTTP status {found.status}, expected {sample.status}")
    return "\n".join(problems)


def carry(profile: Profile, comes: str, goes: str, action: str | None = None) -> Carried:
    """Carry a message of a sample in the form that *goes* has. Raises NoMessage and Violation."""
    to = "soap" if goes.lstrip().startswith("<") else "json"
    namespace = OCPP_NAMESPACE.search(goes)
    way = Way(
        to,
        IDENTITY,
        VERSION_BY_DATE[namespace[2]] if namespace else "1.6",
        ADDRESS,
        GATEWAY,
        profile.handling,
        lambda: "urn:uuid:1",
    )
    return carried(comes.encode(), way, dialect("1.6", options_by(profile, Options())), action)


def is_answered_here(profile: Profile, found: Carried) -> bool:
    """Whether the gateway answers the message, instead of carrying it."""
    operation, content = found.message.operation, found.message.content
    kept_off = operation is not None and operation.action in profile.handling.answered_here
    return found.here is not None or (kept_off and isinstance(content, Call))


def quirks_of(found: Carried) -> list[str]:
    """The rules of the profile that applied, each once."""
    return list(dict.fromkeys(note.rule for note in found.notes if note.rule in PROFILE_RULES))


def shape(text: str) -> Any:
    """A message without what does not count: message ids, and blanks between elements."""
    if text.lstrip().startswith("["):
        frame = json.loads(text)
        return [*frame[:1], *frame[2:]]
    text = re.sub(r"^<\?xml[^>]*\?>", "", text.strip())
    return _BETWEEN.sub("><", _MESSAGE_ID.sub(r"\1\2", text.strip())).split("\n")
