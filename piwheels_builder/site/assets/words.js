// Numbers as a person reads them, as piwheels_builder/site/words.py writes them.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  for (const [unit, length] of [["days", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= length * 1.5) return `${Math.round(seconds / length)} ${unit}`;
  }
  return seconds >= 10 ? `${Math.round(seconds)} s` : `${seconds.toFixed(1)} s`;
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
