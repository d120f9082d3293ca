// Places in the queue move while a page stays: work them out again (piwheels_builder/site/waiting.py).
import { number, span } from "/assets/words.js";

function place({ heaps, speed, bias }, target, [priority, memory, estimate]) {
  let before = 0;
  let seconds = 0;
  for (const [its, of_class, builds, amount, points] of heaps[target] ?? []) {
    const order = its - priority || memory - of_class;
    const longer = points.filter((point) => point > estimate).length / points.length;
    const share = order < 0 ? 1 : order === 0 ? longer : 0;
    before += share * builds;
    seconds += share * amount;
  }
  return { before, seconds: speed[target] ? (bias * seconds) / speed[target] : null };
}

const waiting = document.querySelectorAll("[data-queued]");
if (waiting.length) {
  const reply = await fetch("/live/queue.json").catch(() => null);
  const shape = reply?.ok ? await reply.json() : null;
  for (const cell of shape ? waiting : []) {
    const { before, seconds } = place(shape, cell.dataset.target, cell.dataset.queued.split(" ").map(Number));
    const turn = seconds === null ? "nobody builds for this target" : `its turn in ${span(seconds)}`;
    cell.textContent = `about ${number(before)} before it, ${turn}`;
  }
}
