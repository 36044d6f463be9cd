// Curves, drawn as SVG.

const MARGIN = { left: 50, right: 8, top: 8, bottom: 20 };
const HEIGHT = 190;
const COLORS = 6; // of report.css
const EARLY = 0.1; // of the x axis: its values, often far from all others, set the range of the y axis only if asked

function linearTicks(low, high, count) {
  const power = 10 ** Math.floor(Math.log10((high - low) / count));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= (high - low) / count) * power;
  const first = Math.ceil(low / step);
  const ticks = Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, n) => (first + n) * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const [size, unit] = high >= 1e6 ? [1e6, "M"] : high >= 1e4 ? [1e3, "k"] : [1, ""];
  const places = Math.max(0, digits + Math.round(Math.log10(size)));
  const text = (tick) => (digits > 4 ? tick.toExponential(1) : Number((tick / size).toFixed(places)) + unit);
  return ticks.map((tick) => [tick, Math.abs(tick) < step / 2 ? "0" : text(tick)]);
}

function logTicks(low, high) {
  const powers = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) powers.push(power);
  const kept = powers.filter((_, n) => n % Math.ceil(powers.length / 5) === 0);
  const all = kept.flatMap((power) => (powers.length <= 2 ? [1, 2, 5] : [1]).map((factor) => factor * 10 ** power));
  const ticks = all.filter((tick) => tick >= low && tick <= high);
  return ticks.length > 1 ? ticks.map((tick) => [tick, shown(tick)]) : linearTicks(low, high, 4);
}

