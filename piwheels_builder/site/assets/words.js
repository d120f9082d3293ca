// Numbers as a person reads them, as piwheels_builder/site/words.py writes them.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  for (const [unit, length] of [["days", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= length * 1.5) return `${Math.round(seconds / length)} ${unit}`;
  }
  return seconds >= 10 ? `${Math.round(seconds)} s` : `${seconds.toFixed(1)} s`;
}

export function size(count) {
  for (const [unit, length] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (count >= length * 1000) return `${number(count / length)} ${unit}`;
    if (count >= length) return `${Number((count / length).toPrecision(3))} ${unit}`;
  }
  return `${Math.round(count)} B`;
}

export const number = (count) => Math.round(count).toLocaleString("en");

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
