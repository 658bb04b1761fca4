// One exchange: both encodings beside each other, what was done on the way, and where the time went.

import { act, card, legs, trouble } from "./parts.js";
import { course } from "./plots.js";
import { call, plain, wire } from "./wire.js";
import { copy, dialog, h, icon } from "./dom.js";
import { get, part } from "./api.js";
import { sendCall } from "./charger.js";
import { clock, day, DIRECTIONS, ms, number, outcome } from "./words.js";

const WHAT = ["changed", "lost", "breach"];

export async function exchange(place, wanted, { close, step, current }) {
  const scrolled = place.scrollTop;
  let whole;
  try {
    whole = await get(`/messages/${wanted}`);
  } catch (problem) {
    if (current()) {
      place.replaceChildren(h("div.head", h("button.back", { onclick: close }, "← Back"), h("h2", `Message ${wanted}`)),
        trouble(problem), problem.status === 404 ? h("p.muted", "The history keeps messages for some time only, and up to a size: store.history.") : "");
    }
    return;
  }
  if (!current()) return;
  place.replaceChildren(...drawn(whole, { close, step, place }));
  place.scrollTop = scrolled && place.dataset.number ? scrolled : 0;
  place.dataset.number = wanted;
}

function drawn(whole, { close, step, place }) {
  const end = outcome(whole);
  const raw = place.dataset.raw === "1";
  const sides = h("div.sides", ["charger", "csms"].map((name) => side(whole, name, raw)));
  join(sides, whole);
  const peer = whole.peer_ms ?? 0;
  return [
    h("div.head",
      h("button.back", { onclick: close, title: "Back to the list (Esc)" }, "← Back"),
      h("h2", whole.action || "unreadable message"),
      h("span.out", { class: end.kind }, h("span.mark", { "aria-hidden": "true" }, end.mark), end.word),
      h("a.who", { href: `/chargers/${part(whole.charger)}` }, whole.charger),
      h("span.muted", `${DIRECTIONS[whole.direction]}, ${day(whole.time)} ${clock(whole.time)} UTC, no. ${whole.number}`),
      h("span.buttons",
        h("button.quiet", { onclick: () => step(-1), title: "The one above (k)", "aria-label": "The message above" }, "↑"),
        h("button.quiet", { onclick: () => step(1), title: "The one below (j)", "aria-label": "The message below" }, "↓"),
        h("button.quiet.closing", { onclick: close, title: "Close (Esc)", "aria-label": "Close" }, "✕"))),
    end.sentence && end.kind !== "good" ? h("p.sentence", { class: end.kind }, `${end.word}: ${end.sentence}.`) : null,
    h("div.actions",
      h("button", { "aria-pressed": String(raw), onclick: () => { place.dataset.raw = raw ? "" : "1"; place.replaceChildren(...drawn(whole, { close, step, place })); } }, raw ? "Pretty" : "Raw"),
      h("button", { onclick: () => copy(asText(whole), "Both sides are copied") }, "Copy"),
      h("button", { onclick: () => copy(location.href, "The link is copied") }, "Copy link"),
      h("a.button", { href: `/api/v1/messages/${whole.number}/download?format=oot`, download: true, title: "As Open OCPP Trace" }, icon("down"), " Download"),
      act("Replay …", "operate", () => replay(whole))),
    sides,
    notes(whole, sides),
    card("Time", h("p.muted", `${ms(whole.ms)} ms in all, ${ms(peer)} ms of them waiting for the ${whole.direction === "to_csms" ? "central system" : "charge point"}, ${ms(whole.legs?.own_ms ?? Math.max(0, (whole.ms ?? 0) - peer))} ms in the gateway`),
      course(whole.timeline ?? [], whole.ms ?? 0, peer, whole.legs?.write_ms ?? null),
      h("ol.timeline", (whole.timeline ?? []).map((one) => h("li", h("span.figure", `${one.at_ms.toFixed(2)} ms`), one.what)))),
    card("Way", h("p",
      "Route ", h("strong", whole.route || "–"), " ", h("a", { href: `/routes?charger=${encodeURIComponent(whole.charger)}` }, "why?"),
      " · central system ", h("strong", whole.upstream || "–"), " · profile ", h("strong", whole.profile || "none"), " · ", legs(whole))),
  ].filter(Boolean);
}

