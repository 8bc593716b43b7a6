// Helpers for elements and numbers. Clients choose the names: they become text, never markup.

const byId = (id) => document.getElementById(id);

/** Creates an element; string children become text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The content of a template. */
const stamp = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** Text from outside; its own direction does not reorder what stands beside it. */
const text = (value) => element("span", { class: "text" }, value);

const badge = (tone, words) => element("span", { class: `badge ${tone}` }, words);

/** Sets the text only if it differs, so that selections stay. */
function say(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

/** Shows `items` in `table`, one row each. Reuses existing rows, so that the focus stays. */
function fill(table, items, makeRow, fillRow) {
  const body = table.tBodies[0];
  while (body.rows.length > items.length) body.lastElementChild.remove();
  while (body.rows.length < items.length) body.append(makeRow());
  items.forEach((item, index) => fillRow(body.rows[index], item));
  showOrEmpty(table);
}

/** Shows the list or table, or the sentence after it if it has no rows. */
function showOrEmpty(list, sentence = list.nextElementSibling.dataset.empty) {
  const rows = list.tBodies?.[0] ?? list;
  list.hidden = rows.childElementCount === 0;
  list.nextElementSibling.hidden = !list.hidden;
  say(list.nextElementSibling, sentence);
}

/** Empties the list or table, and shows a sentence in its place. */
function showInstead(list, sentence) {
  (list.tBodies?.[0] ?? list).replaceChildren();
  showOrEmpty(list, sentence);
}

/** Shows counts as a ranking with bars. */
function rank(table, items, makeKey) {
  const most = Math.max(1, ...items.map((item) => item.count));
  const row = () => element("tr", {}, element("td", {}, element("span"), element("span", { class: "bar" })), element("td", { class: "number" }));
  fill(table, items, row, (made, item) => {
    const [key, bar] = made.cells[0].children;
    if (key.textContent !== item.key) key.replaceChildren(makeKey(item.key));
    bar.style.inlineSize = `${(100 * item.count) / most}%`;
    say(made.cells[1], count(item.count));
  });
}

/** A link to the view of a name. In a flood, the history counts names without keeping them: `*`. */
function nameLink(name, type = "A") {
  if (name === "*") return text("(further names)");
  return element("a", { class: "name text", href: link(["name", name], type === "A" ? {} : { type }) }, name);
}

/** A link to the view of a client, unless the settings hide clients: `-`. */
function clientLink(client = "-") {
  return client === "-" ? text("–") : element("a", { class: "text", href: link(["client", client]) }, client);
}

/** Settings or rules to copy. Copies through a selection, because the Clipboard API needs https. */
function snippet(settings) {
  const code = element("code", { class: "text" }, settings.trimEnd());
  const copy = element("button", { type: "button", class: "copy" }, "Copy");
  copy.addEventListener("click", () => {
    getSelection().selectAllChildren(code);
    const copied = document.execCommand("copy");
    say(copy, copied ? "Copied" : "Press Ctrl+C");
    setTimeout(() => say(copy, "Copy"), 2000);
  });
  return element("div", { class: "snippet" }, element("pre", {}, code), copy);
}

/** What this browser remembers; it may refuse to. */
function recall(key) {
  try { return localStorage.getItem(key) ?? ""; } catch { return ""; }
}

function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* Then it is forgotten with the page. */ }
}

const count = (value) => value.toLocaleString("en");
const rate = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
const plural = (value, one) => `${count(value)} ${one}${value === 1 ? "" : "s"}`;

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${rate(value)} ${units[unit]}`;
}

/** At most two units: `3 d 4 h`, `12 min 5 s`, `1.2 ms`. */
function duration(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${rate(seconds * 1e3)} ms`;
  if (seconds < 60) return `${rate(seconds)} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, length]) => seconds >= length);
  const parts = units.slice(first, first + 2).map(([unit, length]) => {
    const whole = Math.floor(seconds / length);
    seconds -= whole * length;
    return whole > 0 ? `${whole} ${unit}` : "";
  });
  return parts.filter(Boolean).join(" ");
}
