// What every page has: commands to copy, this host's own address in them, and the search.
import { found } from "/assets/names.js";

for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without TLS browsers offer no clipboard.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const said = button.textContent;
  try {
    await copy(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it";
  }
  setTimeout(() => (button.textContent = said), 1500);
});

const input = document.getElementById("q");
const list = document.getElementById("found");
const count = document.getElementById("found-count");
let asked = 0;
let chosen = -1;

function choose(number) {
  const items = [...list.children];
  chosen = items.length ? (number + items.length) % items.length : -1;
  items.forEach((item, index) => item.setAttribute("aria-selected", String(index === chosen)));
  if (chosen < 0) input.removeAttribute("aria-activedescendant");
  else {
    input.setAttribute("aria-activedescendant", items[chosen].id);
    items[chosen].scrollIntoView({ block: "nearest" });
  }
}

function show(results) {
  list.replaceChildren(
    ...results.slice(0, 10).map((each, index) => {
      const item = document.createElement("li");
      item.id = `found-${index}`;
      item.role = "option";
      item.dataset.name = each.name;
      item.append(each.name);
      if (each.held) {
        const note = document.createElement("small");
        note.textContent = "on this site";
        item.append(note);
      }
      return item;
    }),
  );
  list.hidden = results.length === 0;
  input.setAttribute("aria-expanded", String(!list.hidden));
  count.textContent = input.value ? `${results.length || "no"} projects found` : "";
  choose(results.length ? 0 : -1);
}

const go = (name) => (location.href = `/project/${name}/`);

input.addEventListener("input", async () => {
  const mine = ++asked;
  const results = await found(input.value);
  if (mine === asked) show(results);
});
input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
  } else if (event.key === "Escape") {
    input.value = "";
    show([]);
  }
});
input.form.addEventListener("submit", (event) => {
  if (list.hidden || chosen < 0) return;
  event.preventDefault();
  go(list.children[chosen].dataset.name);
});
list.addEventListener("pointerdown", (event) => {
  const item = event.target.closest("li");
  if (item) go(item.dataset.name);
});
input.addEventListener("blur", () => show([]));
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea")) return;
  event.preventDefault();
  input.focus();
});
