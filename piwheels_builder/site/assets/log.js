// A log beside its error line: lines to link to, words to find. What a build wrote is text here, and nothing else.
import { element, span } from "/assets/words.js";

const PIECE = 500;
const MOST = 200_000;
const [, , project, , attempt] = location.pathname.split("/");
const log = document.getElementById("log");
const needle = document.getElementById("needle");
const raw = `/logs/${project.slice(0, 2)}/${project}/${attempt}.log`;
let lines = [];
let rows = [];
let hits = [];
let at = -1;

function line(text, index) {
  const link = element("a", { href: `#L${index + 1}`, id: `L${index + 1}`, tabIndex: -1 }, String(index + 1));
  return element("div", { className: "line" }, link, element("span", {}, text));
}

function draw(text) {
  lines = text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").split(/\r?\n/);
  const left = lines.length - MOST;
  if (left > 0) lines = lines.slice(-MOST);
  rows = lines.map(line);
  const pieces = [];
  for (let start = 0; start < rows.length; start += PIECE) {
    pieces.push(element("div", { className: "piece" }, ...rows.slice(start, start + PIECE)));
  }
  log.replaceChildren(...pieces);
  log.setAttribute("aria-busy", "false");
}

function mark(index) {
  document.querySelector(".log .at")?.classList.remove("at");
  rows[index]?.classList.add("at");
  rows[index]?.scrollIntoView({ block: "center" });
}

function highlighted(text, word) {
  const parts = [];
  const folded = text.toLowerCase();
  for (let start = 0, next; start <= text.length; start = next + word.length) {
    next = folded.indexOf(word, start);
    if (next < 0) return [...parts, text.slice(start)];
    parts.push(text.slice(start, next), element("mark", {}, text.slice(next, next + word.length)));
  }
  return parts;
}

function find() {
  for (const index of hits) {
    rows[index].classList.remove("hit");
    rows[index].lastChild.replaceChildren(lines[index]);
  }
  const word = needle.value.toLowerCase();
  hits = word ? lines.flatMap((text, index) => (text.toLowerCase().includes(word) ? [index] : [])).slice(0, 2000) : [];
  for (const index of hits) {
    rows[index].classList.add("hit");
    rows[index].lastChild.replaceChildren(...highlighted(lines[index], word));
  }
  at = -1;
  step(1, !word);
}

function step(by, silent = false) {
  const told = document.getElementById("matches");
  if (!hits.length) {
    told.textContent = silent ? "" : "no line";
    return;
  }
  at = (at + by + hits.length) % hits.length;
  told.textContent = `${at + 1} of ${hits.length}`;
  mark(hits[at]);
}

function follow() {
  const asked = /^#L(\d+)$/.exec(location.hash);
  if (asked) mark(Number(asked[1]) - 1);
  return Boolean(asked);
}

async function facts() {
  const reply = await fetch(`/project/${project}/json`).catch(() => null);
  const told = reply?.ok ? await reply.json() : null;
  return told?.attempts.find((each) => String(each.attempt) === attempt);
}

document.getElementById("project").textContent = project;
document.getElementById("project").href = `/project/${project}/`;
document.getElementById("raw").href = raw;
document.getElementById("find").addEventListener("submit", (event) => {
  event.preventDefault();
  step(1);
});
document.getElementById("previous").addEventListener("click", () => step(-1));
needle.addEventListener("input", find);
window.addEventListener("hashchange", follow);

const [its, reply] = await Promise.all([facts(), fetch(raw).catch(() => null)]);
document.getElementById("title").textContent = its ? `${project} ${its.version}` : project;
document.title = `${project}: log · piwheels-builder`;
document.getElementById("facts").textContent = its
  ? `${its.outcome.replaceAll("_", " ")} after ${span(its.seconds)} on ${its.builder}, for ${its.target}`
  : `attempt ${attempt}`;
draw(reply?.ok ? await reply.text() : "The index does not keep this log: logs are kept of attempts that failed.");
if (its?.error_line) {
  const found = lines.lastIndexOf(its.error_line) >= 0 ? lines.lastIndexOf(its.error_line) : lines.findLastIndex((text) => text.includes(its.error_line));
  const notice = document.getElementById("error");
  notice.hidden = false;
  notice.replaceChildren(element("code", {}, its.error_line));
  if (found >= 0) notice.append(" ", element("a", { href: `#L${found + 1}` }, `line ${found + 1}`));
  if (!follow() && found >= 0) rows[found].classList.add("at");
} else follow();
