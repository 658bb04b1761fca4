// What one wants to know first: is everything there, does it flow, and what needs somebody.

import { part, post } from "./api.js";
import { copy, dialog, h, show, toast } from "./dom.js";
import { act, card, copyable, empty, linked, standing } from "./parts.js";
import { bars, curve, stack } from "./plots.js";
import { ago, count, dialect, number, REASONS, span } from "./words.js";

export function overview(where) {
  const element = h("div.page.overview", h("h1.visually-hidden", "Overview"), h("p.empty", "Asking the gateway …"));
  const page = {
    element,
    told(answer) {
      show(element, h("h1.visually-hidden", "Overview"), drawn(answer, where));
    },
  };
  return page;
}

function drawn(told, where) {
  return [
    told.ready === false && told.not_ready_because?.length ? h("div.trouble", { role: "alert" }, `Not ready: ${told.not_ready_because.join("; ")}`) : null,
    h("div.tiles", fleet(told), traffic(told), transactions(told), queue(told)),
    attention(told, where),
    h("div.cards.four",
      card("Charge points", dialects(told)),
      card("Central systems", upstreams(told)),
      card("Failures in the last hour", failures(told)),
      card("Certificates", certificates(told))),
  ];
}

const sum = (object, name) => Object.values(object ?? {}).reduce((before, one) => before + (one[name] ?? 0), 0);

function tile(label, value, below, href, kind = "") {
  return h("a.tile", { href, class: kind, "data-key": `tile-${label}` }, h("span.label", label), h("span.value", value), below);
}

function fleet(told) {
  const connected = sum(told.chargers, "connected");
  const stale = sum(told.chargers, "stale");
  const offline = told.offline ?? 0;
  const parts = [
    { value: connected, kind: "good", label: "connected" },
    { value: stale, kind: "warn", label: "stale" },
    { value: offline, kind: "note", label: "offline" },
  ];
  return tile("Charge points connected", h("span", number(connected), h("small", ` of ${number(connected + stale + offline)}`)),
    [stack(parts, { label: `${connected} connected, ${stale} stale, ${offline} offline` }),
      h("span.legend", parts.map((one) => h("span", h("i", { class: one.kind }), `${number(one.value)} ${one.label}`)))],
    "/chargers");
}

function traffic(told) {
  const spark = told.calls?.spark ?? [];
  const up = told.calls?.per_second?.to_csms ?? 0;
  const down = told.calls?.per_second?.to_charger ?? 0;
  const total = up + down;
  return tile("Calls per second", total < 10 ? total.toFixed(1) : number(Math.round(total)),
    [curve(spark, { label: `Calls in the last ten minutes, at most ${number(Math.max(0, ...spark))} in 10 s` }),
      h("span.legend", h("span", `▶ ${up.toFixed(1)} to central systems`), h("span", `◀ ${down.toFixed(1)} to charge points`))],
    "/messages");
}

function transactions(told) {
  return tile("Open transactions", number(told.open_transactions ?? 0), h("span.legend", h("span", "charging now, or not yet stopped")), "/transactions?state=open");
}

function queue(told) {
  const { waiting = 0, parked = 0, oldest_seconds: oldest = null } = told.queue ?? {};
  return tile("Waiting for central systems", number(waiting),
    h("span.legend", waiting ? h("span", `the oldest for ${span(oldest)}`) : h("span", "everything is delivered"), parked ? h("span.strong", `${number(parked)} parked`) : null),
    "/problems", parked ? "bad" : waiting && oldest > 900 ? "warn" : "");
}

function attention(told, where) {
  const rows = told.attention ?? [];
  const unknown = told.unknown ?? [];
  const failed = Object.values(told.calls?.failures ?? {}).reduce((before, one) => before + one, 0);
  if (!rows.length && !unknown.length && failed) {
    return card("Needs attention", h("p", "Nothing that somebody has to do now. ",
      h("a", { href: `/messages?filter=${encodeURIComponent("status:failed since:1h")}` }, `${count(failed, "call")} failed in the last hour`), "."));
  }
  if (!rows.length && !unknown.length) return card("Needs attention", h("p.fine", h("span.mark", { "aria-hidden": "true" }, "✓"), "Nothing. Everything that was asked was answered."));
  const causes = rows.filter((one) => !unknownOf(one, unknown));
  return card(["Needs attention", h("span.badge", String(causes.length + unknown.length))],
    h("ul.attention",
      causes.map((one) => h("li", { "data-key": `attention-${one.kind}-${one.text}` },
        h("div", linked(one.link, h("strong", one.text))), one.fix ? h("div.muted", one.fix) : null)),
      unknown.slice(0, MOST_UNKNOWN).map((one) => h("li", { "data-key": `unknown-${one.charger}` },
        h("div", h("strong", { title: one.charger }, shortened(one.charger)), " is not known and was refused ", h("span.muted", [count(one.count, "time"), one.last ? `, last ${ago(one.last)}` : "", one.source ? `, from ${one.source}` : ""])),
        h("div.do", act("Allow it …", "operate", () => allow(one.charger, where)), one.line ? h("button.quiet", { onclick: () => copy(one.line, "The line for the file is copied") }, "Copy its line") : null))),
      unknown.length > MOST_UNKNOWN ? h("li", { "data-key": "unknown-more" }, h("a", { href: "/chargers?state=unknown" }, `and ${number(unknown.length - MOST_UNKNOWN)}${unknown.length >= MOST_TOLD ? " or more" : ""} others that are not known`)) : null));
}

