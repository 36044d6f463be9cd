// The page of a run.

function enliven(root, specs) {
  root.querySelectorAll("[data-series]").forEach(slides);
  root.querySelectorAll(".frame").forEach(pausable);
  root.querySelectorAll("[data-chart]").forEach((figure) => new Chart(figure, specs[figure.dataset.chart]));
  root.querySelectorAll(".copy").forEach(copying);
}

enliven(document, JSON.parse(document.getElementById("charts").textContent));
