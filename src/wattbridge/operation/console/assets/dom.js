// Elements, and bringing a shown element up to date without losing focus, selection or scroll position.

const SVG = "http://www.w3.org/2000/svg";

// h("button.main", {onclick, title}, "text", child): children that are null or false are left out.
export function h(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  return fill(document.createElement(tag || "div"), classes, attributes, children);
}

export function svg(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  return fill(document.createElementNS(SVG, tag), classes, attributes, children);
}

function fill(node, classes, attributes, children) {
  if (attributes instanceof Node || typeof attributes !== "object" || Array.isArray(attributes)) {
    children.unshift(attributes);
    attributes = null;
  }
  for (const one of classes) node.classList.add(one);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) {
      node[key] = value;
      (node.handled ??= []).push(key);
    } else if (key === "class") node.classList.add(...String(value).split(" ").filter(Boolean));
    else if (key === "value") { node.value = value; node.setAttribute("value", value); }
    else node.setAttribute(key, value === true ? "" : value);
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(node, child);
    else if (child !== null && child !== undefined && child !== false) node.append(child);
  }
}

// Make what *shown* holds look like *wanted*, which is used up. Elements with `data-key` keep their identity;
// what stands in elements with `data-own` is looked after by others.
export function morph(shown, wanted) {
  if (shown.nodeName !== wanted.nodeName || shown.dataset?.key !== wanted.dataset?.key) {
    shown.replaceWith(wanted);
    return wanted;
  }
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    if (shown.data !== wanted.data) shown.data = wanted.data;
    return shown;
  }
  if (shown.hasAttribute("data-own") && wanted.hasAttribute("data-own")) return shown;
  for (const { name } of [...shown.attributes]) {
    if (!wanted.hasAttribute(name) && !(name === "open" && shown.nodeName === "DETAILS")) shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (shown.getAttribute(name) !== value && name !== "value") shown.setAttribute(name, value);
  }
  for (const key of shown.handled ?? []) shown[key] = null;
  for (const key of wanted.handled ?? []) shown[key] = wanted[key];
  shown.handled = wanted.handled;
  if (shown.nodeName !== "SELECT" && shown.nodeName !== "TEXTAREA") morphChildren(shown, wanted);
  return shown;
}

function morphChildren(shown, wanted) {
  const keyed = new Map();
  for (const child of shown.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let place = shown.firstChild;
  for (const next of [...wanted.childNodes]) {
    const known = next.dataset?.key ? keyed.get(next.dataset.key) : null;
    if (known && known !== place) shown.insertBefore(known, place);
    const here = known ?? (place?.dataset?.key ? null : place);
    if (!here) {
      shown.insertBefore(next, place);
      continue;
    }
    place = morph(here, next).nextSibling;
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}

// Small pictures of our own: no font is sure to have them, and some show them in colours.
// Lines on a ground of 16 by 16.
const ICONS = {
  pause: "M5 3v10M11 3v10",
  play: "M4 2.5l9 5.5-9 5.5z",
  out: "M8 1.5v6M4.5 4a5.2 5.2 0 1 0 7 0",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.1 1.1M11.9 11.9L13 13M13 3l-1.1 1.1M4.1 11.9L3 13",
  moon: "M9.5 2a6.2 6.2 0 1 0 4.5 9A6 6 0 0 1 9.5 2z",
  half: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2v12",
  changed: "M2 5.5h11M10 2.5l3 3-3 3M14 10.5H3M6 7.5l-3 3 3 3",
  lost: "M3.8 10.2a2 2 0 1 0 0 4 2 2 0 1 0 0-4M12.2 10.2a2 2 0 1 0 0 4 2 2 0 1 0 0-4M5 10.6L11.5 1.5M11 10.6L4.5 1.5",
  breach: "M8 2l6.5 12h-13zM8 6.5v3.5M8 11.8v.4",
  down: "M8 2v8M4.5 7L8 10.5 11.5 7M2.5 14h11",
};

export function icon(name) {
  return svg("svg.icon", { viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

// Show *children* in *parent*, keeping whatever is there already.
export function show(parent, ...children) {
  const wanted = parent.cloneNode(false);
  append(wanted, children);
  morphChildren(parent, wanted);
}

let said = null;

// One sentence that goes away by itself; screen readers say it.
export function toast(text, kind = "") {
  const shelf = document.getElementById("toasts");
  const note = h(`p.toast${kind ? "." + kind : ""}`, text);
  shelf.replaceChildren(note);
  clearTimeout(said);
  said = setTimeout(() => note.remove(), kind === "bad" ? 12000 : 5000);
}

export async function copy(text, what = "Copied") {
  try {
    await navigator.clipboard.writeText(text);
    toast(what);
  } catch {
    // Without TLS, and not on this machine, browsers have no clipboard: show what would have been copied.
    const area = h("textarea", { rows: 8, readonly: true, value: text, "aria-label": "Text to copy" });
    area.value = text;
    dialog("Copy this", [h("p", "This browser does not let the page write to the clipboard."), area]);
    area.select();
  }
}

// A dialog with a heading; closes with Esc, its button, or what *close* does. Gives {element, close}.
export function dialog(title, content, { wide = false, actions = null } = {}) {
  const before = document.activeElement;
  const element = h(`dialog${wide ? ".wide" : ""}`, { "aria-label": title });
  const close = () => element.close();
  element.append(
    h("header", h("h2", title), h("button.quiet", { onclick: close, "aria-label": "Close", title: "Close (Esc)" }, "✕")),
    h("div.content", content),
  );
  if (actions) element.append(h("footer", actions(close)));
  element.addEventListener("close", () => {
    element.remove();
    before?.focus?.();
  });
  document.body.append(element);
  element.showModal();
  return { element, close };
}
