// The page of a checkpoint: what the model can do is asked first, and nothing else is shown.

const root = document.getElementById("play");
const by = (id) => document.getElementById(id);
const SHOWN_SLIDERS = 12;
const VARIETY = { truncates: "truncation", tempers: "temperature" }; // sliders, by what the model needs for them
let about = null; // what the model can do
let point = null; // the latents that are shown, and those that the sliders go back to
let origin = null;
const picks = { start: null, end: null };

class Refused extends Error {}

async function ask(action, values = {}, body = null) {
  const address = new URL(`/play/${root.dataset.run}/${encodeURIComponent(root.dataset.checkpoint)}/${action}`, location);
  const settings = { label: by("label").value };
  for (const [need, id] of Object.entries(VARIETY)) if (about?.[need]) settings[id] = by(id).value;
  for (const [name, value] of Object.entries({ ...settings, ...values })) address.searchParams.set(name, value);
  const answer = await fetch(address, { method: "POST", body });
  const content = await answer.json().catch(() => ({ error: `the server has answered ${answer.status}` }));
  if (!answer.ok) throw new Refused(content.error);
  return content;
}

function tell(text, warning = false) {
  by("status").textContent = text;
  by("status").className = warning ? "warning" : "quiet";
}

// Run `work` with the button off; what fails is said below the title.
async function busy(button, work) {
  const start = performance.now();
  button.disabled = true;
  const timer = setInterval(() => tell(`Working … ${Math.round((performance.now() - start) / 1000)} s`), 1000);
  try {
    await work();
    tell(`Done in ${Math.round(performance.now() - start)} ms`);
  } catch (error) {
    tell(error instanceof Refused ? error.message : "The server can't be reached; is it still running?", true);
  } finally {
    clearInterval(timer);
    button.disabled = false;
  }
}

function on(id, work) {
  by(id).addEventListener("click", () => busy(by(id), work));
}

// Show a picture, with a link that saves it.
function show(id, picture, name = id, saving = true) {
  const type = picture.kind === "mp4" ? "video/mp4" : `image/${picture.kind}`;
  const source = `data:${type};base64,${picture.data}`;
  const place = by(id);
  const kind = picture.kind === "mp4" ? "video" : "img";
  let element = place.querySelector(kind);
  if (!element) {
    element = make(kind, kind === "img" ? { alt: place.getAttribute("aria-label") ?? name } : { controls: "", loop: "" });
    place.replaceChildren(element);
    if (saving) place.append(make("a", { class: "save" }, "Download"));
  }
  Object.assign(element, { src: source, width: picture.width, height: picture.height });
  if (saving) set(place.querySelector(".save"), { href: source, download: `${name}.${picture.kind}` });
}

// Latents ----------------------------------------------------------------------------------------------------------

let waiting = false; // an image is being drawn
let stale = false; // and the latents have changed since

async function redraw() {
  stale = true;
  if (waiting) return;
  waiting = true;
  try {
    while (stale) {
      stale = false;
      show("image", await ask("decode", {}, JSON.stringify({ point })));
    }
  } catch (error) {
    tell(error instanceof Refused ? error.message : "The server can't be reached; is it still running?", true);
  } finally {
    waiting = false;
  }
}

function slider(place, n) {
  const range = make("input", { type: "range", min: -3, max: 3, step: 0.05, id: `latent-${place}` });
  const value = make("output", { for: range.id });
  const effect = about.latent.effects[n] / (about.latent.effects[0] || 1);
  const bar = make("span", { class: "effect", title: `changes pixels by ${numbers.format(about.latent.effects[n])} of 255` });
  bar.style.setProperty("--share", effect);
  range.addEventListener("input", () => {
    point[place] = range.valueAsNumber;
    value.textContent = range.valueAsNumber.toFixed(2);
    redraw();
  });
  const line = make("div", { class: "latent" }, make("label", { for: range.id }, `${about.latent.space} ${place}`), bar);
  line.append(range, value);
  line.dataset.place = place;
  return line;
}

