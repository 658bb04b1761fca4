"""What is seen of messages: live, as captures, and translated by hand; put together for one gateway."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any

from wattbridge.cli import explain, translate
from wattbridge.links.handling import USUAL
from wattbridge.ocpp import ocppj
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Breach, CallError, Change, Note
from wattbridge.ocpp.payloads import Options
from wattbridge.ocpp.reasons import RULES
from wattbridge.operation.api import Page, Refusal
from wattbridge.operation.history import History
from wattbridge.operation.trace.capture import MOST_BYTES_IN_ALL, MOST_BYTES_IN_MEMORY, Captures
from wattbridge.operation.trace.live import Hub
from wattbridge.operation.trace.messages import plain
from wattbridge.operation.trace.models import ToTranslate
from wattbridge.operation.trace.pages import pages
from wattbridge.profiling import Profiles, options_by
from wattbridge.relay.journal import Journal
from wattbridge.store.base import Store
from wattbridge.store.memory import MemoryStore


class Showing:
    """The live stream and the captures of what *history* and *journal* tell, and the pages about them.

    *profiles* are those of the configuration; ``profiles`` is set anew when that changes.
    """

    def __init__(self, history: History, store: Store, journal: Journal, profiles: Profiles) -> None:
        self.profiles = profiles
        self.hub = Hub(history, journal)
        most = MOST_BYTES_IN_MEMORY if isinstance(store, MemoryStore) else MOST_BYTES_IN_ALL
        self.captures = Captures(store, history, partial(secrets.token_hex, 6), most_bytes=most)
        self._history = history

    @property
    def pages(self) -> Sequence[Page]:
        return pages(self._history, self.hub, self.captures, self)

    async def begin(self) -> None:
        """Go on with the captures of before. Raises NotKept."""
        await self._history.begin()
        await self.captures.begin()

    def explain(self, query: str) -> list[dict[str, Any]]:
        if not query.strip() or len(query) > 200:
            raise Refusal(
                400, "malformed", "q: expected an action or a field, such as MeterValues.meterValue"
            )
        try:
            return explain.explained(query)
        except explain.Unknown as unknown:
            raise Refusal(404, "unsupported", str(unknown)) from None

    def translate(self, asked: ToTranslate) -> dict[str, Any]:
        options, handling = Options(), USUAL
        if name := asked.profile:
            try:
                profile = self.profiles.named(name)
            except KeyError:
                raise Refusal(404, "unsupported", f"there is no profile {name[:60]!r}") from None
            options, handling = options_by(profile, options), profile.handling
        way = translate.Way(asked.to or None, asked.charger or None, asked.version, handling=handling)
        compiled = dialect("1.6", options)
        try:
            carried = translate.carried(
                asked.message.encode(errors="replace"), way, compiled, asked.action or None
            )
        except translate.NoMessage as rubbish:
            raise Refusal(422, "malformed", str(rubbish)) from None
        except Violation as broken:
            raise Refusal(
                422, broken.reason, f"{broken.code}: {broken}", code=broken.code, path=broken.path
            ) from None
        message, here = carried.message, carried.here
        return {
            "form": message.form,
            "action": message.operation.action if message.operation else "",
            "charger": message.identity,
            "message_id": message.message_id,
            "text": carried.text,
            "status": carried.status,
            "notes": list(map(_note, carried.notes)),
            "answered_here": None
            if here is None
            else {"code": here.code, "description": here.description}
            if isinstance(here, CallError)
            else {"payload": plain(json.loads(ocppj.write_payload(here.payload)))},
        }


def _note(note: Note) -> dict[str, str]:
    what = "changed" if isinstance(note, Change) else "breach" if isinstance(note, Breach) else "lost"
    return {
        "what": what,
        "path": note.path,
        "value": note.value,
        "became": note.became if isinstance(note, Change) else "",
        "rule": note.rule,
        "reason": "" if isinstance(note, Change) else note.reason,
        "said": RULES.get(note.rule, ""),
    }
