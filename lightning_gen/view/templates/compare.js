// Runs side by side: one slider moves the pictures of all runs to the same moment.

const specs = JSON.parse(document.getElementById("charts").textContent);
const { runs, series } = JSON.parse(document.getElementById("pictures").textContent);

function together(section) {
  const slider = section.querySelector("input");
  if (!slider) return;
  const { steps, files } = series[section.dataset.pictures];
  const figures = [...section.querySelectorAll("figure")];

  function show() {
    const step = steps[slider.valueAsNumber];
    const moment = `${numbers.format(step)} images`;
    slider.setAttribute("aria-valuetext", moment);
    section.querySelector("output").textContent = moment;
    figures.forEach((figure, n) => {
      const image = figure.querySelector("img");
      const before = Object.keys(files[n]).map(Number).filter((images) => images <= step);
      if (!image) return;
      const at = before.length ? Math.max(...before) : Math.min(...Object.keys(files[n]).map(Number));
      const address = `/runs/${runs[n]}/samples/${encodeURIComponent(files[n][at])}`;
      if (image.getAttribute("src") !== address) image.src = address;
      figure.querySelector(".at").textContent = `after ${at.toLocaleString("en")} images`;
      figure.classList.toggle("other", at !== step);
    });
  }

  slider.addEventListener("input", show);
}

// Small pictures are enlarged by whole factors, as far as there is room.
function enlarge(image) {
  const room = image.parentElement.clientWidth;
  const factor = Math.max(1, Math.min(8, Math.floor(room / image.naturalWidth)));
  image.width = image.naturalWidth * factor;
}

for (const image of document.querySelectorAll(".columns img")) {
  image.addEventListener("load", () => enlarge(image));
  if (image.complete && image.naturalWidth) enlarge(image);
}
document.querySelectorAll("[data-pictures]").forEach(together);
document.querySelectorAll("[data-chart]").forEach((figure) => new Chart(figure, specs[figure.dataset.chart]));
