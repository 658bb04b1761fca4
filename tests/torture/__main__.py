"""``python -m tests.torture``: run it, print the figures, and say with what a failure can be repeated."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.torture.invariants import KINDS
from tests.torture.run import Found, Plan, Result, run

SHOWN = 8  # findings that are shown whole
LINES = 60  # of the books, around a finding


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when all that was promised was kept, 1 when not; with --control the other way round."""
    given = _arguments(arguments)
    plan = Plan(
        seed=given.seed if given.seed is not None else random.randrange(1_000_000),
        kills=given.kills,
        seconds=given.seconds,
        charge_points=given.charge_points,
        rest_every=given.rest_every,
        in_memory=given.control,
        disk=not given.no_disk,
        awkward_ids=given.awkward_ids,
        central_system=given.central_system,
    )
    folder = given.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gateway.log").unlink(missing_ok=True)
    say(f"torture: seed {plan.seed}, files in {folder}")
    try:
        result = asyncio.run(_run(plan, folder))
    except asyncio.CancelledError:
        say("stopped")
        return 130
    wrong = [found for found in result.found.values() if found.finding.kind not in given.tolerate]
    for line in figures(result):
        say(line)
    lost = result.count("lost")
    if given.control:
        say(
            f"control: {lost} lost, as it must be"
            if lost
            else "control: nothing was lost; this test proves nothing"
        )
        return 0 if lost else 1
    if not wrong:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
        return 0
    for line in report(wrong, result, folder):
        say(line)
    return 1


async def _run(plan: Plan, folder: Path) -> Result:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await run(plan, folder, lambda line: print(line, file=sys.stderr, flush=True))


def say(line: str) -> None:
    print(line, flush=True)


def figures(result: Result) -> list[str]:
    """What was done, and what was found, one line each."""
    ledger, plan = result.ledger, result.plan
    acknowledged = Counter(sent.action for sent in ledger.sent if sent.answers)
    tries = sum(sent.tries for sent in ledger.sent)
    unavailable = sum(" HTTP " in failure for sent in ledger.sent for failure in sent.failures)
    outcomes = Counter(asked.outcome or "under way" for asked in ledger.asked)
    resent = sum(arrival.again for arrival in ledger.arrivals)
    lines = [
        ("seed", str(plan.seed)),
        ("charge points", f"{plan.charge_points}, JSON, and SOAP of 1.6, 1.5 and 1.2; hold and provisional"),
        ("central system", f"one that speaks {plan.central_system.upper()}"),
        ("store", "memory" if plan.in_memory else "sqlite"),
        ("seconds", f"{ledger.seconds:.0f}"),
        ("rounds", str(result.rounds)),
        *((name, str(count)) for name, count in sorted(result.faults.items())),
        ("disk full", _skipped(result.disk_problem) or str(result.faults["disk full"])),
        ("transactions", str(len(ledger.transactions))),
        ("messages acknowledged", f"{acknowledged.total()}, {_several(acknowledged)}"),
        ("tries", f"{tries}, {unavailable} of them answered with an HTTP error that is no envelope"),
        ("repeated although acknowledged", str(result.repeats)),
        ("Heartbeats answered", str(result.heartbeats)),
        ("messages at the central system", f"{len(ledger.arrivals)}, and {resent} again with the same id"),
        ("calls of the central system", _several(outcomes) or "0"),
        *((kind, str(result.count(kind))) for kind in KINDS),
    ]  # fmt: skip
    if result.late:
        lines.append(("came very late", str(result.late)))
    width = max(len(name) for name, _ in lines)
    unique = dict(lines)
    return [f"{name:<{width}}  {value}" for name, value in unique.items()]


def _skipped(problem: str) -> str:
    return problem and f"skipped: {problem}"


def _several(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def report(wrong: Sequence[Found], result: Result, folder: Path) -> list[str]:
    """What is needed to look into it; everything about the charge points concerned goes into files."""
    kinds = Counter(found.finding.kind for found in wrong)
    again = f"--seed {result.plan.seed} --central-system {result.plan.central_system}"
    lines = ["", f"WRONG: {_several(kinds)}. Again: {again}; files in {folder}"]
    shown: Counter[str] = Counter()
    for found in wrong:
        finding = found.finding
        shown[finding.kind] += 1
        if shown[finding.kind] > max(1, SHOWN // len(kinds)):
            continue
        lines += [
            "",
            f"{finding.kind}: {KINDS[finding.kind]}",
            f"  {finding.identity} {finding.about}: {finding.text}",
        ]
        lines.append(f"  first seen in round {found.round}, {found.seconds:.1f} s")
        if finding.identity:
            books = list(result.ledger.lines_of(finding.identity))
            (folder / f"{finding.identity}.txt").write_text("\n".join(books) + "\n")
            lines += [f"  | {line}" for line in _around(books, finding.about)]
        lines += [f"  log {line[:400]}" for line in found.log]
    return lines


def _around(books: list[str], about: str) -> list[str]:
    """The lines of the books from the first to the last that has to do with it, or most of them."""
    word = about.rpartition(" ")[2]
    places = [place for place, line in enumerate(books) if word in line]
    if not places:
        return books[-LINES:]
    first, last = max(0, places[0] - 3), places[-1] + 4
    return books[first:last][:LINES]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    width = max(map(len, KINDS))
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description="Kill a gateway again and again while charge points charge, cut its links and fill its\n"
        "disk; then compare what charge points were told with what the central system got. Ends with 1\n"
        "when something is found.",
        epilog="what it finds:\n" + "\n".join(f"  {kind:<{width}}  {what}" for kind, what in KINDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, help="of everything random; printed, and another each time without it"
    )
    parser.add_argument(
        "--kills", type=int, default=200, help="how often the gateway is killed (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=86_400.0, help="begin no round after so long")
    parser.add_argument("--charge-points", type=int, default=20, help="how many there are (%(default)s)")
    parser.add_argument(
        "--rest-every", type=int, default=20, metavar="ROUNDS",
        help="after so many rounds everything is healed, and must come out even (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--no-disk", action="store_true", help="never fill the disk, and mount none")
    parser.add_argument(
        "--central-system", choices=("json", "soap"), default="json",
        help="what the central system speaks (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--awkward-ids", action="store_true",
        help="the central system gives ids out of the gateway's own range, too",
    )  # fmt: skip
    parser.add_argument(
        "--control", action="store_true",
        help="run a gateway that remembers nothing (store: memory), which must lose messages",
    )  # fmt: skip
    parser.add_argument(
        "--tolerate", action="append", choices=KINDS, default=[], metavar="KIND",
        help="count it, and do not fail for it; may be given more than once",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="where configuration, state and log go, to be kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
