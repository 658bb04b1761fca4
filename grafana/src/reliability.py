"""What becomes of messages while parties are away, and of the store that keeps them."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.src.parts import GREEN, RED, YELLOW, Query, Row, dashboard, graph, number, up_and_down


def reliability() -> Dashboard:
    return dashboard(
        "wattbridge-reliability",
        "Wattbridge / Reliability",
        "What waits, what is answered meanwhile, what is lost; central systems that come and go; the store.",
        [
            Row(
                "What waits",
                [
                    number(
                        "Messages parked",
                        "Messages that central systems refuse. `wattbridge queue list` shows them, and you "
                        "decide.",
                        "short",
                        Query("sum(wattbridge_queue_parked{$here})", "parked"),
                        steps=[(None, GREEN), (1, YELLOW)],
                        width=4,
                    ),
                    number(
                        "Bytes kept",
                        "Bytes of the messages that wait.",
                        "bytes",
                        Query("sum(wattbridge_queue_bytes{$here})", "kept"),
                        width=4,
                    ),
                    number(
                        "Transactions open",
                        "Transactions that have begun and not ended.",
                        "short",
                        Query("sum(wattbridge_transactions_open{$here})", "open"),
                        width=4,
                    ),
                    number(
                        "Renumbered, last hour",
                        "Transactions whose number charge points could not be told and that got another one.",
                        "short",
                        Query(
                            "sum(increase(wattbridge_transaction_id_conflicts_total{$here}[1h]))", "conflicts"
                        ),
                        steps=[(None, GREEN), (1, YELLOW)],
                        width=4,
                        decimals=0,
                    ),
                    number(
                        "Lost, last hour",
                        "Kept messages that will never be delivered, without those the operator dropped.",
                        "short",
                        Query(
                            'sum(increase(wattbridge_queue_dropped_total{$here, queue="to_csms",'
                            ' reason!="operator"}[1h]))',
                            "lost",
                        ),
                        steps=[(None, GREEN), (1, RED)],
                        width=4,
                        decimals=0,
                    ),
                    number(
                        "Store",
                        "1 while everything can be kept.",
                        "bool_yes_no",
                        Query("min(wattbridge_store_works{$here})", "works"),
                        steps=[(None, RED), (1, GREEN)],
                        width=4,
                    ),
                    graph(
                        "Messages waiting",
                        "For central systems and for mirrors.",
                        "short",
                        Query("sum by (queue) (wattbridge_queue_depth{$here})", "{{queue}}"),
                    ),
                    graph(
                        "Age of the oldest",
                        "For how long the oldest of them has waited.",
                        "s",
                        Query("max by (queue) (wattbridge_queue_oldest_seconds{$here})", "{{queue}}"),
                    ),
                    graph(
                        "Dropped",
                        "Messages a second that will never be delivered; of mirrors it is copies.",
                        "ops",
                        Query(
                            "sum by (queue, reason)"
                            " (rate(wattbridge_queue_dropped_total{$here}[$__rate_interval]))",
                            "{{queue}}: {{reason}}",
                        ),
                    ),
                    graph(
                        "Delivered late",
                        "Kept messages a second that reached their central system.",
                        "ops",
                        Query(
                            "sum by (action)"
                            " (rate(wattbridge_messages_delivered_late_total{$here}[$__rate_interval])) > 0",
                            "{{action}}",
                        ),
                        stacked=True,
                    ),
                    graph(
                        "Set aside",
                        "Kept messages a second that were parked, by why they were not taken.",
                        "ops",
                        Query(
                            "sum by (reason)"
                            " (rate(wattbridge_messages_parked_total{$here}[$__rate_interval])) > 0",
                            "{{reason}}",
                        ),
                    ),
                    graph(
                        "Answered meanwhile, and repeats",
                        "Calls a second that were answered here while the central system was away, and "
                        "repeated messages that got the reply of the first.",
                        "reqps",
                        Query(
                            "sum by (action)"
                            " (rate(wattbridge_offline_answers_total{$here}[$__rate_interval])) > 0",
                            "away: {{action}}",
                        ),
                        Query(
                            "sum by (action)"
                            " (rate(wattbridge_duplicates_suppressed_total{$here}[$__rate_interval])) > 0",
                            "repeated: {{action}}",
                        ),
                    ),
                ],
            ),
            Row(
                "Central systems",
                [
                    up_and_down(),
                    graph(
                        "Connects and failures",
                        "WebSockets a second that were opened, and those that could not be, by reason.",
                        "ops",
                        Query(
                            "sum by (upstream)"
                            " (rate(wattbridge_csms_connects_total{$here}[$__rate_interval]))",
                            "{{upstream}} connected",
                        ),
                        Query(
                            "sum by (upstream, reason)"
                            " (rate(wattbridge_csms_connect_failures_total{$here}[$__rate_interval])) > 0",
                            "{{upstream}}: {{reason}}",
                        ),
                    ),
                    graph(
                        "Disconnects",
                        "WebSockets a second that closed, by close code. 1006 is a broken connection.",
                        "ops",
                        Query(
                            "sum by (upstream, code)"
                            " (rate(wattbridge_csms_disconnects_total{$here}[$__rate_interval]))",
                            "{{upstream}}: {{code}}",
                        ),
                    ),
                    graph(
                        "Changes of central system",
                        "Charge points a second that changed over to a central system, or back to it.",
                        "ops",
                        Query(
                            "sum by (upstream) (rate(wattbridge_failovers_total{$here}[$__rate_interval]))",
                            "{{upstream}}",
                        ),
                        width=12,
                    ),
                    graph(
                        "Refused to mirrors",
                        "Calls of mirrors a second, which have no say.",
                        "ops",
                        Query(
                            "sum by (upstream)"
                            " (rate(wattbridge_mirror_refusals_total{$here}[$__rate_interval]))",
                            "{{upstream}}",
                        ),
                        width=12,
                    ),
                ],
            ),
            Row(
                "The store",
                [
                    graph(
                        "Until it is on disk",
                        "Half and 99 of 100 times rows are on disk, or found, sooner.",
                        "s",
                        *(
                            Query(
                                f"histogram_quantile({share}, sum by (le, operation)"
                                " (rate(wattbridge_store_operation_duration_seconds_bucket{$here}"
                                "[$__rate_interval])))",
                                f"{{{{operation}}}} p{round(share * 100)}",
                            )
                            for share in (0.5, 0.99)
                        ),
                    ),
                    graph(
                        "Rows",
                        "Rows a second written and removed, and rows of the history that were not kept.",
                        "ops",
                        Query("sum(rate(wattbridge_store_rows_total{$here}[$__rate_interval]))", "written"),
                        Query(
                            "sum(rate(wattbridge_store_notes_dropped_total{$here}[$__rate_interval]))",
                            "not kept",
                        ),
                    ),
                    graph(
                        "Errors",
                        "How often the store began to fail.",
                        "short",
                        Query(
                            "sum by (instance)"
                            " (increase(wattbridge_store_errors_total{$here}[$__rate_interval]))",
                            "{{instance}}",
                        ),
                    ),
                ],
            ),
        ],
    )
