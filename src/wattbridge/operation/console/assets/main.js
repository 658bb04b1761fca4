// The frame around the pages: who is there, where one is, the keyboard, light and dark.

import { get, line, poll, session } from "./api.js";
import { charger } from "./charger.js";
import { chargers } from "./chargers.js";
import { configuration } from "./configuration.js";
import { dialog, h, icon, show, toast } from "./dom.js";
import { messages } from "./messages.js";
import { overview } from "./overview.js";
import { chip, filterWords, words } from "./parts.js";
import { problems, routes, traces, transactions } from "./tables.js";
import { clock } from "./words.js";

const PAGES = [
  ["", "Overview", () => overview],
  ["messages", "Messages", () => messages],
  ["chargers", "Charge points", (place) => (place.length > 1 ? charger : chargers)],
  ["transactions", "Transactions", () => transactions],
  ["problems", "Problems", () => problems],
  ["routes", "Routes", () => routes],
  ["traces", "Traces", () => traces],
  ["configuration", "Configuration", () => configuration],
];

const state = { page: null, maker: null, name: "wattbridge", overview: null, problems: 0, watch: null };

const main = h("main", { id: "content", tabindex: "-1" });

// --- Light and dark: the system's choice until somebody switches.

const THEMES = ["auto", "light", "dark"];

function theme(chosen) {
  if (chosen) {
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // a browser that keeps nothing: then it is for this time
    }
    document.documentElement.dataset.theme = chosen;
  }
  return document.documentElement.dataset.theme ?? "auto";
}

function begun() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

// --- The frame

function frame() {
  const current = document.documentElement.dataset.page ?? "";
  const told = state.overview;
  const ready = !told ? null : told.draining ? chip("waiting", "draining") : told.ready ? chip("up", "ready") : chip("down", "not ready");
  const mode = theme();
  document.documentElement.classList.toggle("unanswered", Boolean(line.down)); // what is shown is of then
  show(document.getElementById("top"),
    h("div.brand",
      h("a.home", { href: "/", "aria-label": "wattbridge, to the overview" }, h("img", { src: "/assets/icon.svg", alt: "", width: 22, height: 22 }), h("span.wordmark", { class: told?.name && told.name !== "wattbridge" ? "beside" : "" }, "wattbridge")),
      told?.name && told.name !== "wattbridge" ? h("span.node", told.name) : null,
      line.down ? chip("down", `no answer since ${clock(line.down, { milliseconds: false })}`) : ready),
    h("div.tools",
      h("span.utc", { title: "Coordinated Universal Time, as in the log" }, `${clock(new Date(), { milliseconds: false })} UTC`),
      told?.version ? h("span.version", `v${told.version}`) : null,
      session.me ? h("span.role", { title: "What you may do: read, operate or admin" }, [session.me.name, session.me.role].filter((one, at, all) => one && all.indexOf(one) === at).join(" · ")) : null,
      h("button.quiet", { onclick: () => { theme(THEMES[(THEMES.indexOf(theme()) + 1) % 3]); frame(); }, title: "Light, dark, or as the system has it", "aria-label": `Theme: ${mode}. Change it` }, icon({ auto: "half", light: "sun", dark: "moon" }[mode])),
      h("button.quiet", { onclick: help, title: "Keys and filter words (?)", "aria-label": "Help" }, "?"),
      session.me ? h("button.quiet", { onclick: leave, title: "Sign out", "aria-label": "Sign out" }, icon("out")) : null),
  );
  show(document.getElementById("places"),
    session.me ? PAGES.map(([name, title]) =>
      h("a", { href: `/${name}`, "aria-current": name === current ? "page" : null }, title === "Configuration" ? ["Config", h("span.rest", "uration")] : title,
        name === "problems" && state.problems ? h("span.badge", { "aria-label": `${state.problems} problems` }, String(state.problems)) : null)) : []);
}

const KEYS = [
  ["j, k", "the next row, the one before"],
  ["Enter", "open it"],
  ["Esc", "close, back to the list"],
  ["/", "to the filter"],
  ["f", "follow or pause the live messages"],
  ["g, then o m c t p r", "to Overview, Messages, Charge points, Transactions, Problems, Routes"],
  ["?", "this page"],
];

function help() {
  if (document.querySelector("dialog[open]")) return;
  dialog("Help", [h("h3", "Keys"), words("Keys", KEYS), h("h3", "Words of the filter"), filterWords()], { wide: true });
}

async function leave() {
  try {
    await session.logout();
  } catch (problem) {
    toast(`Not signed out: ${problem.message}`, "bad");
    return;
  }
  begin();
}

// --- Where one is: the address has all of it

