// Every exchange as it happens, newest first; one of them whole below the list.

import { get, query, stream } from "./api.js";
import { dialog, h, icon, show } from "./dom.js";
import { exchange } from "./exchange.js";
import { filterWords, legs, marks, trouble } from "./parts.js";
import { duration } from "./plots.js";
import { Rows } from "./rows.js";
import { ARROWS, clock, count, DIRECTIONS, ms, number, outcome } from "./words.js";

const MOST = 5000; // rows in the list
const PAGE = 200; // rows asked for at once
const ENOUGH = 60; // rows, so that the list can be scrolled for more
const MOST_TURNS = 20; // asked for in a row before somebody has to say that it is worth it

const COLUMNS = [
  ["time", "Time (UTC)"], ["charger", "Charge point"], ["way", "Direction"], ["action", "Action"], ["legs", "Charge point / central system"],
  ["outcome", "Outcome"], ["ms", "ms"], ["marks", "Done to it"],
];

export function messages(where) {
  let filter = null;
  let live = null;
  let paused = false;
  let pending = []; // arrived and not yet shown, newest last
  let newest = 0;
  let cursor = null; // of the page after the oldest shown
  let loading = false;
  let state = "connecting";
  let selected = null;
  let frame = 0;
  let further = 0;
  let wrong = false; // the filter
  let begun = 0; // which filter an answer belongs to

  const list = new Rows({
    label: "Messages, newest first", kind: "messages", columns: COLUMNS, key: (row) => String(row.gap ? `gap-${row.number}` : row.number), draw: line,
    onSelect: (row) => selected !== null && where.go(address(row.number), { replace: true }),
    onOpen: (row) => where.go(address(row.number), { replace: selected !== null }),
    onEnd: older,
    onScroll: (top) => { if (top < 2) told(); },
  });
  const input = h("input", { type: "search", id: "filter", "aria-label": "Filter", placeholder: "charger:BER-* action:MeterValues not status:ok", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const said = h("div.said", { id: "filter-said" });
  const bar = h("div.status");
  const detail = h("div.detail");
  const form = h("form.filter", { role: "search" }, h("label.visually-hidden", { for: "filter" }, "Filter"), input,
    h("button", { type: "submit" }, "Filter"), h("button.quiet", { type: "button", onclick: words, "aria-label": "Words of the filter" }, "?"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    where.go(address(selected, input.value.trim()));
  });
  const element = h("div.page.messages", h("h1.visually-hidden", "Messages"), h("div.toolbar", form, bar), said, h("div.split", list.element, detail));

  function address(number, text = filter) {
    return `/messages${number === null ? "" : `/${number}`}${query({ filter: text })}`;
  }

  function words() {
    dialog("Words of the filter", filterWords(), { wide: true });
  }

  function line(row) {
    if (row.gap) {
      const cells = [];
      cells.whole = h("span.gap", `${row.gap > 1 ? count(row.gap, "message") : "Some messages"} passed by here that this page did not get. `, h("button", { onclick: () => begin() }, "Read them from the history"));
      cells.classes = ["gapped"];
      return cells;
    }
    const end = outcome(row);
    const cells = [
      h("time", { datetime: row.time, title: row.time }, clock(row.time)),
      row.charger || "–",
      h("span", { title: DIRECTIONS[row.direction] }, ARROWS[row.direction] ?? "", h("span.visually-hidden", DIRECTIONS[row.direction])),
      row.action || "?",
      legs(row),
      h("span.out", { class: end.kind, title: end.sentence }, h("span.mark", { "aria-hidden": "true" }, end.mark), end.word),
      [duration(row.ms ?? 0, end.kind), h("span.figure", ms(row.ms))],
      marks(row),
    ];
    cells.classes = [end.kind];
    return cells;
  }

  // --- What comes

  function begin() {
    live?.close();
    const mine = ++begun;
    pending = [];
    newest = 0;
    cursor = null;
    loading = true;
    wrong = false;
    list.set([]);
    said.replaceChildren();
    input.removeAttribute("aria-invalid");
    // The stream is opened first, so that nothing falls between it and the page of history.
    live = stream(filter, {
      row: (row) => mine === begun && arrive(row),
      gap: (missed) => mine === begun && arrive({ gap: missed ?? -1, number: (pending.at(-1)?.number ?? newest) + 0.5 }),
      state: (word) => { state = word; told(); },
    });
    get(`/messages${query({ filter, limit: PAGE })}`).then((answer) => {
      if (mine !== begun) return;
      loading = false;
      cursor = answer.cursor ?? null;
      list.set(answer.messages);
      newest = answer.messages[0]?.number ?? 0;
      further = 0;
      flush();
      requestAnimationFrame(() => list.reveal(list.index()));
      if (list.items.length < PAGE) older();
    }, (problem) => {
      if (mine !== begun) return;
      loading = false;
      wrong = true;
      live.close();
      state = "broken";
      input.setAttribute("aria-invalid", "true");
      said.replaceChildren(trouble(problem, "Filter: "));
      told();
    });
    told();
  }

  function arrive(row) {
    pending.push(row);
    if (pending.length > MOST) pending.splice(0, pending.length - MOST);
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; flush(); });
  }

  function flush() {
    if (paused || loading) {
      told();
      return;
    }
    const fresh = pending.filter((row) => row.number > newest).sort((a, b) => b.number - a.number);
    pending = [];
    if (fresh.length) {
      newest = Math.floor(fresh[0].number);
      list.prepend(fresh, MOST);
    }
    told();
  }

  async function older() {
    if (loading || cursor === null || list.items.length >= MOST) return;
    loading = true;
    const mine = begun;
    try {
      const answer = await get(`/messages${query({ filter, limit: PAGE, cursor })}`);
      if (mine !== begun) return;
      const last = list.items.at(-1)?.number ?? Infinity;
      cursor = answer.cursor ?? null;
      list.set(list.items.concat(answer.messages.filter((row) => row.number < last)).slice(0, MOST));
    } catch {
      // the line above says that the gateway does not answer; scrolling tries again
    } finally {
      if (mine === begun) loading = false;
      told();
    }
    // A filter that little matches: the gateway looks through some thousand at a time, and says so.
    if (mine === begun && cursor !== null && list.items.length < ENOUGH && ++further < MOST_TURNS) older();
  }

  function follow() {
    paused = !paused;
    if (!paused) {
      list.element.scrollTop = 0;
      flush();
    }
    told();
  }

  function told() {
    const away = list.element.scrollTop > 2;
    const words = paused ? `paused${pending.length ? `, ${count(pending.length, "new message")}` : ""}`
      : { live: "live", connecting: "connecting …", broken: "not live" }[state];
    show(bar,
      h("button.follow", { onclick: follow, "aria-pressed": String(!paused), title: "Follow or pause (f)" }, [icon(paused ? "play" : "pause"), paused ? " Follow" : " Pause"]),
      h("span.chip", { class: paused ? "warn" : state === "live" ? "good" : "bad" }, h("span.mark", { "aria-hidden": "true" }, paused ? "◐" : state === "live" ? "●" : "✖"), words),
      away && !paused ? h("button.quiet", { onclick: () => { list.element.scrollTop = 0; } }, "↑ newest") : null,
      h("span.muted.rows-count", wrong ? "" : loading && !list.items.length ? "loading …" : list.items.length >= MOST ? `the newest ${number(MOST)}` : count(list.items.length, "message"),
        !wrong && !loading && !list.items.length ? (filter ? "; none matches this filter yet" : "; none yet") : ""),
      cursor !== null && !loading && list.items.length < ENOUGH ? h("button.quiet", { onclick: () => { further = 0; older(); } }, "Look further back") : null,
      h("span.quick", [["failed", "status:failed"], ["losses", "loss:yes"], ["slow", "slower:2s"]].map(([name, text]) => {
        const has = (filter ?? "").includes(text);
        return h("button.quiet", { "aria-pressed": String(has), onclick: () => where.go(address(selected, has ? filter.replace(text, "").replace(/\s+/g, " ").trim() : `${filter ?? ""} ${text}`.trim())) }, name);
      })));
  }

  // --- One of them

  let shown = null;

  function open(number) {
    selected = number;
    element.classList.toggle("opened", number !== null);
    list.mark(number === null ? null : String(number));
    if (number === shown) return;
    shown = number;
    if (number === null) detail.replaceChildren();
    else exchange(detail, number, { close: () => where.go(address(null)), step: (steps) => list.move(steps), current: () => shown === number });
    requestAnimationFrame(() => list.reveal(list.index()));
  }

  function update(there) {
    Object.assign(where, there);
    const wanted = there.query.get("filter") ?? "";
    if (wanted !== filter) {
      filter = wanted;
      if (input.value.trim() !== wanted || document.activeElement !== input) input.value = wanted;
      begin();
    }
    open(/^\d+$/.test(there.place[1] ?? "") ? Number(there.place[1]) : null);
  }

  update(where);
  return {
    element, update, rows: list, filter: input, follow,
    restore: (field) => {
      if (field === input) input.value = filter;
    },
    escape: () => (selected !== null ? where.go(address(null)) : filter ? where.go("/messages") : null),
    leave() {
      live?.close();
      cancelAnimationFrame(frame);
    },
  };
}
