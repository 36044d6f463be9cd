// Pictures over the course of a run, and animations.

function slides(figure) {
  const slider = figure.querySelector("input[type=range]");
  if (!slider) return;
  const images = [...figure.querySelectorAll(".frame img")];
  const moments = images.map((image) => image.alt.match(/[\d,]+ images$/)?.[0] ?? "");
  const last = images.length - 1;
  const thumbs = new Map();
  for (let n = 0; n < Math.min(10, images.length); n++) {
    const index = Math.round((n * last) / (Math.min(10, images.length) - 1));
    const small = make("img", { alt: "", src: images[index].src });
    thumbs.set(index, make("button", { type: "button", tabindex: -1, title: moments[index] }, small));
    thumbs.get(index).addEventListener("click", () => show(index));
  }
  figure.querySelector(".strip").append(...thumbs.values());
  const word = figure.querySelector(".play span");
  let timer = 0;

  function show(index) {
    slider.value = index;
    images.forEach((image, other) => (image.hidden = other !== index));
    thumbs.forEach((thumb, other) => thumb.toggleAttribute("data-on", other === index));
    slider.setAttribute("aria-valuetext", moments[index]);
    figure.querySelector("output").textContent = moments[index];
    figure.dispatchEvent(new Event("shown"));
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    word.textContent = "Play";
  }

  slider.addEventListener("input", () => (stop(), show(slider.valueAsNumber)));
  word.parentElement.addEventListener("click", () => {
    if (timer) return stop();
    word.textContent = "Stop";
    if (slider.valueAsNumber === last) show(0);
    timer = setInterval(() => {
      show(slider.valueAsNumber + 1);
      if (slider.valueAsNumber === last) stop();
    }, 350);
  });
  show(last);
}

// GIFs play by themselves; a button covers them with a still picture. Those who prefer less motion begin with it.
function pausable(frame) {
  const images = [...frame.querySelectorAll("img")];
  if (!images[0].src.startsWith("data:image/gif")) return;
  const canvas = make("canvas", { "aria-hidden": "true", hidden: "" });
  const button = make("button", { type: "button", class: "pause" });
  frame.append(canvas, button);
  let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;

  async function update() {
    const image = images.find((each) => !each.hidden);
    button.textContent = paused ? "Play animation" : "Pause animation";
    await image.decode();
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.className = image.className; // enlarged likewise
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.hidden = !paused;
  }

  button.addEventListener("click", () => update((paused = !paused)));
  frame.closest("figure").addEventListener("shown", update);
  update();
}
