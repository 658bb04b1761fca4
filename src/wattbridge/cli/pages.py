"""Pages of ``docs/reference``, made from what the program itself works with.

    python -m wattbridge.cli.pages translation > docs/reference/translation.md

Likewise ``commands`` and ``profiles``. The pages of configuration and metrics are made where those are
described: ``reference.py``, ``operation/families.py``. ``make reference`` writes them all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

import typer
import typer.core
import typer.main

from wattbridge.cli import app
from wattbridge.cli.explain import Row, rows
from wattbridge.config import Profile
from wattbridge.config.profiles import built_in_names, resolved
from wattbridge.config.values import write_duration
from wattbridge.ocpp import tolerances
from wattbridge.ocpp.actions import CompiledOperation, Message, dialect
from wattbridge.ocpp.differences import DIFFERENCES, HABITS
from wattbridge.ocpp.errors import FAULT_BY_CODE, FAULT_CODE_BY_WORD
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.reasons import REASONS, RULES
from wattbridge.profiling import conditions_of
from wattbridge.relay.session import TRANSACTION_ACTIONS, UNDELIVERED

_MADE = (
    "<!-- Made by `python -m wattbridge.cli.pages {name}`; a test sees that it is what the program does. -->"
)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PAGES:
        sys.stderr.write(f"which page? There are: {', '.join(PAGES)}\n")
        return 2
    sys.stdout.write(PAGES[arguments[0]]())
    return 0


# --- How messages are carried


def translation() -> str:
    """Every message with every field, every difference, every forgiveness, every error."""
    compiled = dialect()
    of_charge_points = [o for o in compiled.operations.values() if o.asked is Side.CENTRAL_SYSTEM]
    of_central_systems = [o for o in compiled.operations.values() if o.asked is Side.CHARGE_POINT]
    return _page(
        "# How messages are carried",
        "",
        _MADE.format(name="translation"),
        "",
        _CARRIED.format(up=len(of_charge_points), down=len(of_central_systems)),
        "## What the charge point asks",
        *_operations(of_charge_points),
        "",
        "## What the central system asks",
        *_operations(of_central_systems),
        "",
        "## Where the two encodings differ",
        "",
        "The service description of OCPP-S and the schemas of OCPP-J agree on every field but these.",
        "",
        *_table(
            ("Field", "Towards SOAP", "Towards JSON", "Source"),
            (
                (f"`{row.path}`", row.towards_soap, row.towards_json, row.source)
                for row in (*DIFFERENCES, *HABITS)
            ),
        ),
        "",
        *_forgiven(),
        "",
        *_errors(),
    )


_CARRIED = """\
Where both sides speak the same, a payload is carried [as it
is](../guides/mixed-fleets.md#translated-or-as-it-is), and nothing of this page happens to it. Where one
speaks SOAP and the other JSON, it is translated.

Between the two sides a message has the form of OCPP-J 1.6, so the names below are the names on both wires.
In SOAP they are elements in this order, in the namespace of the service; in JSON they are members of the
payload, in any order. An object's fields are written behind its name with a dot, `[]` marks a list.

| What stands there | In SOAP | In JSON |
|---|---|---|
| integer, decimal | text | number |
| boolean | `true`, `false` | `true`, `false` |
| time | `YYYY-MM-DDTHH:MM:SSZ`, UTC | the same, as a string |
| list | the element repeated | array, also of one |
| a field that is not there | no element | no member, never `null` |
| the action | the element in the Body, and wsa:Action | the third item of the CALL |
| who it is from or for | the header chargeBoxIdentity | the last part of the URL |
| which call a reply is to | wsa:RelatesTo, or the HTTP exchange | the message id |

Message ids are made by the gateway on each side, and never copied from the other: wsa:MessageID may be
missing, repeated or too long, and many charge points count theirs from 1 in each connection.

A charge point asks for {up} operations, a central system for {down}; DataTransfer is one of both.
`wattbridge explain ACTION` shows any of them in the terminal, from the same data.
"""


def _operations(operations: Iterable[CompiledOperation]) -> list[str]:
    lines = []
    for operation in sorted(operations, key=lambda operation: operation.action):
        lines += ["", f"### {operation.action}"]
        for message in (operation.request, operation.response):
            kind = "req" if message is operation.request else "conf"
            lines += ["", *_message(f"{operation.action}.{kind}", message)]
    return lines


def _message(name: str, message: Message) -> list[str]:
    table = rows(message)
    where = f"`{name}`: `<{message.element}>`"
    if not table:
        return [f"{where}, no fields."]
    lists = {row.path for row in table if row.field.repeated}
    return [
        f"{where}",
        "",
        *_table(
            ("Field", "Occurs", "Value", "On its way"),
            (
                (f"`{_dotted(row, lists)}`", row.cardinality, _value(row), "; ".join(_said(row)))
                for row in table
            ),
        ),
    ]


def _dotted(row: Row, lists: set[str]) -> str:
    """``sampledValue[].unit`` of ``MeterValues.meterValue.sampledValue.unit``: its list marked as such."""
    path, dotted = "", []
    for part in row.path.split("."):
        path = f"{path}.{part}" if path else part
        dotted.append(f"{part}[]" if path in lists else part)
    return ".".join(dotted[1:])


def _value(row: Row) -> str:
    return ", ".join(f"`{word}`" for word in row.field.enum) if row.field.enum else row.kind


def _said(row: Row) -> list[str]:
    """What is particular to this field; what holds for every time and decimal is said once, elsewhere."""
    said = []
    for difference in row.differences:
        if difference.towards_soap == difference.towards_json:
            said.append(difference.towards_soap)
            continue
        for way, what in (("SOAP", difference.towards_soap), ("JSON", difference.towards_json)):
            if not what.startswith("nothing to do"):
                said.append(f"towards {way}: {what}")
    return list(dict.fromkeys(said))


_FORGIVEN = """\
## What is forgiven

What a charge point reports, and every answer, is read with patience; what a central system commands is
carried whole or refused. What is written is always strict. Every forgiveness is recorded by a rule: as
`changes=` or `losses=` in the log, in `wattbridge_translation_losses_total`, and by
`wattbridge translate --explain`.
"""


def _forgiven() -> list[str]:
    aliases = [
        (f"`{seen}` for the field `{meant}` of {message}", "read as that field")
        for (message, seen), meant in tolerances.FIELD_ALIASES.items()
    ]
    aliases += [
        (f"`{field}`: `{seen}`", f"read as `{meant}`")
        for (field, seen), meant in tolerances.VALUE_ALIASES.items()
    ]
    aliases += [
        (f"`{field}`: `{value}`, where the other encoding has no word for it", f"left out: {why}")
        for (field, value), why in tolerances.UNSAYABLE.items()
    ]
    aliases += [
        (f"a bad item of {_words(tolerances.SALVAGED_LISTS)}", "left out alone, the others are carried"),
        (
            f"a bad {_words(tolerances.MEANINGFUL, 'or')}",
            "the whole sample is left out: without it the value would say something else",
        ),
        (f"a fraction in {_words(tolerances.ROUNDED)}", "rounded"),
        (f"an object, list or element in {_words(tolerances.ANYTHING_AS_TEXT)}", "carried as its text"),
        ("booleans written `1`, `0`, `TRUE`, `False`, …", "read as booleans"),
        ("ten or thirteen digits where a time belongs", "read as seconds or milliseconds since 1970"),
        ("a time without an offset", "taken to be of `time.zone`, or of the charge point's own `zone`"),
    ]
    return [
        _FORGIVEN,
        *_table(("Seen", "What happens"), aliases),
        "",
        "The rules by which changes and losses are recorded:",
        "",
        *_table(("Rule", "Meaning"), ((f"`{rule}`", meaning) for rule, meaning in RULES.items())),
    ]


_REFUSALS = """\
## Refusals: CALLERROR and Fault

A CALLERROR becomes a SOAP fault for a party that speaks SOAP. Its Reason begins with the code, which keeps
what the five subcodes of OCPP-S cannot say. A Sender fault has HTTP status 400, a Receiver fault 500.
"""
_ANSWERED_HERE = """\
The codes of OCPP-J themselves are understood as subcodes too.

## What is answered here

Everything is carried to the other party, with these exceptions:

- MeterValues.req without a meter value is answered with MeterValues.conf: OCPP-J cannot say it.
- A message that breaks its schema, or asks for what the other party does not answer, is refused to the party
  that sent it. The text names the place, what was found and what was expected.
- A charge point that is not known is refused: with a SecurityError in SOAP, with 404 before there is a
  WebSocket in JSON. One whose route rejects it is answered by the gateway.
- {kept} of a SOAP charge point that could not be delivered for
  a reason that may pass are not answered at all: the connection is closed, and the charge point keeps the
  message and sends it again. In JSON they get a CALLERROR, after which it does the same. These may pass:
  {passing}.

## Why a call failed

One word each, in the log (`reason=`) and in the label `reason` of the metrics.
"""


def _errors() -> list[str]:
    return [
        _REFUSALS,
        *_table(
            ("CALLERROR", "Fault code", "Subcode"),
            ((f"`{code}`", f"`{fault}`", f"`{subcode}`") for code, (fault, subcode) in FAULT_BY_CODE.items()),
        ),
        "",
        "A fault becomes a CALLERROR for a party that speaks JSON. The words are looked for in code and",
        "subcode, in any letter case and namespace; the innermost counts.",
        "",
        *_table(
            ("Word in the fault", "CALLERROR"),
            ((f"`{word}`", f"`{code}`") for word, code in FAULT_CODE_BY_WORD.items() if word != code.lower()),
        ),
        "",
        _ANSWERED_HERE.format(kept=_words(TRANSACTION_ACTIONS), passing=_words(UNDELIVERED)),
        *_table(("Reason", "Meaning"), ((f"`{word}`", meaning) for word, meaning in REASONS.items())),
    ]


# --- Vendor profiles

_SUPPORTED = """\
Charge points that need more than what is [forgiven](translation.md#what-is-forgiven) everybody, each with
where that was seen. What is not in these tables is not known to need anything. How a charge point gets its
profile, and how to write one: [Vendor profiles](../guides/vendor-profiles.md).

`wattbridge profile show NAME` prints a profile with its rules, `wattbridge profile test` runs the samples of
all.

## By what they say they are

The profile of these is chosen by their BootNotification.
"""
_NAMED = """\

## By name

What a charge point says of itself does not tell whether it needs one of these. Whoever needs it names it,
for one charge point (`chargers.IDENTITY.profile`) or for a route.
"""


def profiles() -> str:
    """Every profile that comes with the gateway."""
    known = [(name, resolved(name, {})) for name in sorted(built_in_names())]
    head = ("Charge points", "Profile", "What is done", "Seen", "To see to")
    return _page(
        "# Supported charge points",
        "",
        _MADE.format(name="profiles"),
        "",
        _SUPPORTED,
        *_table(
            (*head[:2], "For", *head[2:]),
            (_profile(name, profile) for name, profile in known if profile.products),
        ),
        _NAMED,
        *_table(head, (_profile(name, profile) for name, profile in known if not profile.products)),
    )


def _profile(name: str, profile: Profile) -> tuple[str, ...]:
    told = [" and ".join(map(str, conditions)) for conditions in conditions_of(profile)]
    return (
        profile.title or name,
        f"`{name}`",
        *(["; ".join(f"`{each}`" for each in told)] if told else []),
        "; ".join(_done(profile)),
        "; ".join(profile.evidence),
        "; ".join(profile.requirements),
    )


def _done(profile: Profile) -> Iterator[str]:
    """What a profile does, in words."""
    time, soap, calls, websocket = profile.time, profile.soap, profile.calls, profile.websocket
    if soap.prefix:
        yield f"elements are written with the prefix `{soap.prefix}`"
    if soap.from_header != "address":
        yield "no wsa:From" if soap.from_header == "none" else "wsa:From is a text"
    if not soap.reply_to:
        yield "no wsa:ReplyTo"
    if not soap.must_understand:
        yield "nothing has to be understood"
    if soap.to == "from":
        yield "wsa:To is the address it gives itself"
    if soap.fault_status:
        yield f"faults have status {soap.fault_status}"
    if time.z == "local":
        yield "a Z behind its times does not count"
    if time.precision:
        yield f"times are written in {time.precision}"
    if calls.answered_here:
        yield f"{_words(calls.answered_here)}: answered by the gateway"
    if calls.timeout:
        yield f"calls may take {write_duration(calls.timeout)}"
    if calls.retries:
        yield f"calls that did not reach it are tried again, at most {calls.retries} times"
    if websocket.subprotocol == "optional":
        yield "served without a subprotocol, whatever its route says"
    if websocket.also:
        yield f"{_words(websocket.also)}: taken for ocpp1.6"
    if profile.text.truncate:
        yield f"{_words(profile.text.truncate)}: cut to the length OCPP allows"
    for path, words in profile.values.items():
        yield from (f"`{path}` `{seen}` is `{meant}`" for seen, meant in words.items())
    for path, unknown in profile.unknown.items():
        yield f"unknown words of `{path}` become `{unknown.becomes}`"
    for path, value in profile.defaults.items():
        yield f"`{path}` that is empty or missing is `{value}`"
    for alias in profile.aliases:
        yield f"`{alias.field}` of {alias.action} is written as `{alias.name}`, too"
    for rule in profile.fields:
        what = [f"`{path}` is set to `{value}`" for path, value in rule.set.items()]
        what += [f"`{path}` is dropped" for path in rule.drop]
        what += [f"`{path}` is multiplied by {factor}" for path, factor in rule.scale.items()]
        yield f"{rule.action}.{'conf' if rule.part == 'response' else 'req'}: {', '.join(what)}"
    if profile.rewrite:
        yield "messages are mended where they could pass as they are"


# --- The command line


def commands() -> str:
    """The help of every command that is shown."""
    group = typer.main.get_group(app)
    top = typer.Context(
        group,
        info_name="wattbridge",
        terminal_width=_COLUMNS,
        help_option_names=group.context_settings["help_option_names"],
    )
    return _page(
        "# Commands",
        "",
        _MADE.format(name="commands"),
        "",
        "Data goes to standard output, talk to standard error. Exit codes: 0 is well, 1 a negative answer,",
        "2 wrong usage or a wrong configuration, 3 somebody who cannot be reached, 4 a gateway that refuses",
        "the token.",
        *_helps(top, level=2),
    )


_COLUMNS = 80


def _helps(context: typer.Context, level: int) -> list[str]:
    lines = ["", f"{'#' * level} `{context.command_path}`", "", "```text", context.get_help().rstrip(), "```"]
    if isinstance(context.command, typer.core.TyperGroup):
        for name, inner in context.command.commands.items():
            if not inner.hidden:
                below = typer.Context(inner, parent=context, info_name=name, terminal_width=_COLUMNS)
                lines += _helps(below, level + 1)
    return lines


# --- Markdown


def _page(*lines: str) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> list[str]:
    def row(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return [row(head), f"|{'---|' * len(head)}", *map(row, lines)]


def _words(words: Iterable[str], joint: str = "and") -> str:
    *others, last = (f"`{word}`" for word in sorted(words))
    return f"{', '.join(others)} {joint} {last}" if others else last


PAGES: dict[str, Callable[[], str]] = {
    "translation": translation,
    "profiles": profiles,
    "commands": commands,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
