"""The process, who is refused, certificates and reloads."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.src.parts import GREEN, RED, YELLOW, Query, Row, dashboard, graph, listing, number, states


def runtime() -> Dashboard:
    return dashboard(
        "wattbridge-runtime",
        "Wattbridge / Runtime & security",
        "What the process takes, who is refused and why, certificates, and reloads of the configuration.",
        [
            Row(
                "Process",
                [
                    graph(
                        "CPU",
                        "Seconds of CPU a second. A gateway is one event loop: it cannot use more than 1.",
                        "percentunit",
                        Query("rate(process_cpu_seconds_total{$here}[$__rate_interval])", "{{instance}}"),
                    ),
                    graph(
                        "Memory",
                        "Resident memory.",
                        "bytes",
                        Query("process_resident_memory_bytes{$here}", "{{instance}}"),
                    ),
                    graph(
                        "Open files",
                        "File descriptors in use, of those the process may have. Each connection is one.",
                        "percentunit",
                        Query("process_open_fds{$here} / process_max_fds{$here}", "{{instance}}"),
                        most=1,
                    ),
                    graph(
                        "Event loop lag",
                        "How late timers fire, 99 of 100 sooner: what every message waits "
                        "when there is too much to do.",
                        "s",
                        Query(
                            "histogram_quantile(0.99, sum by (le, instance)"
                            " (rate(wattbridge_event_loop_lag_seconds_bucket{$here}[$__rate_interval])))",
                            "{{instance}}",
                        ),
                    ),
                    graph(
                        "Garbage collections",
                        "Collections a second, by generation.",
                        "ops",
                        Query(
                            "sum by (generation)"
                            " (rate(python_gc_collections_total{$here}[$__rate_interval]))",
                            "generation {{generation}}",
                        ),
                    ),
                    states(
                        "Ready and draining",
                        "Whether the gateway takes messages.",
                        Query(
                            "wattbridge_ready{$here} + 2 * wattbridge_draining{$here}",
                            "{{instance}}",
                        ),
                        [("not ready", RED), ("ready", GREEN), ("draining", YELLOW), ("draining", YELLOW)],
                        width=8,
                    ),
                ],
            ),
            Row(
                "Who is refused",
                [
                    graph(
                        "Connections",
                        "Open TCP connections of charge points.",
                        "short",
                        Query("sum by (listener) (wattbridge_connections{$here})", "{{listener}}"),
                    ),
                    graph(
                        "Authentication failures",
                        "Charge points a second that are unknown, or whose credential is wrong.",
                        "ops",
                        Query(
                            "sum by (listener, reason)"
                            " (rate(wattbridge_auth_failures_total{$here}[$__rate_interval]))",
                            "{{listener}}: {{reason}}",
                        ),
                    ),
                    graph(
                        "Slowed down",
                        "Messages and connections a second that came faster than they may.",
                        "ops",
                        Query(
                            "sum by (listener)"
                            " (rate(wattbridge_rate_limited_total{$here}[$__rate_interval]))",
                            "{{listener}}",
                        ),
                    ),
                    graph(
                        "Connections refused",
                        "TCP connections and WebSockets a second, by reason.",
                        "ops",
                        Query(
                            "sum by (listener, reason)"
                            " (rate(wattbridge_connections_refused_total{$here}[$__rate_interval])) > 0",
                            "{{listener}}: {{reason}}",
                        ),
                        width=12,
                    ),
                    graph(
                        "Requests refused",
                        "HTTP requests a second that were refused before they were read, by reason.",
                        "ops",
                        Query(
                            "sum by (listener, reason)"
                            " (rate(wattbridge_requests_refused_total{$here}[$__rate_interval])) > 0",
                            "{{listener}}: {{reason}}",
                        ),
                        width=12,
                    ),
                ],
            ),
            Row(
                "Certificates and configuration",
                [
                    listing(
                        "Certificates",
                        "How long each certificate is still valid.",
                        "s",
                        Query("sort(wattbridge_tls_certificate_not_after_timestamp_seconds{$here} - time())"),
                        {"instance": "Gateway", "certificate": "Certificate"},
                        value="Valid for",
                    ),
                    states(
                        "Last reload",
                        "Failed: the gateway goes on with the old configuration.",
                        Query("wattbridge_config_last_reload_successful{$here}", "{{instance}}"),
                        [("failed", RED), ("successful", GREEN)],
                        width=6,
                    ),
                    graph(
                        "Reloads",
                        "Reloads of the configuration, and those that failed.",
                        "short",
                        Query(
                            "sum(increase(wattbridge_config_reloads_total{$here}[$__rate_interval]))", "all"
                        ),
                        Query(
                            "sum(increase(wattbridge_config_reload_failures_total{$here}[$__rate_interval]))",
                            "failed",
                        ),
                        width=6,
                    ),
                    number(
                        "Configuration read",
                        "How long ago each gateway took over the configuration it works with.",
                        "s",
                        Query(
                            "time() - wattbridge_config_last_reload_success_timestamp_seconds{$here}",
                            "{{instance}}",
                        ),
                        width=12,
                        names=True,
                    ).height(8),
                    graph(
                        "Trace records dropped",
                        "Records a second that viewers of traces were too slow for.",
                        "ops",
                        Query(
                            "sum by (sink)"
                            " (rate(wattbridge_trace_records_dropped_total{$here}[$__rate_interval]))",
                            "{{sink}}",
                        ),
                        width=12,
                    ),
                ],
            ),
        ],
    )
