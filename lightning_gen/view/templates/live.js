
// The page of a run follows it: small requests tell of new pictures or scores, and only then sections are renewed.

const { run } = document.getElementById("live").dataset;
const SECTIONS = ["samples", "scores", "curves", "log"];
let version = null;

// Whether somebody looks at an older picture, or uses a control in the section: it then stays as it is.
function inUse(section) {
  const sliders = [...section.querySelectorAll("input[type=range]")];
  return section.contains(document.activeElement) || sliders.some((slider) => slider.value !== slider.max);
}

async function renew() {
  const text = await (await fetch(location.pathname)).text();
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const specs = JSON.parse(fresh.getElementById("charts").textContent);
  document.querySelector("header").replaceWith(fresh.querySelector("header"));
  for (const id of SECTIONS) {
    const [old, section] = [document.getElementById(id), fresh.getElementById(id)];
    if (!section || (old && inUse(old))) continue;
    if (old) old.replaceWith(section);
    else document.getElementById("main").prepend(section);
    enliven(section, specs);
  }
}

async function follow() {
  const answer = await fetch(`/runs/${run}/state`).catch(() => null);
  if (answer?.ok) {
    const now = await answer.json();
    const changed = version !== null && (now.version !== version || now.state !== "running");
    version = now.version;
    const bar = document.querySelector("header progress");
    if (bar && now.images) bar.value = now.images;
    if (changed) await renew();
    if (now.state !== "running") return;
  }
  setTimeout(follow, document.hidden ? 15000 : 3000);
}

follow();