export function go(url, { replace = false } = {}) {
  if (url !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", url);
  arrive();
}

function arrive() {
  const place = location.pathname.split("/").slice(1).map((one) => {
    try {
      return decodeURIComponent(one);
    } catch {
      return one;
    }
  });
  place[0] = { overview: "", config: "configuration" }[place[0]] ?? place[0];
  const known = PAGES.find(([name]) => name === place[0]) ?? [place[0], "No such page", () => nowhere];
  const maker = known[2](place);
  const where = { place, query: new URLSearchParams(location.search), go };
  document.documentElement.dataset.page = known[0];
  document.title = `${known[1]} · ${state.name}`;
  if (maker === state.maker && (maker !== charger || state.page.identity === place.slice(1).join("/"))) {
    state.page.update?.(where);
  } else {
    state.page?.leave?.();
    state.maker = maker;
    main.replaceChildren();
    state.page = maker(where);
    main.append(state.page.element);
    main.scrollTop = 0;
    if (document.activeElement === document.body || !document.activeElement) main.focus({ preventScroll: true });
  }
  frame();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.target || link.hasAttribute("download") || link.pathname.startsWith("/api/")) return;
  event.preventDefault();
  go(link.pathname + link.search);
});

window.addEventListener("popstate", () => session.me && arrive());

let leader = 0;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !session.me) return;
  if (document.querySelector("dialog[open]")) return;
  const typing = event.target.matches?.("input, textarea, select");
  if (event.key === "Escape") {
    if (typing) {
      event.preventDefault(); // a field for searching would be emptied, and what is shown stay filtered
      event.target.blur();
      state.page?.restore?.(event.target);
    }
    else state.page?.escape?.();
    return;
  }
  if (typing) return;
  const page = state.page;
  const places = { o: "/", m: "/messages", c: "/chargers", t: "/transactions", p: "/problems", r: "/routes" };
  if (Date.now() - leader < 1500 && places[event.key]) {
    leader = 0;
    event.preventDefault();
    go(places[event.key]);
    return;
  }
  const done = {
    j: () => page?.rows?.move(1),
    k: () => page?.rows?.move(-1),
    "/": () => page?.filter?.focus(),
    f: () => page?.follow?.(),
    "?": help,
    g: () => { leader = Date.now(); },
  }[event.key];
  if (done) {
    event.preventDefault();
    done();
  } else if (event.key === "Enter" && (!event.target.closest("a, button, summary") || event.target === page?.rows?.element)) page?.rows?.open();
});

function nowhere() {
  return { element: h("div.page", h("h1", "There is no such page"), h("p", h("a", { href: "/" }, "To the overview"))) };
}

// --- Signing in

function login(told = "") {
  document.title = "Sign in · wattbridge";
  const token = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true, autocapitalize: "off", spellcheck: "false" });
  const said = h("p.said", { role: "alert" }, told);
  const form = h("form.login", h("h1", "wattbridge"),
    h("p", "Sign in with a token of the admin interface: the one that ", h("code", "admin"), " in the configuration names."),
    h("label", { for: "token" }, "Token"), token, h("button.main", { type: "submit" }, "Sign in"), said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.textContent = "";
    try {
      await session.login(token.value.trim());
      begin();
    } catch (problem) {
      said.textContent = problem.status === 401 ? "That is not a token of this gateway." : problem.message;
      token.select();
    }
  });
  state.page?.leave?.();
  state.page = state.maker = null;
  state.watch?.stop();
  main.replaceChildren(form);
  frame();
  token.focus();
}

async function begin() {
  try {
    if (!(await session.begin())) {
      login();
      return;
    }
  } catch (problem) {
    main.replaceChildren(h("div.trouble", { role: "alert" }, problem.message, " ", h("button", { onclick: begin }, "Try again")));
    frame();
    return;
  }
  arrive();
  state.watch?.stop();
  state.watch = poll(async () => {
    state.overview = await get("/overview");
    state.name = state.overview.name ?? "wattbridge";
    state.page?.told?.(state.overview);
    frame();
    state.problems = (await get("/problems")).problems.filter((one) => !one.passed).length;
    frame();
  }, 3);
}

async function start() {
  const chosen = begun();
  if (chosen) document.documentElement.dataset.theme = chosen;
  document.body.replaceChildren(
    h("a.skip", { href: "#content", onclick: (event) => { event.preventDefault(); main.focus(); } }, "To the content"),
    h("header.bar", h("div", { id: "top" }), h("nav", { id: "places", "aria-label": "Pages" })),
    main,
    h("div", { id: "toasts", role: "status", "aria-live": "polite" }),
  );
  session.onLost = () => login("You were signed out.");
  line.onChange = frame;
  setInterval(frame, 1000);
  const query = new URLSearchParams(location.search);
  const token = query.get("token");
  if (token !== null) {
    // Out of the address at once: it would stay in the history, and be on every screenshot.
    query.delete("token");
    history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
    try {
      await session.login(token);
    } catch (problem) {
      frame();
      login(problem.status === 401 ? "The token in that address is not one of this gateway." : problem.message);
      return;
    }
  }
  frame();
  await begin();
}

start();
