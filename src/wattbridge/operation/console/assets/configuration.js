// What the gateway works with, what the file would change, and taking it over.

import { ask, get, poll, post, query, session } from "./api.js";
import { copy, h, show, toast } from "./dom.js";
import { act, card, empty, findings, table, trouble } from "./parts.js";
import { count, moment } from "./words.js";

export function configuration(where) {
  const element = h("div.page.configuration", h("p.empty", "Asking the gateway …"));
  let text = "";
  let file = "";
  let failed = null;
  let told = null; // {what, answer} or {what, problem}
  let busy = "";
  let loggers = null;
  let audit = null;

  // Of a large fleet this takes the gateway some seconds: only when somebody wants it.
  async function inForce() {
    try {
      ({ text, file } = await get("/config"));
      failed = null;
    } catch (problem) {
      failed = problem;
    }
    draw();
  }

  async function read() {
    if (session.may("admin")) {
      await Promise.all([
        get("/loggers").then((answer) => { loggers = answer.loggers; }, () => {}),
        get(`/audit${query({ limit: 50 })}`).then((answer) => { audit = answer.audit; }, () => {}),
      ]);
    }
    draw();
  }

  async function run(what) {
    busy = what;
    draw();
    try {
      told = { what, answer: await post(`/config/${what}`) };
      if (what === "reload") inForce();
    } catch (problem) {
      told = { what, problem };
    }
    busy = "";
    draw();
    read();
    element.querySelector(".verdict")?.scrollIntoView({ block: "nearest" });
  }

  function outcome() {
    if (!told) return h("p.muted", "Check says what the file would change, or what is wrong with it. Reload takes it over: all of it, or nothing.");
    const { what, answer, problem } = told;
    if (problem) {
      return h("div.verdict", { role: "alert" },
        h("p.sentence.bad", h("strong", what === "reload" ? "Reload refused. " : "The file cannot be used. "), "The gateway goes on with the configuration it has."),
        problem.body?.errors?.length ? findings(problem.body.errors) : trouble(problem));
    }
    const changed = answer.changed ?? [];
    return h("div.verdict", { role: "status" },
      h("p.sentence.good", what === "reload" ? (changed.length ? `Reloaded: ${count(changed.length, "value")} changed${answer.moved ? `, ${count(answer.moved, "session")} moved` : ""}.` : "Reloaded: nothing had changed.") : changed.length ? `Nothing is wrong. ${count(changed.length, "value")} would change:` : "Nothing is wrong, and nothing would change."),
      changed.length ? h("ul.difference", changed.map(difference)) : null,
      answer.warnings?.length ? findings(answer.warnings.map((one) => ({ ...one, severity: "warning" }))) : null);
  }

  function draw() {
    show(element,
      h("h1", "Configuration"),
      card(["The file", file ? h("code", file) : null], h("div.actions", act(busy === "check" ? "Checking …" : "Check", "read", () => run("check")), act(busy === "reload" ? "Reloading …" : "Reload", "admin", () => run("reload"), { class: "main" })), outcome()),
      card(["What is in force", h("span", h("button.quiet", { onclick: inForce }, "read again"), h("button.quiet", { onclick: () => copy(text, "The configuration is copied") }, "copy"))],
        h("p.muted", "Every value, also those that the file does not name. Secrets are not shown."),
        failed ? trouble(failed) : h("pre.yaml", { tabindex: "0", "aria-label": "Configuration in force" }, coloured(text.trimEnd()))),
      loggers ? card("Log levels", levels()) : null,
      audit ? card("Who did what", table("Audit log", ["When (UTC)", "Who", "From", "What", "Outcome"], audit.map((one) => [
        moment(one.time), h("span", { title: `role ${one.role}` }, one.who), one.source, [h("code", one.request), one.details ? h("span.muted", ` ${brief(one.details)}`) : null],
        h("span.out", { class: one.status < 400 ? "good" : "bad" }, h("span.mark", { "aria-hidden": "true" }, one.status < 400 ? "●" : "✖"), `${one.status}${one.result ? ` ${one.result}` : ""}`)]), { none: "Nothing was done yet." })) : null);
  }

  function levels() {
    const list = loggers;
    if (!list.length) return empty("None.");
    return [h("p.muted", "A level that is set here goes back by itself after ten minutes."),
      table("Log levels", ["Logger", "Level", "Until"], list.map((one) => [h("code", one.name || "all"), level(one), one.until ? moment(one.until) : "–"]))];
  }

  function level(one) {
    const choice = h("select", { "aria-label": `Level of ${one.name || "all"}`, "data-key": `level-${one.name}-${one.level}`, disabled: !session.may("admin") }, ["debug", "info", "warning", "error"].map((word) => h("option", { value: word, selected: word === one.level }, word)));
    choice.onchange = async () => {
      try {
        await ask("PUT", `/loggers/${encodeURIComponent(one.name)}`, { level: choice.value, for: "10m" });
        toast(`${one.name || "all"}: ${choice.value} for ten minutes`);
      } catch (problem) {
        toast(problem.message, "bad");
      }
      read();
    };
    choice.handled = ["onchange"];
    return choice;
  }

  inForce();
  const watch = poll(read, 15);
  return { element, update() {}, leave: () => watch.stop() };
}

// "gateway.drain: 30s → 5s" with what was and what becomes apart.
function difference(line) {
  const [, path, was, becomes] = /^([^:]+): (.*) → (.*)$/s.exec(line) ?? [];
  if (path) return h("li", h("code", path), " ", h("del", was), " → ", h("ins", becomes));
  const [, place, mark, value] = /^([^:]+): (new: |gone, was )(.*)$/s.exec(line) ?? [];
  if (place) return h("li", h("code", place), " ", mark.startsWith("new") ? ["new: ", h("ins", value)] : ["gone, was ", h("del", value)]);
  return h("li", line);
}

function brief(details) {
  const text = typeof details === "string" ? details : JSON.stringify(details);
  return text.length > 160 ? `${text.slice(0, 159)}…` : text;
}

// YAML with its keys and comments set apart.
const COLOURED = 3000; // lines

function coloured(text) {
  const lines = text.split("\n");
  const rest = lines.splice(COLOURED).join("\n");
  return [lines.map((line) => {
    const found = /^(\s*(?:- )?)("[^"]*"|[^\s:#"'][^:#]*)(:)(\s.*|)$/.exec(line);
    if (/^\s*#/.test(line)) return [h("span.muted", line), "\n"];
    return found ? [found[1], h("span.name", found[2]), found[3], h("span.text", found[4]), "\n"] : [line, "\n"];
  }), rest];
}
