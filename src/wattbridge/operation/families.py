"""The families of metrics as a table: what each is called, how it is labelled and what it tells.

``metrics.py`` makes the series of it, and ``docs/reference/metrics.md`` is made of it
(``python -m wattbridge.operation.families``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from wattbridge.ocpp.reasons import REASONS

Kind = Literal["counter", "gauge", "histogram"]

# Seconds. What the calling party waits: from a local answer to the longest call timeout.
CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
OWN_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
LAG_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
STORE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)  # one wait for the disk


@dataclass(frozen=True, slots=True)
class Family:
    """One family of series. ``name`` is without the ``wattbridge_`` that all begin with, and ``_total``."""

    kind: Kind
    name: str
    labels: tuple[str, ...]
    text: str
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        return f"wattbridge_{self.name}{'_total' if self.kind == 'counter' else ''}"


def _counter(name: str, labels: str, text: str) -> Family:
    return Family("counter", name, tuple(labels.split()), text)


def _gauge(name: str, labels: str, text: str) -> Family:
    return Family("gauge", name, tuple(labels.split()), text)


def _histogram(name: str, labels: str, text: str, buckets: tuple[float, ...]) -> Family:
    return Family("histogram", name, tuple(labels.split()), text, buckets)


_TABLE = (
    # The gateway
    _gauge("build_info", "version revision python_version", "1; what runs here"),
    _gauge("ready", "", "1 while the gateway accepts messages"),
    _gauge("draining", "", "1 while the gateway is stopping"),
    _gauge("config_last_reload_successful", "", "1 when the last reload of the configuration was successful"),
    _gauge("config_last_reload_success_timestamp_seconds", "", "When the configuration was last read"),
    _counter("config_reloads", "", "Reloads of the configuration"),
    _counter("config_reload_failures", "", "Those with which the old configuration stayed"),
    _histogram(
        "event_loop_lag_seconds",
        "",
        "How late a timer fires: what every message waits when there is too much to do",
        LAG_SECONDS,
    ),
    # Calls
    _counter("calls", "direction action charger_protocol csms_protocol", "Calls that a party made"),
    _counter("call_failures", "direction action reason", "Calls that did not end with a result"),
    _gauge("calls_in_flight", "direction", "Calls under way"),
    _histogram("call_duration_seconds", "direction action", "What the calling party waited", CALL_SECONDS),
    _histogram(
        "peer_response_duration_seconds",
        "peer upstream",
        "How long the asked party had a call",
        CALL_SECONDS,
    ),
    _histogram(
        "translation_duration_seconds",
        "source target",
        "What the gateway itself took for a call: reading, translating and writing it and its reply",
        OWN_SECONDS,
    ),
    _counter("callbacks", "", "Calls of central systems for charge points"),
    _counter("callback_failures", "reason", "Those with which no charge point was reached"),
    # Messages
    _counter("translation_losses", "action rule", "Parts of messages that could not be carried"),
    _counter("quirks_applied", "profile quirk", "What rules of profiles changed in messages"),
    _counter("schema_violations", "side action", "Messages that break the schema of OCPP"),
    _counter("malformed_messages", "side", "Messages that are not XML, SOAP or frames"),
    _counter("received_bytes", "side protocol", "Bytes of messages read"),
    _counter("sent_bytes", "side protocol", "Bytes of messages written"),
    # Charge points
    _gauge(
        "chargers",
        "protocol state",
        "Charge points: connected; stale when they have been silent for longer than they should; offline "
        "when they are configured and have no session",
    ),
    _gauge("chargers_unknown", "", "Unknown identities that were refused in the last hour"),
    _gauge("connections", "listener", "Open TCP connections of charge points"),
    _counter("connections_opened", "listener", "TCP connections of charge points"),
    _counter(
        "connections_refused", "listener reason", "TCP connections refused, and requests for a WebSocket"
    ),
    _counter("requests_refused", "listener reason", "HTTP requests refused before they were read"),
    _counter(
        "auth_failures",
        "listener reason",
        "Refused because nobody knows who it is, the credential is wrong, or the route rejects it",
    ),
    _counter("rate_limited", "listener", "Connections refused because there were too many, or too often"),
    _gauge(
        "tls_certificate_not_after_timestamp_seconds",
        "certificate",
        "When the certificate expires; of a file with several, the first that does",
    ),
    # Central systems
    _counter("failovers", "upstream", "Charge points that changed over to a central system, or back to it"),
    _counter("mirror_refusals", "upstream", "Calls of mirrors, which have no say"),
    _gauge("upstream_up", "upstream", "0 while charge points want to be connected to it and none is"),
    _gauge(
        "upstream_in_service",
        "upstream state",
        "1 for what the operator says of it: ready, drain (nothing is connected anew) or maint (nothing goes "
        "there); 0 for the two others",
    ),
    _gauge("csms_sessions", "upstream state", "Links to a central system"),
    _counter("csms_connects", "upstream", "WebSockets opened to a central system"),
    _counter(
        "csms_connect_failures",
        "upstream reason",
        "WebSockets that could not be opened; by SOAP, how often a charge point's calls began to fail",
    ),
    _counter(
        "csms_disconnects",
        "upstream code",
        "WebSockets that closed, by close code (1006: broken; 3xxx, 4xxx: the peer's own)",
    ),
    # What waits for central systems, and what is said for them meanwhile
    _gauge("queue_depth", "queue", "Messages that wait: for central systems, for mirrors"),
    _gauge("queue_oldest_seconds", "queue", "For how long the oldest of them has waited; 0 when none does"),
    _gauge("queue_bytes", "queue", "Bytes of them that are kept"),
    _gauge("queue_parked", "queue", "Messages that central systems refuse, kept for the operator to look at"),
    _counter("queue_dropped", "queue reason", "Messages that were not delivered, and never will be"),
    _counter("messages_delivered_late", "action", "Kept messages that reached their central system"),
    _counter("messages_parked", "reason", "Kept messages that were set aside for the operator"),
    _counter("offline_answers", "action", "Calls answered here, while their central system was away"),
    _counter("local_answers", "action", "Calls answered here, because the other party has no such operation"),
    _counter("duplicates_suppressed", "action", "Repeated messages that got the reply of the first"),
    _gauge("transactions_open", "", "Transactions that have begun and not ended"),
    _counter(
        "transaction_id_conflicts",
        "",
        "Transactions whose number charge points could not be told, and that got another one",
    ),
    # The store
    _gauge("store_works", "", "0 while nothing can be kept"),
    _counter("store_errors", "", "How often the store began to fail, or something could not be read in it"),
    _counter("store_rows", "", "Rows that were written and removed"),
    _histogram(
        "store_operation_duration_seconds",
        "operation",
        "How long the store took until rows were on disk, or found",
        STORE_SECONDS,
    ),
    _counter("store_notes_dropped", "", "Rows of lesser weight, as of the history, that were not kept"),
    _counter(
        "trace_records_dropped", "sink", "Exchanges that a reader was too slow for; by OTLP, spans not taken"
    ),
)

# The page of charge points, which is another one: what has identities as labels has as many series.
CHARGER_FAMILIES = (
    _gauge("charger_up", "charger", "1 while it is connected, 0 while it is stale or offline"),
    _gauge("charger_last_message_timestamp_seconds", "charger", "When it last spoke, since the start"),
    _gauge("charger_info", "charger vendor model firmware profile route", "1; what it says it is"),
)

SINKS = ("capture", "otlp", "stream")  # who reads exchanges besides the log

FAMILIES = {family.name: family for family in _TABLE}

_REFERENCE = """\
# Metrics