function drawSliders(count) {
  by("sliders").replaceChildren(...about.latent.order.slice(0, count).map(slider));
  by("more").hidden = count >= about.latent.order.length;
  by("more").textContent = `Show all ${about.latent.order.length}`;
  placeSliders();
}

function placeSliders() {
  for (const line of by("sliders").children) {
    const value = point ? point[line.dataset.place] : 0;
    line.querySelector("input").value = value;
    line.querySelector("output").textContent = value.toFixed(2);
  }
}

function move(to) {
  [point, origin] = [[...to], [...to]];
  placeSliders();
}

async function fromSeed() {
  const drawn = await ask("point", { seed: by("seed").value });
  move(drawn.point);
  show("image", drawn);
}

function pick(name) {
  picks[name] = [...point];
  const image = by("image").querySelector("img");
  by(name).replaceChildren(make("img", { src: image.src, alt: `Pick ${name === "start" ? "A" : "B"}`, width: 112 }));
}

// Drawing ----------------------------------------------------------------------------------------------------------

class Easel {
  constructor(canvas, [channels, height, width]) {
    Object.assign(this, { canvas, height, width, channels, at: [width >> 1, height >> 2], painting: false });
    [canvas.width, canvas.height] = [width, height];
    this.factor = Math.max(1, Math.round(320 / Math.max(width, height)));
    canvas.style.width = `${width * this.factor}px`;
    this.context = canvas.getContext("2d");
    this.clear();
    set(by("row"), { max: height - 1 });
    by("row").value = height >> 1;
    this.rows();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.painting = true;
      this.stroke(event);
    });
    canvas.addEventListener("pointermove", (event) => this.painting && this.stroke(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (this.painting = false));
    canvas.addEventListener("keydown", (event) => this.key(event));
    by("row").addEventListener("input", () => this.rows());
  }

  clear() {
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, this.width, this.height);
  }

  rows() {
    const rows = by("row").valueAsNumber;
    document.querySelector("output[for=row]").textContent = `${rows} of ${this.height} are given`;
    by("line").style.top = `${(100 * rows) / this.height}%`;
  }

  stroke(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.width;
    this.dot(x, ((event.clientY - box.top) / box.height) * this.height);
  }

  dot(x, y) {
    this.context.fillStyle = by("brush").value;
    const size = Math.max(1, Math.round(this.width / 14));
    this.context.fillRect(Math.round(x - size / 2), Math.round(y - size / 2), size, size);
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const [x, y] = this.at;
    this.at = [Math.min(this.width, Math.max(0, x + step[0])), Math.min(this.height, Math.max(0, y + step[1]))];
    if (event.key === " " || event.shiftKey) this.dot(...this.at);
    tell(`Brush at column ${this.at[0]}, row ${this.at[1]}`);
  }

  async load(source) {
    const image = new Image();
    image.src = source;
    await image.decode();
    const scale = Math.max(this.width / image.width, this.height / image.height);
    const [w, h] = [image.width * scale, image.height * scale];
    this.context.drawImage(image, (this.width - w) / 2, (this.height - h) / 2, w, h);
  }

  blob() {
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }
}

// The page ---------------------------------------------------------------------------------------------------------

function reveal() {
  const can = { ...about, picture: about.reconstructs || about.projects };
  for (const part of document.querySelectorAll("[data-needs]")) part.hidden = !can[part.dataset.needs];
  by("settings").hidden = !(about.classes || about.truncates || about.tempers);
  for (const select of [by("format"), by("predict-format")]) {
    select.append(...about.formats.map((format) => make("option", {}, format)));
  }
  (about.classes ?? []).forEach((name, n) => by("label").append(make("option", { value: n }, name)));
  const shape = about.shape.join(" × ");
  by("facts").textContent = ` · ${about.model} · ${shape} · after ${about.images.toLocaleString("en")} images`;
}

