// Helpers for elements and numbers. Clients choose the names: they become text, never markup.

const byId = (id) => document.getElementById(id);

/** Creates an element; string children become text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets the text only if it differs, so that selections stay. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows `items` in `table`, one row each. Reuses existing rows, so that the focus stays. */
function fill(table, items, makeRow, fillRow) {
  const body = table.tBodies[0];
  while (body.rows.length > items.length) body.lastElementChild.remove();
  while (body.rows.length < items.length) body.append(makeRow());
  items.forEach((item, index) => fillRow(body.rows[index], item));
  showOrEmpty(table);
}

/** Shows the table, or the sentence after it if there are no rows. */
function showOrEmpty(table) {
  const sentence = table.nextElementSibling;
  table.hidden = table.tBodies[0].rows.length === 0;
  sentence.hidden = !table.hidden;
  say(sentence, sentence.dataset.empty);
}

/** A button with a name; a click explains the name. */
const nameButton = () => element("button", { type: "button", class: "name text", title: "Explain this name" });

const count = (value) => value.toLocaleString("en");
const rate = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });

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

/** Time in UTC as in the query log; with the date unless it is today. */
function clock(time) {
  const [date, rest = ""] = time.split("T");
  const today = new Date().toISOString().startsWith(date);
  return today ? rest.slice(0, 8) : `${date} ${rest.slice(0, 8)}`;
}
