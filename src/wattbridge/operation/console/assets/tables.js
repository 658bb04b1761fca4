// Transactions, problems, routes and traces.

import { ask, get, part, poll, post, query } from "./api.js";
import { dialog, h, icon, show, toast } from "./dom.js";
import { act, card, chip, empty, facts, standing, table, trouble } from "./parts.js";
import { Rows } from "./rows.js";
import { ago, bytes, count, moment, number, REASONS } from "./words.js";

// A page that asks the same again every few seconds and draws the answer.
function asking(where, name, seconds, ask_, draw, more = {}) {
  const element = h("div.page", { class: name }, h("p.empty", "Asking the gateway …"));
  let answer = null;
  let failed = null;
  const page = {
    element,
    async read() {
      try {
        answer = await ask_(where);
        failed = null;
      } catch (problem) {
        failed = problem;
      }
      page.draw();
    },
    draw() {
      show(element, failed ? trouble(failed) : null, answer ? draw(answer, page) : null);
    },
    update(there) {
      Object.assign(where, there);
      watch.now();
    },
    leave: () => watch.stop(),
    ...more,
  };
  const watch = poll(() => page.read(), seconds);
  page.now = watch.now;
  return page;
}

// --- Transactions

const TRANSACTIONS = [["state", "State"], ["charger", "Charge point"], ["number", "Number here"], ["remote", "At its central system"], ["connector", "Connector"], ["tag", "idTag"], ["from", "Meter start"], ["started", "Started (UTC)"], ["stopped", "Stopped (UTC)"]];

