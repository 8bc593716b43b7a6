// Elements and numbers. Names are whatever a client sent: they become text, never markup.

const byId = (id) => document.getElementById(id);

/** A new element; children that are strings become text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Changes text only where it differs, so that selections stay. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Has `table` show `items`, a row each, by filling the rows that are there: focus stays where it is. */
function fill(table, items, makeRow, fillRow) {
  const body = table.tBodies[0];
  while (body.rows.length > items.length) body.lastElementChild.remove();
  while (body.rows.length < items.length) body.append(makeRow());
  items.forEach((item, index) => fillRow(body.rows[index], item));
  showOrEmpty(table);
}

/** Shows the table, or the sentence after it where it has no rows. */
function showOrEmpty(table) {
  const sentence = table.nextElementSibling;
  table.hidden = table.tBodies[0].rows.length === 0;
  sentence.hidden = !table.hidden;
  say(sentence, sentence.dataset.empty);
}

/** A name that goes into the explain box when it is clicked. */
const nameButton = () => element("button", { type: "button", class: "name text", title: "Explain this name" });

const count = (value) => value.toLocaleString("en");
const rate = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${rate(value)} ${units[unit]}`;
}

/** Two units at most: `3 d 4 h`, `12 min 5 s`, `1.2 ms`. */
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

/** Time of day in UTC as the query log has it, with the date where that is not today's. */
function clock(time) {
  const [date, rest = ""] = time.split("T");
  const today = new Date().toISOString().startsWith(date);
  return today ? rest.slice(0, 8) : `${date} ${rest.slice(0, 8)}`;
}
