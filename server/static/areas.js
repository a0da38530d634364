// Polygons drawn on a picture, with the pointer or the keyboard. Corners are shares of the picture, 0 to 1 from the upper left.

const NS = "http://www.w3.org/2000/svg";
const STEP = 0.01, FAR = 0.05, NEAR = 0.02, MOST = 64;
const within = (value) => Math.min(Math.max(value, 0), 1);

function element(name, attributes) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class Areas {
  #svg; #changed; #editable; #before;
  #kind = null; #corners = [];      // the polygon that is being drawn
  #chosen = null;                   // { kind, at }
  #cursor = { x: 0.5, y: 0.5 };     // where the next corner would be, for the keyboard

  constructor(svg, { zones, masks, editable, changed }) {
    Object.assign(this, { zones, masks });
    this.#svg = svg;
    this.#editable = editable;
    this.#changed = changed;
    this.#before = JSON.stringify([zones, masks]);
    if (editable) {
      svg.addEventListener("pointerdown", (event) => this.#press(event));
      svg.addEventListener("pointermove", (event) => this.#move(event));
      svg.addEventListener("keydown", (event) => this.#key(event));
    }
    new ResizeObserver(() => this.#draw()).observe(svg);
    this.#draw();
  }

  /** Begin a polygon of "zones" or "masks". */
  begin(kind) {
    this.#kind = kind;
    this.#corners = [];
    this.#chosen = null;
    this.#svg.focus();
    this.#draw();
  }

  /** End it; fewer than three corners are nothing. */
  finish() {
    if (this.#kind && this.#corners.length >= 3) {
      this[this.#kind].push(this.#corners);
      this.#chosen = { kind: this.#kind, at: this[this.#kind].length - 1 };
    }
    this.#kind = null;
    this.#corners = [];
    this.#draw();
  }

  /** Remove what is being drawn, or the chosen polygon. */
  erase() {
    if (!this.#kind && this.#chosen) this[this.#chosen.kind].splice(this.#chosen.at, 1);
    this.#kind = this.#chosen = null;
    this.#corners = [];
    this.#draw();
  }

  #place(event) {
    const box = this.#svg.getBoundingClientRect();
    return { x: within((event.clientX - box.left) / box.width), y: within((event.clientY - box.top) / box.height) };
  }

  #add({ x, y }) {
    const [first] = this.#corners;
    const box = this.#svg.getBoundingClientRect();
    const closes = first && this.#corners.length >= 3 && Math.hypot((x - first[0]) * box.width, (y - first[1]) * box.height) < NEAR * box.width;
    if (closes) return this.finish();
    if (this.#corners.length < MOST) this.#corners.push([Number(x.toFixed(4)), Number(y.toFixed(4))]);
    this.#draw();
  }

  #press(event) {
    if (event.button) return;
    const place = this.#place(event);
    if (this.#kind) return this.#add(place);
    const { kind, at, corner } = event.target.dataset;
    this.#chosen = kind ? { kind, at: Number(at) } : null;
    if (corner !== undefined) this.#drag(event, this[kind][Number(at)][Number(corner)]);
    this.#draw();
  }

  #drag(event, corner) {
    event.preventDefault();
    this.#svg.setPointerCapture(event.pointerId);
    const move = (moved) => {
      const { x, y } = this.#place(moved);
      corner[0] = Number(x.toFixed(4));
      corner[1] = Number(y.toFixed(4));
      this.#draw();
    };
    this.#svg.addEventListener("pointermove", move);
    this.#svg.addEventListener("pointerup", () => this.#svg.removeEventListener("pointermove", move), { once: true });
  }

  #move(event) {
    if (!this.#kind) return;
    this.#cursor = this.#place(event);
    this.#draw();
  }

  // Arrows move the cursor (with Shift further), Enter sets a corner, Escape gives up, Delete erases; without a polygon begun,
  // arrows move the chosen one and [ and ] choose another.
  #key(event) {
    const far = event.shiftKey ? FAR : STEP;
    const by = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    if (by && this.#kind) this.#cursor = { x: within(this.#cursor.x + by[0]), y: within(this.#cursor.y + by[1]) };
    else if (by && this.#chosen) this.#shift(by);
    else if (event.key === "Enter" && this.#kind) this.#add(this.#cursor);
    else if (event.key === "Escape" && this.#kind) this.erase();
    else if (["Delete", "Backspace"].includes(event.key)) this.erase();
    else if (event.key === "[" || event.key === "]") this.#next(event.key === "]" ? 1 : -1);
    else return;
    event.preventDefault();
    this.#draw();
  }

  #shift([x, y]) {
    const polygon = this[this.#chosen.kind][this.#chosen.at];
    if (polygon.some((corner) => corner[0] + x < 0 || corner[0] + x > 1 || corner[1] + y < 0 || corner[1] + y > 1)) return;
    for (const corner of polygon) {
      corner[0] = Number((corner[0] + x).toFixed(4));
      corner[1] = Number((corner[1] + y).toFixed(4));
    }
  }

  #next(by) {
    const all = ["zones", "masks"].flatMap((kind) => this[kind].map((_, at) => ({ kind, at })));
    if (!all.length) return;
    const now = all.findIndex((one) => one.kind === this.#chosen?.kind && one.at === this.#chosen?.at);
    this.#chosen = all[(now + by + all.length) % all.length];
  }

  #draw() {
    const box = this.#svg.getBoundingClientRect();
    const [rx, ry] = [6 / (box.width || 1), 6 / (box.height || 1)];
    const shapes = [];
    for (const kind of ["zones", "masks"]) {
      for (const [at, polygon] of this[kind].entries()) {
        const chosen = this.#chosen?.kind === kind && this.#chosen.at === at;
        const style = `${kind === "zones" ? "blackened" : "calm"}${chosen ? " chosen" : ""}`;
        shapes.push(element("polygon", { points: polygon.join(" "), class: style, "data-kind": kind, "data-at": at }));
        if (chosen && this.#editable) {
          for (const [index, [cx, cy]] of polygon.entries()) shapes.push(element("ellipse", { cx, cy, rx, ry, "data-kind": kind, "data-at": at, "data-corner": index }));
        }
      }
    }
    if (this.#kind) {
      const { x, y } = this.#cursor;
      shapes.push(element("polyline", { points: [...this.#corners, [x, y]].join(" "), class: this.#kind === "zones" ? "blackened" : "calm" }));
      for (const [cx, cy] of [...this.#corners, [x, y]]) shapes.push(element("ellipse", { cx, cy, rx, ry }));
    }
    this.#svg.replaceChildren(...shapes);
    this.#changed({ dirty: JSON.stringify([this.zones, this.masks]) !== this.#before, drawing: this.#kind !== null, chosen: this.#chosen !== null });
  }
}
