"""Is it well? The first page to look at."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.src.parts import GREEN, RED, YELLOW, Query, Row, dashboard, graph, listing, number, up_and_down

CALLER_WAITS = (
    "histogram_quantile({}, sum by (le)"
    " (rate(wattbridge_call_duration_seconds_bucket{{$here}}[$__rate_interval])))"
)


def overview() -> Dashboard:
    return dashboard(
        "wattbridge-overview",
        "Wattbridge / Overview",
        "Is it well? Gateways, charge points, central systems and the calls between them.",
        [
            Row(
                "State",
                [
                    number(
                        "Gateways ready",
                        "Gateways that take messages. Not ready: `/readyz` of that gateway says why.",
                        "short",
                        Query("sum(wattbridge_ready{$here})", "ready"),
                        steps=[(None, RED), (1, GREEN)],
                    ),
                    number(
                        "Charge points connected",
                        "Charge points with a session.",
                        "short",
                        Query('sum(wattbridge_chargers{$here, state="connected"})', "connected"),
                    ),
                    number(
                        "Charge points missing",
                        "Charge points that are configured and have no session, and those that are silent.",
                        "short",
                        Query('sum(wattbridge_chargers{$here, state!="connected"})', "missing"),
                        steps=[(None, GREEN), (1, YELLOW)],
                    ),
                    number(
                        "Central systems down",
                        "Central systems that charge points want to be connected to, and none is; those that "
                        "an operator has taken out of service do not count.",
                        "short",
                        Query(
                            "sum(max by (upstream) ((1 - wattbridge_upstream_up{$here}) * ignoring (state)"
                            ' wattbridge_upstream_in_service{$here, state="ready"}))',
                            "down",
                        ),
                        steps=[(None, GREEN), (1, RED)],
                    ),
                    number(
                        "Open transactions",
                        "Transactions that have begun and not ended.",
                        "short",
                        Query("sum(wattbridge_transactions_open{$here})", "open"),
                    ),
                    number(
                        "Oldest message waiting",
                        "For how long the oldest kept message has waited for its central system.",
                        "s",
                        Query('max(wattbridge_queue_oldest_seconds{$here, queue="to_csms"})', "oldest"),
                        steps=[(None, GREEN), (300, YELLOW), (900, RED)],
                    ),
                    number(
                        "Next certificate expires in",
                        "The first certificate that ends. Empty where the gateway has none.",
                        "s",
                        Query(
                            "min(wattbridge_tls_certificate_not_after_timestamp_seconds{$here}) - time()",
                            "left",
                        ),
                        steps=[(None, RED), (3 * 86400, YELLOW), (14 * 86400, GREEN)],
                    ),
                    number(
                        "Unknown charge points",
                        "Identities that were refused in the last hour because they are not configured. "
                        "`wattbridge chargers list` and the log name them.",
                        "short",
                        Query("sum(wattbridge_chargers_unknown{$here})", "unknown"),
                        steps=[(None, GREEN), (1, YELLOW)],
                    ),
                ],
            ),
            Row(
                "Traffic",
                [
                    graph(
                        "Calls",
                        "Calls a second that parties made, by where they go.",
                        "reqps",
                        Query(
                            "sum by (direction) (rate(wattbridge_calls_total{$here}[$__rate_interval]))",
                            "{{direction}}",
                        ),
                        width=6,
                    ),
                    graph(
                        "Calls that fail",
                        "The share of calls that did not end with a result, by reason. The reasons are told "
                        "in docs/reference/metrics.md.",
                        "percentunit",
                        Query(
                            "(sum by (reason)"
                            " (rate(wattbridge_call_failures_total{$here}[$__rate_interval])) > 0)"
                            " / scalar(sum(rate(wattbridge_calls_total{$here}[$__rate_interval])))",
                            "{{reason}}",
                        ),
                        width=6,
                        stacked=True,
                    ),
                    graph(
                        "What callers wait",
                        "Half, 95 and 99 of 100 calls are answered faster than this.",
                        "s",
                        *(
                            Query(CALLER_WAITS.format(share), f"p{round(share * 100)}")
                            for share in (0.5, 0.95, 0.99)
                        ),
                        width=6,
                    ),
                    graph(
                        "Calls under way",
                        "Calls that wait for their answer. When this grows, whoever is asked is slow.",
                        "short",
                        Query("sum by (direction) (wattbridge_calls_in_flight{$here})", "{{direction}}"),
                        width=6,
                    ),
                ],
            ),
            Row(
                "Charge points",
                [
                    graph(
                        "Charge points",
                        "By what they speak, and whether they are there.",
                        "short",
                        Query(
                            "sum by (state, protocol) (wattbridge_chargers{$here})", "{{state}} {{protocol}}"
                        ),
                        stacked=True,
                    ),
                    graph(
                        "Connections opened and refused",
                        "TCP connections and WebSockets a second. Many opened ones with as many charge "
                        "points are connections that break.",
                        "ops",
                        Query(
                            "sum(rate(wattbridge_connections_opened_total{$here}[$__rate_interval]))",
                            "opened",
                        ),
                        Query(
                            "sum by (reason)"
                            " (rate(wattbridge_connections_refused_total{$here}[$__rate_interval])) > 0",
                            "refused: {{reason}}",
                        ),
                    ),
                    listing(
                        "Versions",
                        "What runs where.",
                        "short",
                        Query("wattbridge_build_info{$here}"),
                        {
                            "instance": "Gateway",
                            "version": "Version",
                            "revision": "Revision",
                            "python_version": "Python",
                        },
                        width=8,
                    ),
                ],
            ),
            Row(
                "Central systems",
                [
                    up_and_down(),
                    graph(
                        "Links",
                        "Links to central systems by state; in backoff, a charge point waits for its "
                        "central system.",
                        "short",
                        Query(
                            "sum by (upstream, state) (wattbridge_csms_sessions{$here})",
                            "{{upstream}} {{state}}",
                        ),
                        stacked=True,
                    ),
                    graph(
                        "What parties take to answer",
                        "95 of 100 calls are answered faster by the party that was asked. Whose fault it is "
                        "when callers wait.",
                        "s",
                        Query(
                            "histogram_quantile(0.95, sum by (le, peer, upstream)"
                            " (rate(wattbridge_peer_response_duration_seconds_bucket{$here}"
                            "[$__rate_interval])))",
                            "{{peer}} {{upstream}}",
                        ),
                    ),
                ],
            ),
        ],
    )