function listenToLatents() {
  drawSliders(SHOWN_SLIDERS);
  by("more").addEventListener("click", () => drawSliders(Infinity));
  by("seed").addEventListener("change", () => busy(by("random"), fromSeed));
  for (const id of ["label", ...Object.values(VARIETY)]) by(id).addEventListener("change", () => busy(by("random"), fromSeed));
  on("random", () => {
    by("seed").value = Math.floor(Math.random() * 2 ** 31);
    return fromSeed();
  });
  on("back", async () => {
    move(origin);
    await redraw();
  });
  for (const name of ["start", "end"]) by(`pick-${name}`).addEventListener("click", () => pick(name));
  on("interpolate", async () => {
    for (const name of ["start", "end"]) if (!picks[name]) throw new Refused(`Pick ${name === "start" ? "A" : "B"} first`);
    const values = { steps: by("frames").value, format: by("format").value };
    by("path").replaceChildren();
    show("path", await ask("interpolate", values, JSON.stringify(picks)), "interpolation");
  });
}

function listenToPictures() {
  const chosen = () => by("file").files[0];
  let found = null;
  by("file").addEventListener("change", () => {
    for (const id of ["reconstruct", "project"]) by(id).disabled = !chosen();
  });
  const made = async (action, values, body) => {
    const answer = await ask(action, values, body);
    show("picture", answer, action);
    found = answer.point ?? null;
    by("use").hidden = !found;
    if (answer.note) by("picture").append(make("p", { class: "quiet" }, answer.note));
  };
  const renewed = (...asked) => (by("picture").replaceChildren(), made(...asked));
  on("reconstruct", () => renewed("reconstruct", {}, chosen()));
  on("project", () => renewed("project", { steps: by("steps").value }, chosen()));
  on("from-data", () => renewed("reconstruct", {}, null));
  on("use", async () => {
    move(found);
    await redraw();
    by("latents-title").scrollIntoView();
  });
}

function listenToDrawing() {
  const easel = new Easel(by("canvas"), about.shape);
  by("clear").addEventListener("click", () => easel.clear());
  by("canvas-file").addEventListener("change", () => {
    const [file] = by("canvas-file").files;
    if (!file) return;
    const address = URL.createObjectURL(file);
    easel.load(address).catch(() => tell("This file is no picture that the browser can read", true));
  });
  let number = 0;
  on("from-given", async () => {
    const picture = await ask("given", { seed: number++ });
    await easel.load(`data:image/png;base64,${picture.data}`);
  });
  on("complete", async () => {
    const values = { rows: by("row").value, seed: by("complete-seed").value };
    show("completed", await ask("complete", values, await easel.blob()), "completions");
  });
}

function listenToPredictions() {
  by("context").value = about.predicts.context;
  on("predict", async () => {
    const values = { context: by("context").value, steps: by("predict-steps").value, seed: by("predict-seed").value };
    const answer = await ask("predict", { ...values, format: by("predict-format").value }, by("clip").files[0] ?? null);
    by("prediction").replaceChildren();
    show("prediction", answer, "prediction");
    show("film", answer.film, "film");
  });
}

async function begin() {
  about = await ask("describe");
  reveal();
  for (const id of Object.values(VARIETY)) {
    by(id).addEventListener("input", () => {
      const value = by(id).valueAsNumber;
      const off = id === "truncation" ? "none" : "1";
      document.querySelector(`output[for=${id}]`).textContent = value < 1 ? value.toFixed(2) : off;
    });
  }
  on("sample", async () => show("samples", await ask("samples", { n: by("n").value, seed: by("sample-seed").value })));
  if (about.latent) listenToLatents();
  if (about.classes) {
    const values = () => ({ n: by("columns").value, seed: by("rows-seed").value });
    on("rows", async () => show("class-rows", await ask("rows", values()), "classes"));
  }
  if (about.reconstructs || about.projects) listenToPictures();
  if (about.completes) listenToDrawing();
  if (about.predicts) listenToPredictions();
  if (about.latent) await fromSeed();
}

by("settings").addEventListener("submit", (event) => event.preventDefault());
begin().then(
  () => tell("Ready"),
  (error) => tell(error instanceof Refused ? error.message : "The server can't be reached; is it still running?", true),
);
