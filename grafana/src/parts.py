"""What all dashboards are put together from: panels with one look, variables, links, annotations.

Queries are PromQL in which ``$here`` stands for the labels that choose gateways. Of metrics, knows those that
are on several dashboards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, statetimeline, table
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import timeseries as time_series
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HERE = 'job=~"$job", instance=~"$instance"'
SOURCE = shapes.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "ocpp"
ANNOTATIONS = (  # name, colour, when (milliseconds), what it is called
    ("Restarts", "orange", "process_start_time_seconds{$here} * 1000", "{{instance}} started"),
    (
        "Reloads",
        "blue",
        "wattbridge_config_last_reload_success_timestamp_seconds{$here} * 1000",
        "{{instance}} took over its configuration",
    ),
)
GREEN, YELLOW, RED = "green", "yellow", "red"

Panel = stat.Panel | time_series.Panel | table.Panel | bargauge.Panel | heatmap.Panel | statetimeline.Panel


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its series are called: ``{{direction}}``."""

    text: str
    legend: str = "__auto"

    def target(
        self, number: int, *, instant: bool = False, as_table: bool = False, as_heatmap: bool = False
    ) -> prometheus.Dataquery:
        target = prometheus.Dataquery().expr(self.text.replace("$here", HERE)).legend_format(self.legend)
        target.ref_id("ABCDEFGH"[number]).datasource(SOURCE)
        if as_table:
            target.format(PromQueryFormat.TABLE)
        if as_heatmap:
            target.format(PromQueryFormat.HEATMAP)
        return target.instant() if instant else target.range()


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    stacked: bool = False,
    most: float | None = None,
) -> time_series.Panel:
    """Lines over time; *stacked* where their sum means something. *most* is the end of the axis."""
    panel = time_series.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(width).height(8).min(0).show_points(shapes.VisibilityMode.NEVER).fill_opacity(10)
    panel.line_width(1).span_nulls(False)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(shapes.LegendDisplayMode.TABLE)
        .placement(shapes.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )
    panel.tooltip(
        common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
    )
    if most is not None:
        panel.max(most)
    if stacked:
        panel.fill_opacity(40).stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    for number, query in enumerate(queries):
        panel.with_target(query.target(number))
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),),
    width: int = 3,
    decimals: int | None = None,
    names: bool = False,
) -> stat.Panel:
    """One number, coloured by the *steps* it has reached; with *names*, one for each series."""
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(width).height(4).thresholds(_thresholds(steps)).color_mode(shapes.BigValueColorMode.VALUE)
    panel.graph_mode(shapes.BigValueGraphMode.AREA).reduce_options(
        common.ReduceDataOptions().calcs(["lastNotNull"])
    )
    if decimals is not None:
        panel.decimals(decimals)
    if names:
        panel.text_mode(shapes.BigValueTextMode.VALUE_AND_NAME)
    return panel.with_target(query.target(0))


def bars(title: str, description: str, unit: str, query: Query, *, width: int = 8) -> bargauge.Panel:
    """One bar for each series, as it is now."""
    panel = bargauge.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(width).height(8).min(0).orientation(shapes.VizOrientation.HORIZONTAL)
    panel.display_mode(shapes.BarGaugeDisplayMode.BASIC).thresholds(_thresholds(((None, "blue"),)))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.with_target(query.target(0, instant=True))


def heat(title: str, description: str, unit: str, query: Query, *, width: int = 12) -> heatmap.Panel:
    """The buckets of a histogram over time."""
    panel = heatmap.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(width).height(8).calculate(False)
    panel.y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(shapes.AxisPlacement.LEFT))
    panel.color(
        heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    )
    return panel.with_target(query.target(0, as_heatmap=True))


def states(
    title: str, description: str, query: Query, words: Sequence[tuple[str, str]], *, width: int = 12
) -> statetimeline.Panel:
    """Which state each series had when; *words* and colours are those of 0, 1 and so on."""
    panel = statetimeline.Panel().title(title).description(description).unit("short").datasource(SOURCE)
    panel.span(width).height(8).merge_values(True).mappings([_words(words)])
    panel.color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.thresholds(_thresholds([(value or None, words[value][1]) for value in range(len(words))]))
    return panel.with_target(query.target(0))