export function transactions(where) {
  let asked = null;
  let cursor = null;
  let loading = false;
  let turn = 0;
  const list = new Rows({
    label: "Transactions", kind: "transactions", columns: TRANSACTIONS, key: (row) => `${row.charger}/${row.number}`,
    draw: (row) => [
      chip(row.state === "open" ? "open" : row.state, row.state),
      h("a", { href: `/chargers/${part(row.charger)}`, tabindex: "-1" }, row.charger), h("span.figure", String(row.number)),
      row.remote_id ?? (row.provisional ? h("span.strong", "not given yet") : "–"), row.connector_id, row.id_tag, row.meter_start === null || row.meter_start === undefined ? "–" : `${number(row.meter_start)} Wh`,
      moment(row.started), row.stopped ? moment(row.stopped) : "–"],
    onOpen: (row) => where.go(`/transactions/${part(row.charger)}/${row.number}${query(asked)}`),
    onEnd: () => more(),
  });
  const bar = h("div.status");
  const said = h("div.said");
  const detail = h("div.detail.short");
  const input = h("input", { type: "search", "aria-label": "Charge point", placeholder: "identity of a charge point", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const form = h("form.filter", { role: "search" }, input, h("button", "Filter"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    where.go(`/transactions${query({ ...asked, charger: input.value.trim() })}`);
  });
  const element = h("div.page.listed", h("h1.visually-hidden", "Transactions"), h("div.toolbar", form, bar), said, list.element, detail);

  async function more(first = false) {
    if (!first && (loading || cursor === null)) return;
    const mine = first ? ++turn : turn;
    loading = true;
    try {
      const answer = await get(`/transactions${query({ ...asked, limit: 500, cursor: first ? null : cursor })}`);
      if (mine !== turn) return;
      cursor = answer.cursor ?? null;
      list.set(first ? answer.transactions : list.items.concat(answer.transactions));
      said.replaceChildren();
    } catch (problem) {
      if (mine === turn) said.replaceChildren(trouble(problem));
    }
    if (mine === turn) loading = false;
    told();
  }

  function told() {
    show(bar, h("span.quick", { role: "group", "aria-label": "State" }, ["", "open", "stopped", "refused"].map((state) => h("button.quiet", { "aria-pressed": String((asked?.state ?? "") === state), onclick: () => where.go(`/transactions${query({ ...asked, state })}`) }, state || "all"))),
      h("span.muted", `${count(list.items.length, "transaction")}${cursor ? " read, more below" : ""}`));
  }

  async function open(charger, id) {
    element.classList.toggle("opened", Boolean(charger));
    list.mark(charger ? `${charger}/${id}` : null);
    if (!charger) {
      detail.replaceChildren();
      return;
    }
    try {
      const one = await get(`/transactions/${part(charger)}/${part(id)}`);
      detail.replaceChildren(h("div.head", h("h2", `Transaction ${one.number}`), chip(one.state), h("a.who", { href: `/chargers/${part(charger)}` }, charger),
        h("span.buttons", h("a.button", { href: `/messages${query({ filter: `charger:${charger} text:"${one.number}"` })}` }, "Its messages"), h("button.quiet", { onclick: () => where.go(`/transactions${query(asked)}`), "aria-label": "Close" }, "✕"))),
      facts([["Number at the charge point", String(one.number)], ["Number at the central system", one.remote_id ?? "not given yet"], ["Central system", one.upstream ?? "the one it belongs to"], ["Who gave the number", one.provisional ? "the gateway, while the central system was away" : "the central system"], ["Connector", one.connector_id], ["idTag", one.id_tag], ["Meter start", one.meter_start === null ? null : `${number(one.meter_start)} Wh`], ["Started", moment(one.started)], ["Stopped", one.stopped ? moment(one.stopped) : null]]));
    } catch (problem) {
      detail.replaceChildren(trouble(problem));
    }
  }

  function update(there) {
    Object.assign(where, there);
    const wanted = { charger: there.query.get("charger") ?? "", state: there.query.get("state") ?? "" };
    if (JSON.stringify(wanted) !== JSON.stringify(asked)) {
      asked = wanted;
      if (document.activeElement !== input) input.value = wanted.charger;
      list.set([]);
      more(true);
    }
    const place = there.place.slice(1);
    open(place.length > 1 ? place.slice(0, -1).join("/") : null, place.at(-1));
  }

  update(where);
  const watch = poll(async () => list.items.length <= 500 && !loading && (await more(true)), 5);
  return { element, update, rows: list, filter: input, escape: () => where.go(`/transactions${query(asked)}`), leave: () => { turn += 1; watch.stop(); } };
}

// --- Problems

const MOST_PROBLEMS = 200; // drawn at a time

export function problems(where) {
  return asking(where, "problems", 5, () => get("/problems"), ({ problems: list }) => [
    h("h1", "Problems"),
    list.length ? h("p.muted", `${count(list.length, "cause")}; the one that was seen last comes first, what has passed comes last.`) : h("p.fine", h("span.mark", { "aria-hidden": "true" }, "✓"), "None has been seen."),
    h("ul.problems", list.slice(0, MOST_PROBLEMS).map((one) => h("li.card", { "data-key": [one.kind, one.charger, one.upstream, one.source, one.reason].join("-") },
      h("header", one.passed ? h("span.mark.good", { "aria-hidden": "true" }, "✓") : h("span.mark.bad", { "aria-hidden": "true" }, "✖"), h("h2", one.text), one.passed ? h("span.chip.quiet", `passed ${ago(one.passed)}`) : null),
      one.fix ? h("p.fix", h("strong", "What to do: "), one.fix) : null,
      one.said ? h("p.said-last", h("code", one.said)) : null,
      h("p.muted", one.charger ? [h("a", { href: `/chargers/${part(one.charger)}` }, one.charger), " · "] : one.chargers > 1 ? `${count(one.chargers, "charge point")} · ` : null,
        one.reason ? h("span", { title: REASONS[one.reason] ?? "" }, one.reason.replaceAll("_", " "), " · ") : null,
        [one.upstream ? `central system ${one.upstream}` : null, one.source ? `from ${one.source}` : null, one.listener ? `listener ${one.listener}` : null].filter(Boolean).map((text) => `${text} · `).join(""),
        `${count(one.count, "time")}, first ${ago(one.first)}, last ${ago(one.last)}`),
      h("div.actions",
        one.link ? h("a.button", { href: one.link }, one.link.startsWith("/") ? "Look at it" : "Read more") : null,
        one.guide ? h("span.muted", "guide: ", h("code", one.guide)) : null,
        one.charger ? h("a.button", { href: `/messages${query({ filter: `charger:${one.charger}${one.reason ? ` status:${one.reason}` : ""}` })}` }, "Its messages") : null)))),
    list.length > MOST_PROBLEMS ? h("p.muted", `and ${count(list.length - MOST_PROBLEMS, "more cause")}, which the command "wattbridge problems" lists too`) : null,
  ]);
}

// --- Routes

export function routes(where) {
  const names = ["charger", "vendor", "model", "firmware", "source", "listener"];
  const labels = { charger: "Identity", vendor: "Vendor", model: "Model", firmware: "Firmware", source: "Address", listener: "Listener" };
  const result = h("div", { "data-own": true, "data-key": "result", role: "status" });
  const inputs = Object.fromEntries(names.map((name) => [name, h("input", { id: `route-${name}`, name, autocomplete: "off", autocapitalize: "off", spellcheck: "false", required: name === "charger" })]));
  const form = h("form.test", { "data-own": true, "data-key": "test" }, names.map((name) => h("div", h("label", { for: `route-${name}` }, labels[name]), inputs[name])), h("button.main", "Which route?"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    where.go(`/routes${query(Object.fromEntries(names.map((name) => [name, inputs[name].value.trim()])))}`);
  });
  let tried = null;

  async function test() {
    const asked = Object.fromEntries(names.map((name) => [name, where.query.get(name) ?? ""]).filter(([, value]) => value));
    if (JSON.stringify(asked) === tried) return;
    tried = JSON.stringify(asked);
    for (const name of names) inputs[name].value = asked[name] ?? "";
    if (!asked.charger) {
      result.replaceChildren();
      return;
    }
    try {
      const answer = await post("/routes/test", asked);
      show(result,
        h("p.sentence.good", h("strong", answer.route), answer.upstream ? ` → ${answer.upstream}` : " turns it away", answer.known_as && answer.known_as !== asked.charger ? `, known there as ${answer.known_as}` : "", answer.profile ? `, profile ${answer.profile}` : ""),
        answer.let_in === false ? h("p.sentence.bad", "But it is refused: it is not listed under chargers, and gateway.unknown is refuse.") : null,
        answer.passed_over?.length ? h("ol.passed", answer.passed_over.map((one) => h("li", h("strong", one.name), ": ", one.why_not))) : h("p.muted", "It is the first route; none was passed over."));
    } catch (problem) {
      result.replaceChildren(trouble(problem));
    }
  }

  const page = asking(where, "routes", 10, async () => {
    const [told, listeners, upstreams] = await Promise.all([get("/routes"), get("/listeners"), get("/upstreams")]);
    return { ...told, ...listeners, ...upstreams };
  }, (told) => [
    h("h1", "Routes"),
    card("Which route, and why?", form, result),
    card(["Routes", h("span.muted", "the first that matches")], table("Routes", ["No.", "Route", "Central system", "If that is away", "Copies to", "Charge points there"], (told.routes ?? []).map((one, place) => [
      String(place + 1), h("strong", one.route), one.upstream ?? h("span.strong", `turned away${one.reject?.boot_status ? ` (${one.reject.boot_status})` : ""}`), one.fallback ?? "–", one.mirrors?.join(", ") || "–", one.sessions === undefined ? "–" : number(one.sessions)]))),
    card("Listeners", table("Listeners", ["Listener", "SOAP is posted to", "WebSockets are opened at", "Versions", "Connections"], told.listeners.map((one) => [h("strong", one.listener), one.soap ? h("code", one.soap) : "–", one.websocket ? h("code", one.websocket) : "–", one.versions.join(", "), `${number(one.connections)} of at most ${number(one.most_connections)}`]))),
    card("Central systems", table("Central systems", ["Name", "Address", "State", "Routes", "Sessions", "Service"], told.upstreams.map((one) => [h("strong", one.upstream), h("code", one.url), standing(one), one.routes.join(", ") || "–", `${number(one.sessions.open)} open, ${number(one.sessions.connecting + one.sessions.backoff)} ${one.state === "ready" ? "trying" : "held"}`,
      h("div.actions", Object.entries(SERVICE).filter(([state, { after }]) => after.includes(one.state)).map(([state, { name }]) => act(`${name} …`, "operate", () => inService(one.upstream, state, page.now), { "aria-label": `${name}: ${one.upstream}` })))]))),
  ], { filter: inputs.charger, escape: () => where.go("/routes") });
  const update = page.update;
  page.update = (there) => {
    update(there);
    test();
  };
  test();
  return page;
}

// What may be said of a central system, of one that is in which state, and what it comes to.
const SERVICE = {
  drain: { name: "Drain", after: ["ready"], warn: true, text: "What is connected goes on, and nothing is connected anew: who loses its connection goes to the fallback of its route, or finds the central system away." },
  maint: { name: "Take out of service", after: ["ready", "drain"], warn: true, text: "What is in flight ends, then all connections are closed, and nothing goes there. What charge points say goes to the fallback of their route, or is kept and delivered later." },
  ready: { name: "Back in service", after: ["drain", "maint"], text: "Charge points are connected to it again, and what was kept for it is delivered." },
};

function inService(upstream, state, done) {
  const { name, warn, text } = SERVICE[state];
  const said = h("div", { role: "status" });
  async function say(close) {
    try {
      await ask("PUT", `/upstreams/${part(upstream)}/state`, { state });
      close();
      done();
    } catch (problem) {
      said.replaceChildren(trouble(problem));
    }
  }
  dialog(`${name}: ${upstream}`, [
    h("p.sentence", { class: warn ? "warn" : "good" }, text),
    h("p.muted", state === "ready" ? "It stands in the audit log." : "It holds until somebody puts it back in service, or the gateway is restarted, and stands in the audit log."), said,
  ], { actions: (close) => [h("button.main", { onclick: () => say(close) }, name), h("button", { onclick: close }, "Cancel")] });
}

// --- Traces

export function traces(where) {
  const name = h("input", { id: "trace-name", placeholder: "what for", autocomplete: "off" });
  const filter = h("input", { id: "trace-filter", placeholder: "charger:BER-*", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const time = h("select", { id: "trace-for" }, [["1m", "1 minute"], ["10m", "10 minutes"], ["1h", "1 hour"], ["24h", "1 day"]].map(([value, text]) => h("option", { value, selected: value === "10m" }, text)));
  const said = h("div", { role: "status" });
  const form = h("form.test", h("div", h("label", { for: "trace-name" }, "Name"), name), h("div.wide", h("label", { for: "trace-filter" }, "Filter"), filter), h("div", h("label", { for: "trace-for" }, "For"), time), act("Start a trace", "operate", begin, { type: "submit", class: "main" }));
  const own = h("div", { "data-own": true, "data-key": "trace-form" }, form, said);

  async function begin(event) {
    event.preventDefault();
    try {
      const made = await post("/traces", { name: name.value.trim() || filter.value.trim() || "everything", filter: filter.value.trim(), for: time.value });
      said.replaceChildren();
      toast("The trace runs.");
      where.go(`/traces/${made.id}`);
      page.now();
    } catch (problem) {
      said.replaceChildren(trouble(problem));
    }
  }
  form.addEventListener("submit", (event) => event.preventDefault());

  async function end(one, method, what) {
    try {
      await ask(method, `/traces/${part(String(one.id))}${what}`);
      page.now();
    } catch (problem) {
      toast(problem.message, "bad");
    }
  }

  const page = asking(where, "traces", 2, () => get("/traces"), ({ traces: list }) => [
    h("h1", "Traces"),
    card("A new trace", own, h("p.muted", "It keeps what matches from now on, blotted out as the message history is, until the time is over or it is full.")),
    list.length ? h("ul.traces", list.map((one) => h("li.card", { "data-key": String(one.id), class: where.place[1] === String(one.id) ? "chosen" : "" },
      h("header", h("h2", one.name || one.id), chip(one.state), h("span.muted", one.filter || "everything")),
      facts([["Began", moment(one.began)], [one.state === "running" ? "Ends" : "Ended", moment(one.ended ?? one.ends)], ["Because", one.reason], ["Messages", `${number(one.records)}${one.limit_records ? ` of at most ${number(one.limit_records)}` : ""}`], ["Size", `${bytes(one.bytes)}${one.limit_bytes ? ` of at most ${bytes(one.limit_bytes)}` : ""}`]]),
      h("div.actions",
        [["oot", "Open OCPP Trace"], ["ndjson", "JSON lines"], ["text", "Text"]].map(([format, text]) => h("a.button", { href: `/api/v1/traces/${part(String(one.id))}/download?format=${format}`, download: true }, icon("down"), ` ${text}`)),
        one.state === "running" ? act("Stop", "operate", () => end(one, "POST", "/stop")) : null, act("Delete", "operate", () => end(one, "DELETE", "")))))) : empty("None. One can also be started on the page of a charge point."),
  ], { filter, escape: () => where.go("/traces") });
  return page;
}
