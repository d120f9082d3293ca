// The search index (piwheels_builder/site/search.py): which file has a prefix, and what in it matches.
const read = new Map();

function fetched(name) {
  if (!read.has(name)) {
    const answer = fetch(`/search/${name}.json`).then((reply) => (reply.ok ? reply.json() : { names: "", leaves: "", divided: "" }));
    read.set(name, answer);
    answer.catch(() => read.delete(name));
  }
  return read.get(name);
}

let prefixes;
async function shards() {
  const told = await fetched("shards");
  prefixes ??= { leaves: new Set(told.leaves.split(" ")), divided: new Set(told.divided.split(" ")) };
  return prefixes;
}

// PEP 503: what a person types is what the index calls it.
export const normalized = (text) => text.trim().toLowerCase().replace(/[-_.]+/g, "-").replace(/^-|[^a-z0-9-]/g, "");

function rank(name, query) {
  if (name === query) return 0;
  return name.startsWith(query) ? 1 : 2;
}

/** Names in which some word begins with the query: that very name first, then those that begin with it, those with pages of ours first. */
export async function found(text) {
  const query = normalized(text);
  if (!query) return [];
  const { leaves, divided } = await shards();
  let prefix = null;
  for (let length = query.length; length >= 0 && prefix === null; length--) {
    const candidate = query.slice(0, length);
    if (leaves.has(candidate) || divided.has(candidate)) prefix = candidate;
  }
  if (prefix === null) return [];
  const { names } = await fetched(`-${prefix}`);
  return names
    .split(" ")
    .filter(Boolean)
    .map((name) => ({ name: name.replace("+", ""), held: name.endsWith("+") }))
    .filter(({ name }) => name.startsWith(query) || name.includes(`-${query}`))
    .sort((a, b) => rank(a.name, query) - rank(b.name, query) || b.held - a.held || a.name.length - b.name.length || (a.name < b.name ? -1 : 1));
}
