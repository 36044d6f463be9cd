"use strict";
// What the scripts of all pages share. Names from runs are only ever set as text.

function set(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function make(name, attributes, ...children) {
  const element = set(document.createElement(name), attributes);
  element.append(...children);
  return element;
}

function shape(name, attributes, parent) {
  return parent.appendChild(set(document.createElementNS("http://www.w3.org/2000/svg", name), attributes));
}

const numbers = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
const shown = (value) => (value && Math.abs(value) < 1e-3 ? value.toExponential(2) : numbers.format(value));
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = (values) => -least(values.map((value) => -value));

function copying(button) {
  const source = button.parentElement.querySelector("pre");
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(source); // ready for Ctrl-C where the clipboard is out of reach
    await navigator.clipboard?.writeText(source.textContent).then(
      () => (button.textContent = "Copied"),
      () => (button.textContent = "Selected"),
    );
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const chosen = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = chosen === "dark" ? "light" : "dark";
});