const MOST_UNKNOWN = 3; // here; all of them are on a page of their own
const MOST_TOLD = 50; // by the gateway

const shortened = (identity) => (identity.length > 40 ? `${identity.slice(0, 39)}…` : identity);

const unknownOf = (one, unknown) => /unknown/.test(one.kind) && unknown.length > 0;

// What has to stand in the file, so that a charge point is let in.
export async function allow(identity, where) {
  let answer;
  try {
    answer = await post(`/chargers/${part(identity)}/allow`);
  } catch (problem) {
    toast(problem.message, "bad");
    return;
  }
  const lines = answer.lines ?? answer.yaml ?? answer.line ?? "";
  const text = Array.isArray(lines) ? lines.join("\n") : lines;
  const shown = dialog(`Allow ${identity}`, [
    h("p", "This lists the charge point. Paste it into the configuration file of the gateway", answer.file ? [", ", h("code", answer.file), ","] : "", " and save it: the gateway reads the file again by itself."),
    copyable(text, "Copied: paste it into the file"),
    h("p.muted", "No file is written from here: what is allowed stays where it can be reviewed."),
  ], {
    actions: (close) => [h("button.main", { onclick: () => { close(); where.go("/configuration"); } }, "To check and reload"), h("button", { onclick: close }, "Close")],
  });
  return shown;
}

function dialects(told) {
  const rows = Object.entries(told.chargers ?? {});
  if (!rows.length) return empty("None has been heard yet. Point one at a listener, and it appears here, as known or as not known.");
  const most = Math.max(1, ...rows.map(([, one]) => (one.connected ?? 0) + (one.stale ?? 0)));
  return h("ul.bars.stacks", rows.map(([name, one]) => h("li",
    h("a.name", { href: `/chargers?q=${encodeURIComponent(spoken(name).toLowerCase())}` }, spoken(name)),
    stack([{ value: one.connected ?? 0, kind: "good", label: "connected" }, { value: one.stale ?? 0, kind: "warn", label: "stale" }],
      { label: `${one.connected ?? 0} connected, ${one.stale ?? 0} stale`, whole: most }),
    h("span.figure", number((one.connected ?? 0) + (one.stale ?? 0))))));
}

// "ocpp1.5-soap" → "SOAP 1.5", as charge points are listed
const spoken = (name) => {
  const read = /^ocpp([\d.]+)-(soap|json)$/.exec(name);
  return read ? dialect(`${read[2]} ${read[1]}`) : name;
};

function upstreams(told) {
  const rows = told.upstreams ?? [];
  if (!rows.length) return empty("None is configured.");
  return h("ul.lines", rows.map((one) => {
    const { open = 0, connecting = 0, backoff = 0 } = one.sessions ?? {};
    return h("li", { "data-key": `upstream-${one.upstream}` },
      h("strong.main", one.upstream), h("span.leg", { class: spoken(one.protocol).slice(0, 4).toLowerCase() }, spoken(one.protocol)),
      standing(one),
      stack([{ value: open, kind: "good", label: "open" }, { value: connecting, kind: "warn", label: "connecting" }, { value: backoff, kind: "bad", label: "waiting to try again" }],
        { label: `${open} sessions open, ${connecting} connecting, ${backoff} waiting to try again` }),
      h("span.muted", one.up === null ? "no charge point needs it now" : `${number(open)} of ${count(open + connecting + backoff, "session")} open${one.since ? `, ${one.up ? "up" : "down"} for ${span((Date.now() - new Date(one.since)) / 1000)}` : ""}`));
  }));
}

function failures(told) {
  const rows = Object.entries(told.calls?.failures ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  if (!rows.length) return h("p.fine", h("span.mark", { "aria-hidden": "true" }, "✓"), "None.");
  return bars(rows.map(([reason, n]) => ({
    label: reason.replaceAll("_", " "), value: n, kind: "bad", title: REASONS[reason] ?? reason,
    href: `/messages?filter=${encodeURIComponent(`status:${reason} since:1h`)}`,
  })));
}

function certificates(told) {
  const rows = told.certificates ?? [];
  if (!rows.length) return empty("None is used: nothing here speaks TLS with a certificate of its own.");
  return bars(rows.map((one) => ({
    label: one.name, value: Math.max(0, Math.min(90, one.days_left)), title: `until ${one.not_after}`,
    kind: one.days_left < 3 ? "bad" : one.days_left < 14 ? "warn" : "good",
    text: one.days_left < 0 ? "expired" : `${number(Math.floor(one.days_left))} d`,
  })), { most: 90 });
}
