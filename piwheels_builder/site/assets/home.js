// The chart of attempts over time, drawn from the JSON that the tables below it are made of.
const place = document.getElementById("chart");
const KINDS = ["built", "failed", "faults"];
let told;
let shown = "hours";
let chart;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Hours without an attempt are not told: they are nothing, and have a place all the same.
function filled(series, step) {
  const known = new Map(Object.entries(series).map(([when, counts]) => [Date.parse(when.length > 10 ? when.replace("Z", ":00Z") : when) / 1000, counts]));
  const moments = [...known.keys()].sort((a, b) => a - b);
  if (!moments.length) return [[], [], [], []];
  const first = step === 3600 ? moments.at(-1) - 47 * 3600 : Math.min(moments[0], moments.at(-1) - 13 * step);
  const columns = [[], [], [], []];
  for (let when = first; when <= moments.at(-1); when += step) {
    columns[0].push(when);
    KINDS.forEach((kind, index) => columns[index + 1].push(known.get(when)?.[kind] ?? 0));
  }
  return columns;
}

// Each kind stands on those before it, so the tallest is drawn first.
function stacked([when, built, failed, faults]) {
  const shownIf = (number, total) => (number ? total : null);
  const both = built.map((number, index) => number + failed[index]);
  return [
    when,
    faults.map((number, index) => shownIf(number, both[index] + number)),
    failed.map((number, index) => shownIf(number, both[index])),
    built.map((number) => number || null),
  ];
}

function hatched() {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour("--failed");
  pen.lineWidth = 2.4;
  pen.beginPath();
  for (const shift of [-6, 0, 6]) pen.moveTo(shift, 6), pen.lineTo(shift + 6, 0);
  pen.stroke();
  return pen.createPattern(tile, "repeat");
}

const two = (count) => String(count).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const day = (when) => `${new Date(when * 1000).getUTCDate()} ${MONTHS[new Date(when * 1000).getUTCMonth()]}`;
const hour = (when) => (when % 86400 ? `${two(new Date(when * 1000).getUTCHours())}:00` : day(when));

function draw() {
  const step = shown === "hours" ? 3600 : 86400;
  const columns = filled(told[shown], step);
  chart?.destroy();
  place.replaceChildren();
  const bars = uPlot.paths.bars({ size: [0.8, 48], align: 0 });
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const kind = (label, fill, stroke) => ({ label, fill, stroke, width: 1, paths: bars, points: { show: false } });
  chart = new uPlot(
    {
      width: place.clientWidth,
      height: 240,
      legend: { show: false },
      cursor: { show: false },
      tzDate: (when) => uPlot.tzDate(new Date(when * 1000), "UTC"),
      scales: { x: { range: (self, least, most) => [least - step * 0.6, most + step * 0.6] }, y: { range: (self, least, most) => [0, Math.max(4, most * 1.1)] } },
      axes: [{ ...axis, grid: { show: false }, space: 70, values: (self, moments) => moments.map(shown === "hours" ? hour : day) }, { ...axis, size: 48, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5] }],
      series: [{}, kind("faults", colour("--faults"), colour("--faults")), kind("failed", hatched(), colour("--failed")), kind("built", colour("--built"), colour("--built"))],
    },
    stacked(columns),
    place,
  );
}

function press() {
  document.querySelectorAll("[data-series]").forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.series === shown)));
}

const reply = await fetch("/live/home.json").catch(() => null);
if (reply?.ok) {
  told = await reply.json();
  if (!Object.values(told.hours).some((counts) => Object.keys(counts).length)) shown = "days";
  press();
  draw();
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 240 })).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  for (const button of document.querySelectorAll("[data-series]")) {
    button.addEventListener("click", () => {
      shown = button.dataset.series;
      press();
      draw();
    });
  }
}