function side(whole, name, raw) {
  const told = whole.sides?.[name] ?? {};
  const title = name === "charger" ? "Charge point" : "Central system";
  const spoken = told.transport ? `${told.transport.toUpperCase()} ${told.version ?? ""}`.trim() : "";
  const box = h("section.side", { "data-side": name, "aria-label": `${title} side` }, h("h3", `${title} side`, spoken ? h("span.leg", { class: told.transport }, spoken) : null));
  if (!told.call && !told.reply) {
    box.append(h("p.empty", whole.outcome === "kept" ? "Not sent yet: it waits in the outbox." : "Nothing was sent: the gateway answered."));
    return box;
  }
  for (const kind of ["call", "reply"]) {
    const text = told[kind];
    if (!text) {
      box.append(h("div.part", { "data-part": kind }, h("h4", kind), h("p.empty", kind === "reply" ? "No reply." : "Nothing was sent.")));
      continue;
    }
    const made = wire(text, { raw });
    const mine = h("div.part", { "data-part": kind },
      h("h4", kind, h("span.muted", ` ${number(told[`${kind}_bytes`] ?? new TextEncoder().encode(text).length)} bytes`), h("button.quiet", { onclick: () => copy(text, `The ${kind} is copied`), "aria-label": `Copy the ${kind} on the ${title.toLowerCase()} side` }, "copy")),
      told[`${kind}_note`] ? h("p.muted", `${told[`${kind}_note`]}.`) : !made.pretty && !raw ? h("p.muted", "It could not be read; here it is as it came.") : null, made.element);
    mine.fields = made.fields;
    box.append(mine);
  }
  return box;
}

// "StartTransactionResponse.idTagInfo.status" → ["reply", "idTagInfo.status"]
function placed(path, action) {
  const spot = plain(path ?? "");
  for (const [head, kind] of [[`${action}Response.`, "reply"], [`${action}Result.`, "reply"], [`${action}Request.`, "call"], [`${action}.`, "call"]]) {
    if (action && spot.startsWith(head)) return [kind, spot.slice(head.length)];
  }
  return [null, spot];
}

// Light up what corresponds, and mark what was changed or lost where it stands.
function join(sides, whole) {
  const parts = {};
  for (const box of sides.querySelectorAll(".part")) {
    const name = box.closest(".side").dataset.side;
    (parts[box.dataset.part] ??= {})[name] = box.fields ?? new Map();
  }
  const other = { charger: "csms", csms: "charger" };
  for (const kind of Object.keys(parts)) {
    const across = { charger: new Map(), csms: new Map() };
    const pair = (a, b) => {
      across.charger.set(a, b);
      across.csms.set(b, a);
    };
    for (const place of parts[kind].charger?.keys() ?? []) if (parts[kind].csms?.has(place)) pair(place, place);
    for (const one of whole.pairs ?? []) {
      const [a, b] = [plain(one.charger), plain(one.csms)];
      if (one.message === kind && parts[kind].charger?.has(a) && parts[kind].csms?.has(b)) pair(a, b);
    }
    for (const name of ["charger", "csms"]) {
      for (const [place, elements] of parts[kind][name] ?? []) {
        for (const element of elements) element.pairs = () => [...elements, ...(parts[kind][other[name]]?.get(across[name].get(place)) ?? [])];
      }
    }
  }
  let lit = [];
  const light = (elements) => {
    for (const one of lit) one.classList.remove("lit");
    lit = elements;
    for (const one of lit) one.classList.add("lit");
  };
  const over = (event) => light(event.target.closest?.(".field")?.pairs?.() ?? []);
  sides.addEventListener("pointerover", over);
  sides.addEventListener("click", over);
  sides.addEventListener("pointerleave", () => light([]));
  sides.light = light;

  for (const note of whole.notes ?? []) {
    const [kind, spot] = placed(note.path, whole.action);
    const word = WHAT.includes(note.what) ? note.what : "changed";
    note.elements = [];
    for (const one of note.message || kind ? [note.message || kind] : Object.keys(parts)) {
      for (const name of ["charger", "csms"]) note.elements.push(...(parts[one]?.[name]?.get(spot) ?? []));
    }
    for (const element of note.elements) {
      element.classList.add(word);
      const flag = `${word}-${note.rule}`;
      if ([...element.children].some((one) => one.dataset.flag === flag)) continue;
      element.prepend(h("span.flag", { class: word, "data-flag": flag, title: `${word}: ${note.rule}${note.said ? `: ${note.said}` : ""}` }, icon(word), h("span.visually-hidden", `${word}: `), note.rule));
    }
  }
}

