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
  if (attributes instanceof Node || typeof attributes === "string" || Array.isArray(attributes)) {
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
