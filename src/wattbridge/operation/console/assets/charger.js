// One charge point: what it is, how it is reached, what it does, what it costs to translate for it.

import { ask, get, part, poll, post, query } from "./api.js";
import { dialog, h, icon, show, toast } from "./dom.js";
import { allow } from "./overview.js";
import { act, card, chip, copyable, empty, facts, marks, table, trouble } from "./parts.js";
import { ago, ARROWS, clock, count, dialect, DIRECTIONS, moment, ms, number, outcome } from "./words.js";

const EVERY = 3; // seconds

export function charger(where) {
  const identity = where.place.slice(1).join("/");
  let told = null;
  let rows = [];
  let failed = null;
  let tried = null; // what the self-test of the callback said
  let trying = false;
  const element = h("div.page.charger", h("p.empty", "Asking the gateway …"));

  async function read() {
    try {
      [told, { messages: rows }] = await Promise.all([
        get(`/chargers/${part(identity)}`),
        get(`/messages${query({ charger: identity, limit: 12 })}`).catch(() => ({ messages: rows })),
      ]);
      failed = null;
    } catch (problem) {
      failed = problem;
    }
    draw();
  }

  function draw() {
    const state = told?.state ?? (told?.session ? "connected" : told ? "offline" : "unknown");
    show(element,
      h("div.head", h("a.back", { href: "/chargers" }, "← Charge points"), h("h1", identity), told || failed?.status === 404 ? chip(state) : null,
        h("span.buttons",
          h("a.button", { href: `/messages${query({ filter: `charger:${/[\s"()*]/.test(identity) ? `"${identity}"` : identity}` })}` }, "Live messages"),
          act("Send a call …", "operate", () => sendCall(identity)),
          act("Trace for 10 min", "operate", capture),
          told?.session ? act("Disconnect …", "operate", () => letGo(false)) : null,
          state === "offline" && told && !told.listed ? act("Forget …", "operate", () => letGo(true)) : null)),
      failed ? [trouble(failed), failed.status === 404 ? notKnown() : null] : null,
      told ? h("div.cards", known()) : null);
  }

  function notKnown() {
    return card("It is not known here", h("p", "No charge point of this identity has a session, is listed, or was heard before. If it is yours and was refused, list it:"), act("Allow it …", "operate", () => allow(identity, where)));
  }

  function known() {
    const report = told.report ?? {};
    const boot = told.boot ?? {};
    return [
      told.state === "unknown" ? notKnown() : null,
      card("What it is", facts([
        ["Vendor", told.vendor], ["Model", told.model], ["Firmware", told.firmware], ["Speaks", dialect(told.charger_dialect)],
        ["Profile", told.profile ?? "none"], ["Route", [told.route ?? "–", " ", h("a", { href: `/routes${query({ charger: identity, vendor: told.vendor, model: told.model, firmware: told.firmware })}` }, "why?")]],
        ["Central system", told.upstream ? `${told.upstream} (${dialect(told.csms_dialect)})` : "–"], ["Known there as", told.known_as && told.known_as !== identity ? told.known_as : null],
        ["Comes from", [told.source, told.listener ? `listener ${told.listener}` : null].filter(Boolean).join(", ")],
        ["Last message", h("span", { title: told.last_message ?? told.heard ?? "" }, ago(told.last_message ?? told.heard))],
        ["Boot", boot.status ? `${boot.status}${boot.interval ? `, heartbeat every ${boot.interval} s` : ""}${boot.when ? `, ${ago(boot.when)}` : ""}` : null],
        ["Serial number", boot.chargePointSerialNumber ?? boot.serial],
      ])),
      callback(),
      card("Connectors", connectors()),
      card("Transactions", transactions()),
      card("Last messages", h("ul.mini", rows.map((row) => {
        const end = outcome(row);
        return h("li", { "data-key": `m${row.number}` }, h("a", { href: `/messages/${row.number}${query({ filter: `charger:${identity}` })}` },
          h("time", { datetime: row.time }, clock(row.time, { milliseconds: false })), h("span", { title: DIRECTIONS[row.direction] }, ARROWS[row.direction]), h("span.main", row.action || "?"), h("span.out", { class: end.kind }, h("span.mark", { "aria-hidden": "true" }, end.mark), end.word), h("span.marks", marks(row)), h("span.figure", `${ms(row.ms)} ms`)));
      })), rows.length ? null : empty("None is kept.")),
      compatibility(report),
      losses(),
    ];
  }

  function callback() {
    const on = told.callback;
    if (!on || /json/.test(told.charger_dialect ?? "")) {
      return card("How it is called", h("p", /json/.test(told.charger_dialect ?? "") ? "Over its own WebSocket: no address is needed." : "No address is known yet."));
    }
    const state = tried ? (tried.reachable ? "works" : "fails") : on.state;
    return card(["How it is called", state ? chip(state) : null],
      facts([["Callback", on.url ? h("code", on.url) : "no usable address"]], "single"),
      on.last_error ? h("p.sentence.bad", on.last_error) : null,
      h("div.actions", act(trying ? "Trying …" : "Test the connection", "operate", test)),
      tried ? h("p.sentence", { role: "status", class: tried.reachable ? "good" : "bad" }, h("span.mark", { "aria-hidden": "true" }, tried.reachable ? "✓ " : "✖ "), tried.reachable ? "Reached: " : "Not reached: ", tried.text) : h("p.muted", "Connects by TCP, and TLS where it is used, and says nothing: no call is made."));
  }

  async function test() {
    trying = true;
    draw();
    try {
      tried = await post(`/chargers/${part(identity)}/callback-test`);
    } catch (problem) {
      tried = { reachable: false, text: problem.message };
    }
    trying = false;
    draw();
  }

  function letGo(forGood) {
    const name = forGood ? "Forget" : "Disconnect";
    const said = h("div", { role: "status" });
    async function say(close) {
      try {
        await (forGood ? ask("DELETE", `/chargers/${part(identity)}`) : post(`/chargers/${part(identity)}/kick`));
        close();
        toast(forGood ? `${identity} is forgotten.` : `${identity} has no connection any more.`);
        if (forGood) where.go("/chargers");
        else read();
      } catch (problem) {
        said.replaceChildren(trouble(problem));
      }
    }
    dialog(`${name} ${identity}`, [
      h("p.sentence.warn", forGood ? "It is gone for good: what it told of itself, its connectors and configuration keys are taken away. Its transactions stay." : "What is on its way ends, then its connections are closed on both sides. It may come back at once; what waits for its central system is delivered all the same."), said,
    ], { actions: (close) => [h("button.main", { onclick: () => say(close) }, name), h("button", { onclick: close }, "Cancel")] });
  }

  function connectors() {
    const list = told.connectors ?? [];
    if (!list.length) return empty("It has not said anything about them yet.");
    return h("ul.connectors", list.map((one) => h("li", { "data-key": `c${one.connector_id}` },
      h("span.id", String(one.connector_id) === "0" ? "whole" : `no. ${one.connector_id}`), chip(one.status),
      one.error_code && one.error_code !== "NoError" ? h("span.strong", one.error_code) : null, h("span.muted", { title: one.when }, ago(one.when)))));
  }

  function transactions() {
    const list = told.open_transactions ?? [];
    return [
      list.length ? h("ul", list.map((one) => h("li.open-one", { "data-key": `t${one.number}` }, chip("open"),
        h("a", { href: `/transactions/${part(identity)}/${one.number}` }, String(one.number)),
        one.remote_id === null ? h("span.strong", "no number at its central system yet") : one.remote_id === one.number ? null : h("span", `there ${one.remote_id}`),
        h("span", `connector ${one.connector_id}`), h("span", `idTag ${one.id_tag}`), one.meter_start ? h("span", `from ${number(one.meter_start)} Wh`) : null, h("span.muted", { title: moment(one.started) }, `since ${ago(one.started).replace(/ ago$/, "")}`)))) : empty("None is open."),
      h("p", h("a", { href: `/transactions${query({ charger: identity })}` }, "All of them")),
    ];
  }

  function compatibility(report) {
    if (report.as_is) return card("Compatibility", h("p.fine", h("span.mark", { "aria-hidden": "true" }, "✓"), "Messages pass as they are."));
    const towards = [["towards_csms", "Of what it sends"], ["towards_charger", "Of what it is sent"]];
    const answered = [["answered_for_charger", "Answered for it"], ["answered_for_csms", "Answered for its central system"]];
    const rows = towards.flatMap(([name, title]) => (report[name] ?? []).map((one) => [title, h("code", one.path), h("span.flag", { class: one.effect }, icon(one.effect === "lost" ? "lost" : "changed"), ` ${one.effect}`), one.said, h("span.muted", one.source)]));
    const here = answered.flatMap(([name, title]) => (report[name] ?? []).map((one) => [title, h("code", one.action), h("span.flag", "answered here"), one.said, h("span.muted", one.source)]));
    const lost = rows.filter(([, , flag]) => flag.classList.contains("lost")).length;
    return h("section.card.wide", { "data-key": "card-compatibility" }, h("header", h("h2", `Compatibility: ${dialect(report.charger_dialect)} with ${dialect(report.csms_dialect)}`)),
      rows.length + here.length
        ? h("details", h("summary", `${count(lost, "field")} cannot be carried, ${count(rows.length - lost, "field")} changed, ${count(here.length, "action")} answered by the gateway`), table("Compatibility", ["Where", "What", "Effect", "How", "Source"], [...rows, ...here]))
        : h("p.fine", h("span.mark", { "aria-hidden": "true" }, "✓"), report.csms_dialect && report.charger_dialect ? "Everything can be carried." : "Known once it has been heard."));
  }

  function losses() {
    const list = Array.isArray(told.losses) ? told.losses : told.report?.lost ?? [];
    if (!list.length) return null;
    return h("section.card.wide", { "data-key": "card-lost" }, h("header", h("h2", "Lost so far")), table("Lost", ["Rule", "Field", "Times", "Last"], list.map((one) => [
      h("strong", one.rule), h("code", one.path), number(one.count), ago(one.last)])));
  }

  async function capture() {
    try {
      const made = await post("/traces", { name: `${identity}`, filter: `charger:${identity}`, for: "10m" });
      toast(`A trace of ${identity} runs for 10 minutes.`);
      where.go(`/traces/${made.id}`);
    } catch (problem) {
      toast(problem.message, "bad");
    }
  }

  const watch = poll(read, EVERY);
  return { element, identity, update() {}, escape: () => where.go("/chargers"), leave: () => watch.stop() };
}

// --- A call of one's own

// What a central system may ask of OCPP 1.6, with a payload to begin with, and what one should know before.
const CALLS = {
  GetConfiguration: [{}],
  TriggerMessage: [{ requestedMessage: "StatusNotification" }],
  ChangeConfiguration: [{ key: "HeartbeatInterval", value: "300" }, "It changes how the charge point works."],
  ChangeAvailability: [{ connectorId: 1, type: "Operative" }, "An Inoperative connector refuses drivers."],
  UnlockConnector: [{ connectorId: 1 }, "A running charge is ended and the cable let go."],
  RemoteStartTransaction: [{ connectorId: 1, idTag: "" }, "Somebody pays for what is charged."],
  RemoteStopTransaction: [{ transactionId: 0 }, "It ends somebody's charge."],
  Reset: [{ type: "Soft" }, "The charge point starts again; running charges may end."],
  ClearCache: [{}],
  GetLocalListVersion: [{}],
  SendLocalList: [{ listVersion: 1, updateType: "Full", localAuthorizationList: [] }, "A Full list replaces the one that is there."],
  ReserveNow: [{ connectorId: 1, expiryDate: "", idTag: "", reservationId: 1 }],
  CancelReservation: [{ reservationId: 1 }],
  SetChargingProfile: [{ connectorId: 1, csChargingProfiles: {} }, "It limits what is charged with."],
  ClearChargingProfile: [{}],
  GetCompositeSchedule: [{ connectorId: 1, duration: 3600 }],
  GetDiagnostics: [{ location: "ftp://" }],
  UpdateFirmware: [{ location: "ftp://", retrieveDate: "" }, "Wrong firmware can make a charge point useless."],
  DataTransfer: [{ vendorId: "" }],
};

export function sendCall(identity, { action = "GetConfiguration", payload = null, told = "" } = {}) {
  const names = Object.keys(CALLS);
  if (!names.includes(action)) names.unshift(action);
  const choice = h("select", { id: "call-action" }, names.map((name) => h("option", { value: name, selected: name === action }, name)));
  const area = h("textarea", { id: "call-payload", rows: 8, spellcheck: "false" });
  const warning = h("p.sentence.warn");
  const result = h("div", { role: "status" });
  const button = h("button.main", { type: "submit" }, "Send");
  let key = crypto.randomUUID?.() ?? String(Math.random());
  const fill = (body) => {
    area.value = JSON.stringify(body, null, 2);
    warning.textContent = [told, CALLS[choice.value]?.[1]].filter(Boolean).join(" ");
    warning.hidden = !warning.textContent;
  };
  fill(payload ?? CALLS[action]?.[0] ?? {});
  choice.addEventListener("change", () => { told = ""; fill(CALLS[choice.value]?.[0] ?? {}); });
  const form = h("form.call", h("label", { for: "call-action" }, "Action"), choice, h("label", { for: "call-payload" }, "Payload, as OCPP 1.6 JSON has it"), area, warning, h("div.actions", button), result);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let body;
    try {
      body = JSON.parse(area.value || "{}");
    } catch (problem) {
      result.replaceChildren(h("p.sentence.bad", `The payload is not JSON: ${problem.message}`));
      return;
    }
    button.disabled = true;
    result.replaceChildren(h("p.muted", "Waiting for the charge point …"));
    const began = performance.now();
    try {
      const answer = await post(`/chargers/${part(identity)}/calls`, { action: choice.value, payload: body }, { "Idempotency-Key": key });
      const took = `${ms(performance.now() - began)} ms`;
      if (answer.error) result.replaceChildren(h("p.sentence.bad", `${answer.error.code}: ${answer.error.description || "no description"}${answer.error.reason ? ` (${answer.error.reason})` : ""}, after ${took}`));
      else result.replaceChildren(h("p.sentence.good", `Answered after ${took}`), copyable(JSON.stringify(answer.reply, null, 2)));
      key = crypto.randomUUID?.() ?? String(Math.random());
    } catch (problem) {
      // The key stays: sent again after an answer got lost, it is the same call, and is made once.
      result.replaceChildren(trouble(problem));
    }
    button.disabled = false;
  });
  dialog(`Send a call to ${identity}`, [h("p.muted", "It comes from the gateway, not from the central system, and stands in the audit log."), form], { wide: true });
  choice.focus();
}