function notes(whole, sides) {
  const list = whole.notes ?? [];
  const same = whole.sides?.charger?.transport === whole.sides?.csms?.transport;
  if (!list.length) return card("Done to it", h("p.fine", same ? "Nothing: it went on as it was." : "Translated; no value was changed, nothing was lost."));
  return card("Done to it", h("ul.notes", list.map((note) => {
    const word = WHAT.includes(note.what) ? note.what : "changed";
    return h("li", {
      class: word, tabindex: "0",
      onmouseenter: () => sides.light(note.elements), onfocus: () => sides.light(note.elements), onmouseleave: () => sides.light([]), onblur: () => sides.light([]),
    },
      h("span.flag", { class: word }, icon(word), ` ${word}`), h("code", note.path),
      note.value !== undefined && note.value !== null && note.value !== "" ? h("span.values", h("code", String(note.value)), note.what === "changed" ? [" → ", h("code", String(note.became))] : null) : null,
      h("span.rule", "rule ", h("strong", note.rule), note.said ? `: ${note.said}` : ""),
      note.reason ? h("span.muted", note.reason) : null);
  })));
}

// --- Copy, replay

function asText(whole) {
  const lines = [`${whole.time} ${whole.charger} ${whole.action} ${whole.direction} ${whole.outcome}${whole.reason ? ` (${whole.reason})` : ""} ${ms(whole.ms)} ms`];
  for (const [name, told] of Object.entries(whole.sides ?? {})) {
    for (const kind of ["call", "reply"]) if (told[kind]) lines.push("", `--- ${name === "charger" ? "charge point" : "central system"}, ${told.transport} ${told.version ?? ""}: ${kind}`, told[kind]);
  }
  for (const note of whole.notes ?? []) lines.push("", `${note.what}: ${note.path}: ${note.value ?? ""}${note.became ? ` → ${note.became}` : ""} (${note.rule})`);
  return lines.join("\n");
}

const redacted = (whole) => Object.values(whole.sides ?? {}).some((told) => `${told.call ?? ""}${told.reply ?? ""}`.includes("***"));

function replay(whole) {
  if (whole.direction === "to_charger") {
    const spoken = [whole.sides?.csms?.call, whole.sides?.charger?.call].filter(Boolean).map(call).find(Boolean);
    sendCall(whole.charger, { action: spoken?.action ?? whole.action, payload: spoken?.payload ?? {}, told: redacted(whole) ? "Parts of it were blotted out: put in what belongs there." : "" });
    return;
  }
  const command = `wattbridge trace replay exchange-${whole.number}.jsonl --to ws://127.0.0.1:9000`;
  dialog("Replay", [
    h("p", "A charge point has sent this. Sent once more to its central system it would be charged, counted or started twice; so it is replayed only against a central system for trying things:"),
    h("pre", { tabindex: "0" }, command),
    h("p", "The file is what Download gives; the address is that of your sandbox, such as ", h("code", "wattbridge simulate central-system --json --bind 127.0.0.1:9000"), "."),
  ], { actions: (close) => [h("a.button", { href: `/api/v1/messages/${whole.number}/download?format=oot`, download: true }, icon("down"), " Download the file"), h("button", { onclick: () => copy(command, "The command is copied") }, "Copy the command"), h("button", { onclick: close }, "Close")] });
}
