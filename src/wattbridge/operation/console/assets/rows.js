// A list of any length: only what is seen is in the page. Rows are of one height, `--row` in the style sheet.

import { h } from "./dom.js";

const AROUND = 8; // rows drawn above and below what is seen

export class Rows {
  // *columns* are [class, heading]; *draw(item)* gives a list of cells' content, one for each column;
  // *key(item)* is unique. *kind* is the class that lays the columns out.
  constructor({ label, kind, columns, draw, key, describe, onSelect, onOpen, onEnd, onScroll }) {
    Object.assign(this, { columns, draw, key, describe, onSelect, onOpen, onEnd, onScroll });
    this.items = [];
    this.shown = new Map(); // key → {element, item}
    this.selected = null; // key
    this.kind = kind;
    this.space = h("div.space", { role: "rowgroup" });
    this.element = h(
      `div.rows.${kind}`,
      { role: "grid", "aria-label": label, "aria-readonly": "true", tabindex: "0", "data-own": true, "data-key": `rows-${kind}` },
      h("div.head", { role: "rowgroup" },
        h("div.row", { role: "row" }, columns.map(([name, heading]) => h("div", { class: name, role: "columnheader" }, heading)))),
      this.space,
    );
    this.element.addEventListener("scroll", () => {
      this.schedule();
      this.onScroll?.(this.element.scrollTop);
    }, { passive: true });
    this.element.addEventListener("keydown", (event) => this.keydown(event));
    this.space.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (!row || event.target.closest("a[href]:not(.row), button")) return;
      const item = this.items.find((one) => this.key(one) === row.dataset.id);
      if (item) this.choose(item, { open: true });
    });
    new ResizeObserver(() => this.schedule()).observe(this.element);
  }

  set(items) {
    this.items = items;
    this.schedule();
  }

  // Put *items* on top. Where one has scrolled away from the top, or looks at a row, what is seen stays where
  // it is.
  prepend(items, most) {
    if (!items.length) return;
    const away = this.element.scrollTop > this.height / 2 || this.selected !== null;
    this.items = items.concat(this.items).slice(0, most);
    this.layOut();
    if (away) this.element.scrollTop += items.length * this.height;
    this.render();
  }

  get height() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 32;
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.layOut();
      this.render();
    });
  }

  layOut() {
    this.space.style.height = `${this.items.length * this.height}px`;
    this.element.setAttribute("aria-rowcount", String(this.items.length + 1));
  }

  render() {
    const { height } = this;
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - AROUND);
    const last = Math.min(this.items.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / height) + AROUND);
    const seen = new Set();
    for (let place = first; place < last; place += 1) {
      const item = this.items[place];
      const key = this.key(item);
      seen.add(key);
      let row = this.shown.get(key);
      if (!row || row.item !== item) {
        row?.element.remove();
        row = { item, element: this.row(item, key) };
        this.shown.set(key, row);
        this.space.append(row.element);
      }
      row.element.style.transform = `translateY(${place * height}px)`;
      row.element.setAttribute("aria-rowindex", String(place + 2));
      row.element.classList.toggle("odd", place % 2 === 1);
      row.element.setAttribute("aria-selected", String(key === this.selected));
    }
    for (const [key, row] of this.shown) {
      if (!seen.has(key)) {
        row.element.remove();
        this.shown.delete(key);
      }
    }
    if (this.selected !== null && seen.has(this.selected)) {
      this.element.setAttribute("aria-activedescendant", this.shown.get(this.selected).element.id);
    } else this.element.removeAttribute("aria-activedescendant");
    if (this.items.length && last >= this.items.length - AROUND) this.onEnd?.();
  }

  row(item, key) {
    const cells = this.draw(item);
    const element = h("div.row", { role: "row", id: `${this.kind}-${key}`.replace(/[^\w-]/g, (char) => `_${char.codePointAt(0)}`), "data-id": key });
    if (cells.whole) element.append(h("div.whole", { role: "gridcell", "aria-colspan": String(this.columns.length) }, cells.whole));
    else element.append(...cells.map((cell, place) => h("div", { class: this.columns[place][0], role: "gridcell" }, cell)));
    element.classList.add(...(cells.classes ?? []));
    return element;
  }

  // Draw again what depends on the clock.
  redraw() {
    for (const row of this.shown.values()) row.item = null;
    this.schedule();
  }

  index() {
    return this.selected === null ? -1 : this.items.findIndex((item) => this.key(item) === this.selected);
  }

  // Select without telling anybody: the address has said so.
  mark(key) {
    this.selected = key;
    this.schedule();
  }

  choose(item, { open = false } = {}) {
    this.selected = this.key(item);
    this.reveal(this.index());
    this.schedule();
    this.onSelect?.(item);
    if (open) this.onOpen?.(item);
  }

  reveal(place) {
    if (place < 0) return;
    const { height } = this;
    const head = this.element.querySelector(".head").offsetHeight;
    const top = place * height;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + height > scrollTop + clientHeight - head) this.element.scrollTop = top + height - clientHeight + head;
  }

  // The next one down or up; from none, the first.
  move(steps) {
    if (!this.items.length) return;
    let place = Math.min(this.items.length - 1, Math.max(0, this.index() + steps));
    if (this.index() < 0) place = Math.min(this.items.length - 1, Math.ceil(this.element.scrollTop / this.height));
    while (this.items[place]?.gap && this.items[place + Math.sign(steps)]) place += Math.sign(steps);
    if (!this.items[place].gap) this.choose(this.items[place]);
  }

  open() {
    const place = this.index();
    if (place >= 0) this.onOpen?.(this.items[place]);
  }

  keydown(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (steps === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (Number.isFinite(steps)) this.move(steps);
    else if (this.items.length) this.choose(steps < 0 ? this.items[0] : this.items[this.items.length - 1]);
  }
}
