// Names what was asked for, and where pip would be sent.
const name = location.pathname.split("/")[2] ?? "";
if (/^[a-z0-9-]+$/.test(name)) {
  document.getElementById("name").textContent = `Nothing was built of ${name} here`;
  document.getElementById("simple").href = `/simple/${name}/`;
}
