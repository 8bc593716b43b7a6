// Lookups in tables: the live one, and those from the history.

const NO_HISTORY = "History is off. Set `history.max_age` to keep lookups.";
const REASONS = { not_listed: "not on the allowlist", denied: "denied by a rule",
  ancestor: "only subdomains of it are allowed", noise: "noise: search suffix or single label",
  bypass: "built-in rule: used to find another resolver", alias: "CNAME target not allowed",
  tunnel: "too many new names below one rule", unexpected: "unexpected address" };
const DECISIONS = { allowed: ["good", "allowed"], local: ["good", "local"], blocked: ["warn", "blocked"],
  observed: ["warn", "would block"], refused: ["plain", "refused"], error: ["bad", "error"] };

const cell = (head, ...children) => element("td", { "data-head": head }, ...children);

function lookupRow(lookup, ...more) {
  const isLong = lookup.last && Math.round((Date.parse(lookup.last) - Date.parse(lookup.time)) / 1000) > 0;
  return element("tr", { class: lookup.reason === "noise" ? "noise" : "" },
    cell("Time", timeNode(lookup.time), ...(isLong ? [" – ", timeNode(lookup.last)] : [])),
    cell("Client", clientLink(lookup.client)),
    cell("Name", nameLink(lookup.name, lookup.type)),
    cell("Type", text(lookup.type)),
    cell("Result", ...outcome(lookup)),
    ...more);
}

/** What became of a lookup, and why. */
function outcome(lookup) {
  const [tone, word] = lookup.rcode === "SERVFAIL" ? ["bad", "SERVFAIL"] : DECISIONS[lookup.decision] ?? ["plain", lookup.decision];
  const parts = [element("span", { class: `badge ${tone} ${lookup.decision}` }, word), " "];
  if (lookup.reason === "denied") parts.push("denied by ", element("b", { class: "text" }, lookup.rule ?? "a rule"));
  else if (lookup.reason) parts.push(REASONS[lookup.reason] ?? lookup.reason);
  else if (lookup.rule) parts.push(element("b", { class: "text" }, lookup.rule));
  if (lookup.rcode === "SERVFAIL" && lookup.upstream) parts.push(" asked ", text(lookup.upstream));
  if (lookup.place) parts.push(element("span", { class: "place text" }, lookup.place));
  return parts;
}

/** A row with the number of lookups that it stands for. */
const countedRow = (lookup) =>
  lookupRow(lookup, element("td", { class: "number", "data-head": "Lookups" }, count(lookup.count ?? 1)));

/** Loads the newest lookups into a table. */
async function loadLookups(table, filter, signal) {
  await load(table, async () => {
    const { lookups } = await request(query("api/v1/log", { ...filter, limit: 20 }), { signal });
    table.tBodies[0].replaceChildren(...lookups.map(countedRow));
    showOrEmpty(table);
  }, NO_HISTORY);
}

/** Loads names or clients with the most lookups into a table. */
async function loadRanking(table, path, filter, signal, makeKey, number = (item) => item.allowed + item.blocked + item.errors) {
  await load(table, async () => {
    const { items } = await request(query(path, { ...filter, since: ago(DAY), limit: 10 }), { signal });
    rank(table, items.map((item) => ({ key: item.key, count: number(item) })).filter((item) => item.count > 0), makeKey);
  }, NO_HISTORY);
}
