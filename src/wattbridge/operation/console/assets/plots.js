// Small plots: made to be looked at. What they say is also in their label.

import { h, svg } from "./dom.js";
import { number } from "./words.js";

const share = (part, whole) => `${whole > 0 ? Math.max(0, Math.min(100, (100 * part) / whole)).toFixed(2) : 0}%`;

// A curve over time, the newest on the right, from zero.
export function curve(values, { label, height = 56 }) {
  const numbers = values.length ? values : [0];
  const top = Math.max(1, ...numbers);
  const step = 100 / Math.max(1, numbers.length - 1);
  const y = (value) => (height - 3 - (value / top) * (height - 8)).toFixed(2);
  const points = numbers.map((value, place) => `${(place * step).toFixed(2)},${y(value)}`);
  return svg("svg.curve", { viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("title", label),
    svg("line.axis", { x1: 0, x2: 100, y1: height - 3, y2: height - 3 }),
    svg("polygon", { points: `0,${height - 3} ${points.join(" ")} 100,${height - 3}` }),
    svg("polyline", { points: points.join(" ") }),
  );
}

// One bar made of parts [{value, kind, label}].
export function stack(parts, { label, whole = null }) {
  const sum = whole ?? parts.reduce((before, part) => before + part.value, 0);
  let x = 0;
  const rects = parts.filter((part) => part.value > 0).map((part) => {
    const rect = svg("rect", { class: part.kind, x: share(x, sum), width: share(part.value, sum), y: 0, height: "100%" },
      svg("title", `${part.label}: ${number(part.value)}`));
    x += part.value;
    return rect;
  });
  return svg("svg.stack", { role: "img", "aria-label": label }, rects);
}

// Bars under each other: [{label, value, text, kind, href, title}].
export function bars(rows, { most = null } = {}) {
  const top = most ?? Math.max(1, ...rows.map((row) => row.value));
  return h("ul.bars", rows.map((row) =>
    h("li", { title: row.title },
      row.href ? h("a.name", { href: row.href }, row.label) : h("span.name", row.label),
      svg("svg.bar", { "aria-hidden": "true" }, svg("rect", { class: row.kind ?? "info", width: share(row.value, top), height: "100%" })),
      h("span.figure", row.text ?? number(row.value)))));
}

// Where the time of an exchange went: steps [{at_ms, what}] on a line of *total* ms, *peer* of them waiting, which ended
// *after* ms before the end.
export function course(steps, total, peer, after) {
  const whole = Math.max(total, 0.001, ...steps.map((step) => step.at_ms));
  const own = Math.max(0, total - peer);
  return svg("svg.course", { role: "img", "aria-label": `${total.toFixed(1)} ms, of which the other party took ${peer.toFixed(1)} ms` },
    svg("rect.own", { x: 0, y: 8, width: "100%", height: 8 }, svg("title", `the gateway itself: ${own.toFixed(2)} ms`)),
    svg("rect.peer", { x: share(after === null ? own / 2 : Math.max(0, total - after - peer), whole), y: 8, width: share(peer, whole), height: 8 }, svg("title", `waiting for the other party: ${peer.toFixed(2)} ms`)),
    steps.map((step) => svg("line.step", { x1: share(step.at_ms, whole), x2: share(step.at_ms, whole), y1: 3, y2: 21 }, svg("title", `${step.at_ms.toFixed(2)} ms: ${step.what}`))));
}

// How long it took, on a scale where 1 ms, 100 ms and 10 s are equally far apart.
export function duration(milliseconds, kind) {
  const place = Math.max(0, Math.min(1, Math.log10(Math.max(0.1, milliseconds) * 10) / 6));
  return svg("svg.duration", { "aria-hidden": "true" }, svg("rect", { class: kind, width: share(Math.max(place, 0.03), 1), height: "100%" }));
}
