// The table of runs: filtered and sorted in place, chosen runs stay so, and it follows runs that train.

const place = document.getElementById("table");
const filter = document.getElementById("filter");
const chosen = new Set();
let newest = 0; // of the requests

async function renew(address, keep) {
  const number = ++newest;
  const url = new URL(address, location);
  history[keep ? "replaceState" : "pushState"](null, "", url);
  url.searchParams.set("part", "rows");
  const answer = await fetch(url).catch(() => null);
  if (number !== newest || !answer?.ok) return;
  const focused = document.activeElement?.closest?.(".sort")?.textContent;
  place.innerHTML = await answer.text(); // our own template, in which all text is escaped
  filter.elements.sort.value = url.searchParams.get("sort") ?? "";
  [...place.querySelectorAll(".sort")].find((link) => link.textContent === focused)?.focus();
  mark();
}

function mark() {
  const boxes = [...place.querySelectorAll("input[name=run]")];
  for (const box of boxes) box.checked = chosen.has(box.value);
  const button = place.querySelector("button.main");
  if (!button) return;
  const count = boxes.filter((box) => box.checked).length;
  button.disabled = count < 2 || count > 6;
  document.getElementById("chosen").textContent = count ? `${count} chosen, of 2 to 6.` : "Choose 2 to 6 runs.";
}

function current() {
  const values = new URLSearchParams(new FormData(filter));
  return `/?${values}`;
}

if (place) {
  let timer = 0;
  filter.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => renew(current(), true), 250);
  });
  filter.addEventListener("submit", (event) => (event.preventDefault(), renew(current(), false)));
  place.addEventListener("click", (event) => {
    const link = event.target.closest(".sort");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    renew(link.href, false);
  });
  place.addEventListener("change", ({ target }) => {
    chosen[target.checked ? "add" : "delete"](target.value);
    mark();
  });
  addEventListener("popstate", () => location.reload());
  setInterval(() => {
    const alive = Number(place.querySelector("form")?.dataset.alive);
    if (alive && !document.hidden && !place.querySelector("tbody")?.contains(document.activeElement)) {
      renew(location.href, true);
    }
  }, 5000);
  for (const box of place.querySelectorAll("input[name=run]:checked")) chosen.add(box.value);
  mark();
}
