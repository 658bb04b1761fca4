"""What the configuration says of the store, and of what is kept in it, as the relay knows it."""

from __future__ import annotations

from wattbridge.config import Config
from wattbridge.relay.offline import Rules


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
        history=store.history.age,
        history_bytes=store.history.size,
    )
