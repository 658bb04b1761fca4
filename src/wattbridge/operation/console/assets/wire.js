// A message as it was on the wire, with every field in an element of its own. Both readers are tolerant, and
// keep numbers and texts exactly as they were written; what they cannot read is shown as it came.

import { h } from "./dom.js";

export const BLOT = "***"; // what the gateway puts in place of what is not to be kept

// One spelling for one place: the first of several is the one without a number.
export function plain(path) {
  return (path ?? "").replaceAll("[0]", "").replaceAll(".@", ".");
}

// {element, fields: place → elements, pretty: whether it was understood} of *text*, which is XML or a frame.
export function wire(text, { raw = false } = {}) {
  const fields = new Map();
  const add = (path, element) => {
    const place = plain(path);
    if (!place) return element;
    element.dataset.place = place;
    if (!fields.has(place)) fields.set(place, []);
    fields.get(place).push(element);
    return element;
  };
  if (!raw) {
    try {
      const content = text.trimStart().startsWith("<") ? xml(text, add) : frame(text, add);
      return { element: h("div.wire", content), fields, pretty: true };
    } catch (problem) {
      if (!(problem instanceof Unreadable)) throw problem;
    }
  }
  return { element: h("div.wire", h("pre", { tabindex: "0", "aria-label": "Message as it was sent" }, text)), fields: new Map(), pretty: false };
}

class Unreadable extends Error {}

// --- JSON

const JSON_TOKEN = /\s*("(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,]+)/gy;
const DEEPEST = 60;

function tokens(text) {
  const found = [];
  JSON_TOKEN.lastIndex = 0;
  while (JSON_TOKEN.lastIndex < text.trimEnd().length) {
    const match = JSON_TOKEN.exec(text);
    if (!match) throw new Unreadable();
    found.push(match[1]);
  }
  return found;
}

function value(list, at, depth) {
  if (depth > DEEPEST) throw new Unreadable();
  const first = list[at.place++];
  if (first === undefined) throw new Unreadable();
  if (first !== "{" && first !== "[") {
    if (/^[}\]:,]$/.test(first)) throw new Unreadable();
    return { leaf: first };
  }
  const end = first === "{" ? "}" : "]";
  const members = [];
  while (list[at.place] !== end) {
    if (members.length && list[at.place++] !== ",") throw new Unreadable();
    let name = null;
    if (first === "{") {
      name = list[at.place++];
      if (!name?.startsWith('"') || list[at.place++] !== ":") throw new Unreadable();
    }
    members.push({ name, ...value(list, at, depth + 1) });
  }
  at.place += 1;
  return { open: first, end, members };
}

function leaf(text) {
  const inner = text.startsWith('"') ? text.slice(1, -1) : text;
  if (inner === BLOT) return h("span.blot", { title: "not kept: store.history.redact" }, text);
  return h(text.startsWith('"') ? "span.text" : "span.literal", text);
}

function written(node, path, indent, add) {
  if (node.leaf !== undefined) return [leaf(node.leaf)];
  if (!node.members.length) return [node.open + node.end];
  const inner = indent + "  ";
  const lines = node.members.map((member, place) => {
    const key = member.name === null ? null : unquoted(member.name);
    const there = member.name === null ? `${path}[${place}]` : path ? `${path}.${key}` : key;
    const field = h("span.field", member.name === null ? null : [h("span.name", member.name), ": "], written(member, there, inner, add));
    return ["\n" + inner, add(there, field), place < node.members.length - 1 ? "," : ""];
  });
  return [node.open, lines, "\n" + indent + node.end];
}

function unquoted(name) {
  try {
    return JSON.parse(name);
  } catch {
    return name.slice(1, -1);
  }
}

function frame(text, add) {
  const list = tokens(text);
  const at = { place: 0 };
  const whole = value(list, at, 0);
  if (at.place !== list.length) throw new Unreadable();
  const pre = (content) => h("pre", { tabindex: "0", "aria-label": "Message in JSON" }, content);
  if (whole.open !== "[" || whole.members.length < 3) return pre(written(whole, "", "", add));
  // [2, id, action, payload], [3, id, payload], [4, id, code, description, details]
  const head = whole.members.slice(0, -1);
  const payload = whole.members[whole.members.length - 1];
  return pre(["[", head.map((one) => [written(one, "", "", (_, element) => element), ", "]), written(payload, "", "", add), "]"]);
}

