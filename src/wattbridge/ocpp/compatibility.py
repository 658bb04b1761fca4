"""What will become of messages between two parties, told before any is sent: from the tables of ``older.py``,
``differences.py`` and ``local_answers.py``.

A dialect is ``"soap 1.5"`` or ``"json 1.6"``. What is only called otherwise is not told: nothing of it is
lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from wattbridge.ocpp import local_answers, older
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.differences import DIFFERENCES
from wattbridge.ocpp.local_answers import LocalAnswer
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.older import Row

Way = Literal["up", "down"]
Effect = Literal["lost", "changed"]

# The words by which the tables say that something cannot be carried.
A_LOSS = "a loss"
# What the tables say where nothing happens.
_NOTHING = ("nothing to do", "stays")
# Told by conversions of their own, and only called otherwise on the way up.
_CALLED_OTHERWISE = frozenset({"MeterValues.meterValue.sampledValue.unit", "StopTransaction.transactionData"})


@dataclass(frozen=True, slots=True)
class Carried:
    """One field that does not arrive as it was sent: ``said`` tells what the gateway does, ``effect`` whether
    something of it is lost, or it only says it otherwise. ``path`` is that of the neutral form."""

    path: str
    effect: Effect
    said: str
    source: str


def happens(said: str) -> bool:
    """Whether a text of the tables tells of something that the gateway does."""
    return not said.startswith(_NOTHING)


def effect_of(row: Row, way: Way, version: str) -> Effect | None:
    """What *row* means to a message on its way up from *version*, or down to it; None where nothing of it is
    lost or becomes something else."""
    said = row.up if way == "up" else row.down
    if version not in row.versions or not happens(said):
        return None
    if A_LOSS in said:
        return "lost"
    words = row.words_up if way == "up" else row.words_down
    if words:
        return None if row.unnoted.issuperset(words) else "changed"
    if way == "up" and row.path in _CALLED_OTHERWISE:
        return None
    if row.older_name:
        return "changed" if way == "up" and row.absent is not None else None
    return "changed"


@cache
def carried(charge_point: str, central_system: str, towards: Side) -> tuple[Carried, ...]:
    """What is lost or changed of messages that are translated on their way to *towards*.

    *charge_point* and *central_system* are the dialects of the two parties. Replies are messages like calls.
    Operations that one of the two does not have are not told of: they are answered by the gateway.
    """
    spoken = {Side.CHARGE_POINT: charge_point, Side.CENTRAL_SYSTEM: central_system}
    sender, receiver = spoken[towards.other], spoken[towards]
    travelling = _travelling(charge_point, central_system, towards)
    never_sent = {row.path for row in older.ROWS if row.lacking and _version(sender) in row.versions}
    found: list[Carried] = []
    for row in older.ROWS:
        if row.message not in travelling:
            continue
        effect = effect_of(row, "up", _version(sender))
        if effect is not None:
            found.append(Carried(row.path, effect, row.up, row.source))
        effect = effect_of(row, "down", _version(receiver))
        if effect is not None and not (row.lacking and row.path in never_sent):
            found.append(Carried(row.path, effect, row.down, row.source))
    found += _between_transports(sender, receiver, towards, travelling, found)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: one.effect != "lost"))  # losses first


def _between_transports(
    sender: str, receiver: str, towards: Side, travelling: frozenset[str], found: list[Carried]
) -> list[Carried]:
    """What one transport cannot say and the other can, where an older version has not lost it already."""
    if _transport(sender) == _transport(receiver):
        return []
    told = tuple(f"{one.path}." for one in found)
    lost = []
    for row in DIFFERENCES:
        message = row.path.partition(".")[0]
        said = row.towards_soap if _transport(receiver) == "soap" else row.towards_json
        # A command is carried whole or refused.
        is_command = towards is Side.CHARGE_POINT and not message.endswith("Response")
        says_nothing = row.name == "empty-meter-values"  # so nothing that was said is lost
        if message not in travelling or A_LOSS not in said or is_command or says_nothing:
            continue
        if not row.path.startswith(told):
            lost.append(Carried(row.path, "lost", said, row.source))
    return lost


def _travelling(charge_point: str, central_system: str, towards: Side) -> frozenset[str]:
    """The messages that go to *towards* and are not answered by the gateway itself."""
    dialects = (charge_point, central_system)
    return frozenset(
        (operation.request if asked is towards else operation.response).name
        for (asked, action), operation in dialect().operations.items()
        if all(local_answers.find(asked, spoken, action) is None for spoken in dialects)
    )


@cache
def answered_here(charge_point: str, central_system: str, asked: Side) -> tuple[LocalAnswer, ...]:
    """What the gateway answers in the place of *asked*, of all that the other party can ask for."""
    of_asked, of_asker = charge_point, central_system
    if asked is Side.CENTRAL_SYSTEM:
        of_asked, of_asker = of_asker, of_asked
    return tuple(
        row
        for row in local_answers.TABLE
        if row.asked is asked and of_asked in row.lacking and of_asker not in row.lacking
    )


def _transport(spoken: str) -> str:
    return spoken.partition(" ")[0]


def _version(spoken: str) -> str:
    return spoken.partition(" ")[2]
