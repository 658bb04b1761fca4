"""What is carried, what that costs, and what is changed or lost on the way."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.src.parts import Query, Row, bars, dashboard, graph, heat


def translation() -> Dashboard:
    return dashboard(
        "wattbridge-translation",
        "Wattbridge / Translation",
        "What is carried between SOAP and JSON, what that costs, and what is changed or lost on the way.",
        [
            Row(
                "Calls",
                [
                    bars(
                        "Calls by action",
                        "Calls a second, the most frequent first.",
                        "reqps",
                        Query(
                            "sort_desc(sum by (action)"
                            " (rate(wattbridge_calls_total{$here}[$__rate_interval])) > 0)",
                            "{{action}}",
                        ),
                    ),
                    graph(
                        "What the two sides speak",
                        "Calls a second by charge point and central system. What is the same on both sides "
                        "passes as it is.",
                        "reqps",
                        Query(
                            "sum by (charger_protocol, csms_protocol)"
                            " (rate(wattbridge_calls_total{$here}[$__rate_interval])) > 0",
                            "{{charger_protocol}} / {{csms_protocol}}",
                        ),
                        stacked=True,
                    ),
                    graph(
                        "Failures by action",
                        "Calls a second that did not end with a result.",
                        "reqps",
                        Query(
                            "sum by (action, reason)"
                            " (rate(wattbridge_call_failures_total{$here}[$__rate_interval])) > 0",
                            "{{action}}: {{reason}}",
                        ),
                    ),
                ],
            ),
            Row(
                "What the gateway takes",
                [
                    heat(
                        "SOAP to JSON",
                        "The gateway's own time for calls that go from SOAP to JSON, and their replies.",
                        "s",
                        Query(_own_time("soap", "json"), "{{le}}"),
                    ),
                    heat(
                        "JSON to SOAP",
                        "The gateway's own time for calls that go from JSON to SOAP, and their replies.",
                        "s",
                        Query(_own_time("json", "soap"), "{{le}}"),
                    ),
                ],
            ),
            Row(
                "Changed and lost",
                [
                    graph(
                        "Lost",
                        "Parts of messages a second that could not be carried, by rule, as told in "
                        "docs/reference/translation.md.",
                        "ops",
                        Query(
                            "sum by (action, rule)"
                            " (rate(wattbridge_translation_losses_total{$here}[$__rate_interval])) > 0",
                            "{{action}}: {{rule}}",
                        ),
                    ),
                    graph(
                        "Mended by profiles",
                        "What rules of vendor profiles changed, a second.",
                        "ops",
                        Query(
                            "sum by (profile, quirk)"
                            " (rate(wattbridge_quirks_applied_total{$here}[$__rate_interval])) > 0",
                            "{{profile}}: {{quirk}}",
                        ),
                    ),
                    graph(
                        "Answered by the gateway",
                        "Calls a second that the other party has no operation for.",
                        "reqps",
                        Query(
                            "sum by (action)"
                            " (rate(wattbridge_local_answers_total{$here}[$__rate_interval])) > 0",
                            "{{action}}",
                        ),
                    ),
                    graph(
                        "Against the schema",
                        "Messages a second that break the schema of OCPP, by who sent them.",
                        "ops",
                        Query(
                            "sum by (side, action)"
                            " (rate(wattbridge_schema_violations_total{$here}[$__rate_interval])) > 0",
                            "{{side}}: {{action}}",
                        ),
                        width=12,
                    ),
                    graph(
                        "Malformed",
                        "Messages a second that are not XML, not SOAP or no frame, by who sent them.",
                        "ops",
                        Query(
                            "sum by (side)"
                            " (rate(wattbridge_malformed_messages_total{$here}[$__rate_interval]))",
                            "{{side}}",
                        ),
                        width=12,
                    ),
                ],
            ),
            Row(
                "Both ways",
                [
                    graph(
                        "Calls for charge points",
                        "Calls of central systems a second, and those that reached no charge point.",
                        "reqps",
                        Query("sum(rate(wattbridge_callbacks_total{$here}[$__rate_interval]))", "all"),
                        Query(
                            "sum by (reason)"
                            " (rate(wattbridge_callback_failures_total{$here}[$__rate_interval])) > 0",
                            "{{reason}}",
                        ),
                    ),
                    graph(
                        "Read",
                        "Bytes of messages a second that the gateway read, by who sent them.",
                        "Bps",
                        Query(
                            "sum by (side, protocol)"
                            " (rate(wattbridge_received_bytes_total{$here}[$__rate_interval]))",
                            "{{side}} {{protocol}}",
                        ),
                        stacked=True,
                    ),
                    graph(
                        "Written",
                        "Bytes of messages a second that the gateway wrote, by whom they were for.",
                        "Bps",
                        Query(
                            "sum by (side, protocol)"
                            " (rate(wattbridge_sent_bytes_total{$here}[$__rate_interval]))",
                            "{{side}} {{protocol}}",
                        ),
                        stacked=True,
                    ),
                ],
            ),
        ],
    )


def _own_time(source: str, target: str) -> str:
    labels = f'$here, source="{source}", target="{target}"'
    return (
        "sum by (le)"
        f" (increase(wattbridge_translation_duration_seconds_bucket{{{labels}}}[$__rate_interval]))"
    )
