"""What the configuration says of the store, and of what is kept in it, as relay and operation know it."""

from __future__ import annotations

from pathlib import Path

from wattbridge.config import Config
from wattbridge.operation.history import Keeping
from wattbridge.operation.redaction import Redaction
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.offline import Rules
from wattbridge.store.base import Store
from wattbridge.store.memory import MemoryStore
from wattbridge.store.sqlite import SqliteStore


def rules_of(config: Config) -> Rules:
    offline, queue, store = config.offline, config.offline.queue, config.store
    return Rules(
        hold=offline.hold,
        replies=store.replies,
        authorizations=offline.authorizations,
        attempts=offline.attempts,
        retry=offline.retry,
        rate=offline.rate,
        most=queue.per_charger,
        most_bytes=queue.per_charger_size,
        most_in_all=queue.total,
        most_bytes_in_all=queue.total_size,
        max_age=queue.max_age,
        boot_after_restart=offline.boot_after_restart,
        transactions=store.transactions,
    )


def history_of(config: Config) -> Keeping:
    section = config.store.history
    return Keeping(section.age, section.size, Redaction.of(section.redact))


async def open_store(path: Path | None, journal: Journal) -> Store:
    """The store at *path*, or one that remembers nothing. What is the matter with it is told to *journal*.

    Raises CannotOpen.
    """
    if path is None:
        text = "store.url is memory: what was confirmed to charge points is lost when the gateway ends"
        journal.event(Event("nothing is kept", text=text))
        return MemoryStore()

    def tell_problem(problem: str) -> None:
        kind = "store broken" if problem else "store works"
        journal.event(
            Event(kind, text=problem or "messages are kept again", reason="internal" if problem else "")
        )

    def tell_set_aside(text: str) -> None:
        journal.event(Event("database set aside", text=text, reason="internal"))

    def observe(seconds: float, rows: int) -> None:
        journal.committed(seconds, rows)

    return await SqliteStore.open(
        path,
        on_problem=tell_problem,
        on_set_aside=tell_set_aside,
        observe=observe,
        observe_read=journal.looked_up,
    )