def up_and_down() -> statetimeline.Panel:
    """Which central systems were there when."""
    return states(
        "Up and down",
        "Down: charge points want to be connected to it and none is. Out of service: an operator wants none "
        "to be; drained: those that were connected then still are.",
        Query(
            "min by (upstream) (wattbridge_upstream_up{$here})"
            ' + 2 * max by (upstream) (wattbridge_upstream_in_service{$here, state!="ready"})',
            "{{upstream}}",
        ),
        [("down", RED), ("up", GREEN), ("out of service", YELLOW), ("drained", "blue")],
        width=8,
    )


def listing(
    title: str,
    description: str,
    unit: str,
    query: Query,
    columns: dict[str, str],
    *,
    value: str | None = None,
    width: int = 12,
    links: dict[str, tuple[str, str]] | None = None,
) -> table.Panel:
    """A table of what is now: *columns* are labels and their headings, *value* the heading of the number.

    *links* are of columns: what the link is called, and where it leads.
    """
    panel = table.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(width).height(8)
    order = [*columns, *(["Value"] if value else [])]
    headings = columns | ({"Value": value} if value else {})
    panel.with_transformation(
        models.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": order}})
    )
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {},
                "indexByName": {name: index for index, name in enumerate(order)},
                "renameByName": headings,
            },
        )
    )
    for label, (text, url) in (links or {}).items():
        link = {"title": text, "url": url, "targetBlank": True}
        panel.override_by_name(columns[label], [models.DynamicConfigValue(id_val="links", value=[link])])
    return panel.with_target(query.target(0, instant=True, as_table=True))


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[Row],
    *variables: Builder[models.VariableModel],
    known_by: str = "wattbridge_build_info",
) -> models.Dashboard:
    """A dashboard of *rows* with the variables that all have, and *variables* of its own.

    *known_by* is the metric by which its gateways are found.
    """
    made = dashboards.Dashboard(title).uid(uid).description(description).tags([TAG, "wattbridge"])
    made.readonly().tooltip(models.DashboardCursorSync.CROSSHAIR).refresh("30s").time("now-1h", "now")
    made.with_variable(dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    made.with_variable(several("job", "Job", f"label_values({known_by}, job)"))
    made.with_variable(several("instance", "Instance", f'label_values({known_by}{{job=~"$job"}}, instance)'))
    for variable in variables:
        made.with_variable(variable)
    for name, color, query, text in ANNOTATIONS:
        annotation = dashboards.AnnotationQuery().name(name).enable(True).hide(False).icon_color(color)
        annotation.datasource(SOURCE).expr(query.replace("$here", HERE)).title_format(text)
        made.annotation(annotation.use_value_for_time(True))
    made.link(
        dashboards.DashboardLink("Wattbridge")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags(["wattbridge"])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    number = 1
    for row in rows:
        made.with_row(dashboards.Row(row.title).id(number))
        number += 1
        for panel in row.panels:
            made.with_panel(panel.id(number))
            number += 1
    return made.build()


def several(name: str, label: str, query: str) -> dashboards.QueryVariable:
    """A variable of which several values, or all, can be chosen."""
    variable = dashboards.QueryVariable(name).label(label).query(query).datasource(SOURCE)
    variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    variable.multi(True).include_all(True).all_value(".+")
    everything: Any = ["$__all"]
    return variable.current(models.VariableOption(selected=True, text=["All"], value=everything))


def console() -> dashboards.TextBoxVariable:
    """Where the console is, for links to it."""
    return dashboards.TextBoxVariable("console").label("Console").default_value("http://127.0.0.1:9180")


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboards.ThresholdsConfig:
    return (
        dashboards.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _words(words: Sequence[tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        options={
            str(value): models.ValueMappingResult(text=word, color=color, index=value)
            for value, (word, color) in enumerate(words)
        }
    )
