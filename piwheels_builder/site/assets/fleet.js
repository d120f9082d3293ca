// Draws the builders anew while somebody watches.
import { element, number, size, span } from "/assets/words.js";

const EVERY = 10_000;
let etag = null;

function standing(builder) {
  if (builder.standing !== "active") return [builder.standing, "s-parked"];
  if (builder.silent) return ["silent", "s-failed"];
  return builder.building.length ? ["building", "s-building"] : ["idle", "s-skipped"];
}

function build(each) {
  const link = element("a", { href: `/project/${each.project}/` }, element("b", {}, each.project), ` ${each.version}`);
  return element("li", {}, link, " ", element("small", {}, element("code", {}, each.target), ` since ${span(each.seconds)}`));
}

function fact(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value));
}

const spool = ({ builds, seconds }) => (builds ? `${number(builds)} build${builds === 1 ? "" : "s"}, ${span(seconds)}` : "empty");

const known = (value) => value !== null;

function* condition({ temperature, memory_free: free, memory_total: total, disk_free: disk }) {
  if (known(temperature)) yield fact("processor", `${Math.round(temperature)} °C`);
  if (known(free)) yield fact("free memory", known(total) ? `${size(free)} of ${size(total)}` : size(free));
  if (known(disk)) yield fact("free disk", size(disk));
}

function card(builder, index) {
  const [word, style] = standing(builder);
  const seen = builder.last_seen ? `${span((Date.now() - Date.parse(builder.last_seen)) / 1000)} ago` : "never";
  const building = builder.building.map(build);
  return element(
    "article",
    { className: builder.silent ? "pi is-silent" : "pi", "aria-labelledby": `b-${index + 1}` },
    element("header", {}, element("h2", { id: `b-${index + 1}` }, builder.name), element("p", { className: `state ${style}` }, word)),
    ...(builder.reason ? [element("p", { className: "reason" }, builder.reason)] : []),
    ...(builder.condition.trouble.length ? [element("p", { className: "trouble" }, builder.condition.trouble.join(", "))] : []),
    element("ul", { className: "now" }, ...(building.length ? building : [element("li", { className: "none" }, "nothing at the moment")])),
    element(
      "dl",
      {},
      fact("spool", spool(builder.spool)),
      fact("slots", String(builder.slots)),
      fact("memory", builder.memory),
      ...condition(builder.condition),
      fact("last seen", seen),
    ),
  );
}

async function look() {
  if (document.hidden) return;
  const reply = await fetch("/live/fleet.json", { cache: "no-cache" }).catch(() => null);
  if (!reply?.ok || reply.headers.get("etag") === etag) return;
  etag = reply.headers.get("etag");
  const told = await reply.json();
  if (document.activeElement?.closest("#fleet")) return;
  document.getElementById("fleet").replaceChildren(...told.builders.map(card));
  document.getElementById("as-of").textContent = `as of ${told.at.replace("T", " ").replace("Z", " UTC")}`;
}

setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);
await look();