// --- XML

const XML_TOKEN = /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>|<(?:[^<>"']|"[^"]*"|'[^']*')*>|[^<]+/gy;
const TAG = /^<(\/?)\s*([^\s/>]+)([\s\S]*?)(\/?)>$/;

const local = (name) => name.slice(name.indexOf(":") + 1);

function tree(text) {
  const root = { name: "", children: [] };
  const path = [root];
  XML_TOKEN.lastIndex = 0;
  while (XML_TOKEN.lastIndex < text.length) {
    const match = XML_TOKEN.exec(text);
    if (!match) throw new Unreadable();
    const token = match[0];
    const here = path[path.length - 1];
    if (token.startsWith("<?") || token.startsWith("<!--")) continue;
    if (token.startsWith("<![CDATA[") || !token.startsWith("<")) {
      if (token.trim()) here.children.push({ text: token });
      continue;
    }
    const tag = TAG.exec(token);
    if (!tag || token.startsWith("<!")) throw new Unreadable();
    if (tag[1]) {
      if (path.length < 2 || here.name !== tag[2]) throw new Unreadable();
      path.pop();
      continue;
    }
    const element = { name: tag[2], attributes: tag[3], children: [] };
    here.children.push(element);
    if (!tag[4]) path.push(element);
    if (path.length > DEEPEST) throw new Unreadable();
  }
  if (path.length !== 1) throw new Unreadable();
  return root;
}

// Attributes but for declarations of namespaces, which only the raw form shows: [name, as written].
function attributes(element) {
  return [...element.attributes.matchAll(/([^\s=]+)\s*=\s*("[^"]*"|'[^']*')/g)]
    .filter(([, name]) => !/^xmlns(:|$)/.test(name));
}

function markup(element, path, indent, add) {
  const name = h("span.name", element.name);
  const given = attributes(element).map(([, key, quoted]) => [" ", add(`${path}.${local(key)}`, h("span.field", h("span.name", key), "=", h("span.text", quoted)))]);
  const inside = element.children;
  if (!inside.length) return ["<", name, given, "/>"];
  const end = ["</", h("span.name", element.name), ">"];
  if (inside.every((child) => child.text !== undefined)) {
    const text = inside.map((child) => child.text).join("");
    return ["<", name, given, ">", text.trim() === BLOT ? h("span.blot", { title: "not kept: store.history.redact" }, text) : h("span.text", text), end];
  }
  return ["<", name, given, ">", children(element, path, indent + "  ", add), "\n" + indent, end];
}

function children(element, path, indent, add) {
  const met = new Map();
  return element.children.map((child) => {
    if (child.text !== undefined) return ["\n" + indent, h("span.text", child.text.trim())];
    const name = local(child.name);
    const before = met.get(name) ?? 0;
    met.set(name, before + 1);
    const there = `${path ? path + "." : ""}${name}[${before}]`;
    return ["\n" + indent, add(there, h("span.field", markup(child, there, indent, add)))];
  });
}

function xml(text, add) {
  const top = tree(text).children.filter((child) => child.name);
  if (top.length !== 1) throw new Unreadable();
  const [envelope] = top;
  const skip = (_, element) => element;
  const pre = (content) => h("pre", { tabindex: "0", "aria-label": "Message in XML" }, content);
  const inside = envelope.children.filter((child) => child.name);
  const body = inside.find((child) => local(child.name) === "Body");
  if (local(envelope.name) !== "Envelope" || !body) return pre(markup(envelope, "", "", skip));
  const header = inside.find((child) => local(child.name) === "Header");
  const payloads = body.children.filter((child) => child.name);
  return [
    header?.children.length ? h("details.header", h("summary", `SOAP header: ${summary(header)}`), pre(markup(header, "", "", skip))) : null,
    pre(payloads.length ? payloads.map((payload) => markup(payload, "", "", add)) : "(an empty Body)"),
  ];
}

function summary(header) {
  const text = (name) => header.children.find((child) => child.name && local(child.name) === name)?.children.map((child) => child.text ?? "").join("");
  return [text("chargeBoxIdentity"), text("Action")].filter(Boolean).join(" · ") || "…";
}

// The payload of a frame, or null: {action, payload}.
export function call(text) {
  try {
    const read = JSON.parse(text);
    return Array.isArray(read) && read[0] === 2 ? { action: read[2], payload: read[3] } : null;
  } catch {
    return null;
  }
}