<!-- Made by `python -m wattbridge.operation.families`; a test sees that it is what that says. -->

They are served at `/metrics` of the address in `metrics.bind`, together with the stock families
`process_*`, `python_gc_*` and `python_info`: in Prometheus' text format, or in OpenMetrics where `Accept`
says so. There the histograms of calls have exemplars with the `trace_id` of exchanges that are traced.
[Monitoring](../guides/monitoring.md) tells how they are used.

The values of every label are a closed set: no charge point, id tag or address is ever one. Series that can be
foreseen begin at 0.

| Label | Values |
|---|---|
| `action` | an action of OCPP 1.6, or `other` |
| `certificate` | where the configuration names it: `listeners.soaps`, `upstreams.cloud.client`, `admin` |
| `charger_protocol`, `csms_protocol` | `ocpp1.6-soap`, `ocpp1.5-soap`, `ocpp1.2-soap`, \
`ocpp1.6-json`, `none` of a party that was not known |
| `code` | a close code of WebSocket, `3xxx` or `4xxx` |
| `direction` | `to_csms`, `to_charger`: where the call goes |
| `listener`, `upstream` | a name of the configuration, or `_other` |
| `operation` | `read`, `write` |
| `profile` | a name of the configuration or of a profile that comes with the gateway, or `_other` |
| `peer` | `charger`, `csms`: the party that was asked |
| `protocol` | `soap`, `json`; of `chargers` as `charger_protocol`, `none` of those that are offline |
| `queue` | `to_csms`, `mirror` |
| `quirk` | what was done, a word of `ocpp/reasons.py` that begins with `profile-` |
| `reason` | a word of the list below; of `queue_dropped`, `operator` for what was dropped by hand |
| `rule` | why a part was lost, a word of `ocpp/reasons.py` |
| `sink` | `capture`, `otlp`, `stream` |
| `side` | `charge_point`, `central_system`: the party that sent it, or was sent it |
| `source`, `target` | `soap`, `json`: of the call |
| `state` | of `chargers`: `connected`, `stale`, `offline`; of `csms_sessions`: `open`, `connecting`, \
`backoff` |

| Family | Kind | Labels | Meaning |
|---|---|---|---|
"""


_CHARGERS = """
With `metrics.per_charger`, `/metrics/chargers` tells of each charge point; of those beyond
`metrics.max_chargers`, one row with the label `_other` counts how many are connected.

| Family | Kind | Labels | Meaning |
|---|---|---|---|
"""


def reference() -> str:
    """``docs/reference/metrics.md``."""
    text = _REFERENCE + _rows(_TABLE) + _CHARGERS + _rows(CHARGER_FAMILIES)
    text += "\n| Reason | Meaning |\n|---|---|\n"
    return text + "".join(f"| `{reason}` | {meaning} |\n" for reason, meaning in REASONS.items())


def _rows(table: tuple[Family, ...]) -> str:
    rows = ""
    for family in table:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows += f"| `{family.full_name}` | {family.kind} | {labels} | {family.text} |\n"
    return rows


if __name__ == "__main__":
    sys.stdout.write(reference())
