// All that one search found.
import { found } from "/assets/names.js";

const query = new URLSearchParams(location.search).get("q") ?? "";
document.getElementById("q").value = query;
const results = await found(query);
document.getElementById("asked").textContent = query ? `Projects with “${query}”` : "Projects";
document.getElementById("summary").textContent = query ? `${results.length} found` : "Type a name above.";
document.getElementById("results").replaceChildren(
  ...results.slice(0, 500).map(({ name, held }) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `/project/${name}/`;
    link.textContent = name;
    const note = document.createElement("small");
    note.textContent = held ? " on this site" : "";
    item.append(link, note);
    return item;
  }),
);
