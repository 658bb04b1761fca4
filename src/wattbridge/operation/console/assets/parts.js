// Parts that pages are made of.

import { get, session } from "./api.js";
import { copy, h, icon, toast } from "./dom.js";
import { count, STATES } from "./words.js";

// A state: mark, word and colour together, for nobody should need all three.
export function chip(state, text = state) {
  const [mark, kind] = STATES[state] ?? ["●", "note"];
  return h("span.chip", { class: kind }, h("span.mark", { "aria-hidden": "true" }, mark), text);
}

// How a central system stands: what an operator says of it, or else whether it is reached.
export function standing(one) {
  if (one.state === "maint") return chip("maint", "in maintenance");
  if (one.state === "drain") return chip("drain", "being drained");
  return one.up === null ? chip("waiting", "idle") : chip(one.up ? "up" : "down");
}

// A button that only some may press. Others see it, and why it does nothing.
export function act(text, role, onclick, attributes = {}) {
  if (session.may(role)) return h("button", { ...attributes, onclick }, text);
  const why = `needs the role ${role}; you are signed in with ${session.me?.role ?? "none"}`;
  return h("button.denied", { ...attributes, "aria-disabled": "true", title: why, onclick: () => toast(why, "bad") },
    text, h("span.visually-hidden", ` (${why})`));
}

export function card(title, ...content) {
  const [heading, aside] = Array.isArray(title) ? title : [title, null];
  return h("section.card", { "data-key": `card-${heading}` }, h("header", h("h2", heading), aside), ...content);
}

// [[name, value], …] without those that have none.
export function facts(pairs, kind = "") {
  return h("dl.facts", { class: kind }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
    .map(([name, value]) => h("div", h("dt", name), h("dd", value))));
}

export function empty(text, ...more) {
  return h("p.empty", text, ...more);
}

// A table that becomes a list of cards where there is no room: *columns* are headings, *rows* lists of cells.
export function table(label, columns, rows, { none = "None." } = {}) {
  if (!rows.length) return empty(none);
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": label },
    h("table.grid", h("thead", h("tr", columns.map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", rows.map((cells) => h("tr", cells.map((cell, place) => h("td", { "data-label": columns[place] }, cell)))))));
}

export function copyable(text, what = "Copied") {
  return h("div.copyable", h("pre", { tabindex: "0" }, text), h("button", { onclick: () => copy(text, what) }, "Copy"));
}

// What went wrong, in full.
export function trouble(problem, before = "") {
  return h("div.trouble", { role: "alert" }, before, problem.message);
}

// Errors of a configuration: [{file, line, column, path, message, severity}].
export function findings(list) {
  return h("ul.findings", list.map((one) => h("li", { class: one.severity === "warning" ? "warn" : "bad" },
    h("code", [one.file, one.line, one.column].filter((each) => each !== null && each !== undefined && each !== "").join(":")),
    one.path ? h("strong", one.path) : null, h("span", one.message))));
}

// What the keys or words on the left mean.
export function words(label, rows) {
  return h("dl.words", { "aria-label": label }, rows.map(([key, text]) => h("div", h("dt", h("kbd", key)), h("dd", text))));
}

// The filter language, as the gateway tells it.
export function filterWords() {
  const place = h("div", h("p.muted", "Asking the gateway …"));
  get("/messages/fields").then(({ fields }) => place.replaceChildren(words("Words of the filter", [
    ...Object.entries(fields).map(([name, text]) => [`${name}:`, text]),
    ['"a text"', "without a field: it stands anywhere in the messages"],
    ["and or not ( )", "between them; where nothing stands between two, both must be so"],
  ])), (problem) => place.replaceChildren(trouble(problem)));
  return place;
}

// What is meant to be done next, as a link inside the console or as words.
export function linked(link, text) {
  return link?.startsWith("/") ? h("a", { href: link }, text) : text;
}

// What each side speaks: "SOAP 1.5 → JSON 1.6".
export function legs(row) {
  const side = (transport, version) => h("span.leg", { class: transport }, [transport?.toUpperCase() ?? "–", version ? ` ${version}` : ""]);
  const same = row.charger_transport === row.csms_transport && row.charger_version === row.csms_version;
  const arrow = row.direction === "to_charger" ? "←" : "→";
  return h("span.legs-of", side(row.charger_transport, row.charger_version), h("span.arrow", same ? "=" : arrow),
    row.csms_transport ? side(row.csms_transport, row.csms_version) : h("span.leg", "gateway"));
}

// What was done to the values of an exchange, as marks.
export function marks(row) {
  return [
    row.changes ? h("span.changed", { title: `${count(row.changes, "value")} changed` }, icon("changed"), h("span.visually-hidden", "changed "), String(row.changes)) : null,
    row.losses ? h("span.lost", { title: `${count(row.losses, "value")} lost` }, icon("lost"), h("span.visually-hidden", "lost "), String(row.losses)) : null,
  ];
}