// The index of the value of a sorted list that is nearest to x.
function nearest(sorted, x) {
  let [low, high] = [0, sorted.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - sorted[low - 1] < sorted[low] - x ? low - 1 : low;
}

class Chart {
  constructor(figure, spec) {
    Object.assign(this, { curves: spec.curves, axis: spec.axis, hidden: new Set(), log: false, whole: false });
    this.at = null; // the x of the pointer; null: the last one
    const tools = make("span", { class: "tools" }, this.toggle("log", `log axis of ${spec.title}`));
    const [all, late] = [this.values(false), this.values(true)];
    this.startsFar = late.length > 10 && most(all) - least(all) > 1.5 * (most(late) - least(late));
    if (this.startsFar) tools.append(this.toggle("whole", `whole range of ${spec.title}`));
    figure.querySelector("figcaption").append(tools);
    this.moment = make("span", { class: "at" });
    this.labels = this.curves.map(() => make("b", {}));
    const legend = make("div", { class: "legend" }, ...this.curves.map((_, n) => this.legendButton(n)), this.moment);
    figure.append(legend);
    const place = { tabindex: 0, role: "slider", "aria-label": `Place on the curves of ${spec.title}` };
    this.svg = shape("svg", place, figure);
    this.clip = `clip-${figure.dataset.chart}`;
    for (const name of ["pointermove", "pointerdown"]) this.svg.addEventListener(name, (event) => this.point(event));
    for (const name of ["pointerleave", "blur"]) this.svg.addEventListener(name, () => this.move(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  toggle(name, label) {
    const button = make("button", { type: "button", "aria-pressed": "false", "aria-label": label }, name);
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", (this[name] = !this[name]));
      this.draw();
    });
    return button;
  }

  legendButton(n) {
    const curve = this.curves[n];
    const name = this.curves.length > 1 ? `${curve.name} ` : "";
    const button = make("button", { type: "button", class: `c${n % COLORS}`, "aria-pressed": "true" }, make("i", {}), name);
    button.append(this.labels[n]);
    button.addEventListener("click", () => {
      if (!this.hidden.delete(curve)) this.hidden.add(curve);
      button.setAttribute("aria-pressed", !this.hidden.has(curve));
      this.draw();
    });
    return button;
  }

  get visible() {
    return this.curves.filter((curve) => !this.hidden.has(curve));
  }

  // All y values that can be drawn, or those after the first stretch of the x axis.
  values(late) {
    const from = late ? EARLY * most(this.curves.map((curve) => curve.x.at(-1))) : -Infinity;
    return this.visible.flatMap(({ x, y }) => y.filter((value, n) => x[n] >= from && (!this.log || value > 0)));
  }

  ranges() {
    const values = this.values(this.startsFar && !this.whole);
    const ends = this.visible.flatMap((curve) => [curve.x[0], curve.x.at(-1)]);
    const left = this.axis === "images" ? 0 : Math.min(1, ...ends);
    const [low, high] = values.length ? [least(values), most(values)] : [1, 2];
    const space = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
    const y = this.log ? [low / 1.1, high * 1.1] : [low - space, high + space];
    return [left, Math.max(left + 1, ...ends), ...y];
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!width) return;
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const [x0, x1, y0, y1] = this.ranges();
    const [right, bottom] = [width - MARGIN.right, HEIGHT - MARGIN.bottom];
    const share = this.log ? (y) => Math.log(y / y0) / Math.log(y1 / y0) : (y) => (y - y0) / (y1 - y0);
    this.range = [x0, x1];
    this.px = (x) => MARGIN.left + ((right - MARGIN.left) * (x - x0)) / (x1 - x0);
    this.py = (y) => bottom - (bottom - MARGIN.top) * share(y);
    for (const [tick, text] of this.log ? logTicks(y0, y1) : linearTicks(y0, y1, 4)) {
      const y = this.py(tick);
      shape("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y }, this.svg);
      shape("text", { x: MARGIN.left - 7, y: y + 4, "text-anchor": "end" }, this.svg).textContent = text;
    }
    for (const [tick, text] of linearTicks(x0, x1, Math.max(2, Math.floor(width / 90)))) {
      const anchor = this.px(tick) > width - 24 ? "end" : "middle";
      shape("text", { x: this.px(tick), y: HEIGHT - 4, "text-anchor": anchor }, this.svg).textContent = text;
    }
    const clip = shape("clipPath", { id: this.clip }, this.svg);
    shape("rect", { x: MARGIN.left, y: 0, width: width - MARGIN.left, height: bottom + 3 }, clip);
    this.curves.forEach((curve, n) => this.hidden.has(curve) || this.drawCurve(curve, n));
    this.marks = shape("g", {}, this.svg);
    this.move(this.at);
  }

  drawCurve(curve, n) {
    const group = shape("g", { class: `c${n % COLORS}`, "clip-path": `url(#${this.clip})` }, this.svg);
    const points = curve.x.map((x, i) => [this.px(x), this.py(curve.y[i])]).filter((point) => isFinite(point[1]));
    const path = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    shape("path", { d: path }, group);
    if (points.length <= 30) for (const [x, y] of points) shape("circle", { cx: x, cy: y, r: 2.2 }, group);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    this.move(this.range[0] + Math.min(1, Math.max(0, share)) * (this.range[1] - this.range[0]));
  }

  key(event) {
    const { x } = this.visible.reduce((a, b) => (b.x.length > a.x.length ? b : a), { x: [] });
    const [now, end] = [nearest(x, this.at ?? Infinity), x.length - 1];
    const page = Math.max(1, Math.round(x.length / 20));
    const keys = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: end };
    const next = { ...keys, PageDown: now - page, PageUp: now + page }[event.key];
    if (next === undefined || !x.length) return;
    event.preventDefault();
    this.move(x[Math.min(end, Math.max(0, next))]);
  }

  // Show the values at x; at null the last ones.
  move(x) {
    if (!this.marks) return;
    this.at = x;
    this.marks.replaceChildren();
    const place = x ?? this.range[1];
    const found = this.curves.map((curve) => nearest(curve.x, place));
    const moments = this.curves.map((curve, n) => curve.x[found[n]]);
    const moment = moments.reduce((a, b) => (Math.abs(b - place) < Math.abs(a - place) ? b : a));
    if (x !== null) {
      const at = this.px(moment);
      shape("line", { class: "cross", x1: at, x2: at, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }, this.marks);
    }
    this.curves.forEach((curve, n) => {
      const y = this.py(curve.y[found[n]]);
      this.labels[n].textContent = shown(curve.y[found[n]]);
      if (x === null || this.hidden.has(curve) || !isFinite(y)) return;
      const group = shape("g", { class: `c${n % COLORS}`, "clip-path": `url(#${this.clip})` }, this.marks);
      shape("circle", { cx: this.px(moments[n]), cy: y, r: 3.6 }, group);
    });
    this.moment.textContent = this.axis === "images" ? `at ${numbers.format(moment)} images` : `at ${moment}`;
    const values = this.curves.map((curve, n) => `${curve.name} ${this.labels[n].textContent}`).join(", ");
    const state = { "aria-valuemin": this.range[0], "aria-valuemax": this.range[1], "aria-valuenow": moment };
    set(this.svg, { ...state, "aria-valuetext": `${this.moment.textContent}: ${values}` });
  }
}
