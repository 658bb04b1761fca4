// Every charge point, however many there are: the rows come a thousand at a time, while one looks already.

import { get, part, poll, query } from "./api.js";
import { h, icon, show } from "./dom.js";
import { chip, trouble } from "./parts.js";
import { Rows } from "./rows.js";
import { ago, count, dialect, number } from "./words.js";

const PAGE = 1000;
const MOST = 50000;
const REFRESH = 10; // seconds; of a long list only when somebody asks

const COLUMNS = [
  ["state", "State"], ["charger", "Identity"], ["dialect", "Speaks"], ["make", "Vendor, model"], ["firmware", "Firmware"],
  ["upstream", "Central system"], ["route", "Route"], ["heard", "Last message"], ["losses", "Lost"],
];
const STATES = ["", "connected", "stale", "offline", "unknown"];

export function chargers(where) {
  let asked = null;
  let turn = 0;
  let done = false;
  let failed = null;
  let typing = null;
  const list = new Rows({
    label: "Charge points", kind: "chargers", columns: COLUMNS, key: (row) => row.charger, draw: line,
    onOpen: (row) => where.go(`/chargers/${part(row.charger)}`),
  });
  const input = h("input", { type: "search", id: "q", "aria-label": "Find charge points", placeholder: "identity, vendor, model …", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const bar = h("div.status");
  const form = h("form.filter", { role: "search" }, input);
  form.addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => where.go(address({ q: input.value.trim() }), { replace: true }), 250);
  });
  const said = h("div.said");
  const element = h("div.page.listed", h("h1.visually-hidden", "Charge points"), h("div.toolbar", form, bar), said, list.element);

  const address = (change) => `/chargers${query({ ...asked, ...change })}`;

  function line(row) {
    return [
      chip(row.state ?? (row.session ? "connected" : "offline")),
      h("a", { href: `/chargers/${part(row.charger)}`, tabindex: "-1" }, row.charger),
      row.charger_dialect ? h("span.leg", { class: row.charger_dialect.split(" ")[0] }, dialect(row.charger_dialect)) : h("span.muted", "not heard yet"),
      [row.vendor, row.model].filter(Boolean).join(" ") || "–",
      row.firmware ?? "–",
      row.upstream ?? "–",
      [row.route ?? "–", row.profile ? h("span.muted", ` · ${row.profile}`) : null],
      h("span", { title: row.last_message ?? row.heard ?? "" }, ago(row.last_message ?? row.heard)),
      row.losses ? h("span.lost", icon("lost"), " ", number(row.losses)) : "",
    ];
  }

  async function read({ quiet = false } = {}) {
    const mine = ++turn;
    failed = null;
    done = false;
    let rows = [];
    let cursor = null;
    try {
      do {
        const answer = await get(`/chargers${query({ ...asked, limit: PAGE, cursor })}`);
        if (mine !== turn) return;
        rows = rows.concat(answer.chargers);
        cursor = answer.cursor ?? null;
        if (!quiet || cursor === null) list.set(rows);
        told();
      } while (cursor !== null && rows.length < MOST);
      done = true;
    } catch (problem) {
      if (mine !== turn) return;
      failed = problem;
    }
    told();
  }

  function told() {
    said.replaceChildren(...(failed ? [trouble(failed)] : []));
    show(bar,
      h("span.quick", { role: "group", "aria-label": "State" }, STATES.map((state) => h("button.quiet", { "aria-pressed": String((asked?.state ?? "") === state), onclick: () => where.go(address({ state })) }, state || "all"))),
      h("span.muted", done ? count(list.items.length, "charge point") : `${number(list.items.length)} read, more coming …`),
      list.items.length > PAGE ? h("button.quiet", { onclick: () => read({ quiet: true }) }, "↻ Refresh") : null,
      done && !list.items.length ? h("span.muted", asked?.q || asked?.state ? "None matches." : "None has been heard, and none is listed.") : null);
  }

  function update(there) {
    Object.assign(where, there);
    const wanted = { q: there.query.get("q") ?? "", state: there.query.get("state") ?? "" };
    if (JSON.stringify(wanted) === JSON.stringify(asked)) return;
    asked = wanted;
    if (document.activeElement !== input) input.value = wanted.q;
    list.set([]);
    list.element.scrollTop = 0;
    read();
  }

  update(where);
  const watch = poll(async () => {
    if (done && list.items.length <= PAGE) await read({ quiet: true });
    else list.redraw();
  }, REFRESH);
  return {
    element, update, rows: list, filter: input,
    escape: () => where.go("/chargers"),
    leave() {
      turn += 1;
      clearTimeout(typing);
      watch.stop();
    },
  };
}
