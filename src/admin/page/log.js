// The search over the lookups of the last day.

const search = byId("log");
const found = byId("found");
const more = byId("more");
let next; // where the next page begins

for (const [select, options] of [["decision", DECISIONS], ["reason", REASONS]]) {
  const words = (value) => (typeof value === "string" ? value : value[1]);
  search.elements[select].append(...Object.entries(options).map(([value, is]) => element("option", { value }, words(is))));
}

search.addEventListener("submit", (event) => {
  event.preventDefault();
  const { below, since, until, ...fields } = Object.fromEntries(new FormData(search));
  const filter = Object.entries(fields).map(([key, value]) => [key === "name" && below ? "below" : key, value.trim()]);
  for (const [key, wall] of [["since", since], ["until", until]]) {
    if (wall) filter.push([key, dateOf(wall).toISOString()]);
  }
  go(["log"], Object.fromEntries(filter.filter(([, value]) => value)));
});

/** Periods that fill the two fields of time. */
const PERIODS = {
  hour: () => [ago(HOUR), ""],
  night: () => [todayAt(0), todayAt(6)],
  today: () => [todayAt(0), ""],
  all: () => ["", ""],
};
for (const button of search.querySelectorAll("[data-period]")) {
  button.addEventListener("click", () => {
    showPeriod(...PERIODS[button.dataset.period]());
    search.requestSubmit();
  });
}

function showPeriod(since, until) {
  for (const [key, time] of [["since", since], ["until", until]]) {
    const isTime = time && !Number.isNaN(Date.parse(time));
    search.elements[key].value = isTime ? wallClock(new Date(time)) : "";
  }
}

function showLog(_, filter, signal) {
  for (const key of ["client", "group", "decision", "reason", "rcode"]) search.elements[key].value = filter[key] ?? "";
  search.elements.name.value = filter.below ?? filter.name ?? "";
  search.elements.below.checked = filter.below !== undefined;
  showPeriod(filter.since, filter.until);
  const sayWhy = (error) => error.name === "AbortError" || say(byId("found-note"), sentence(error));
  more.onclick = () => loadPage({ ...filter, before: next }, signal).catch(sayWhy);
  more.hidden = true;
  found.tBodies[0].replaceChildren();
  say(byId("found-note"), "");
  load(found, () => loadPage(filter, signal), NO_HISTORY);
}

async function loadPage(filter, signal) {
  const answer = await request(query("api/v1/log", { ...filter, limit: 100 }), { signal });
  const rows = answer.lookups.map(countedRow);
  found.tBodies[0].append(...rows);
  showOrEmpty(found);
  next = answer.next;
  more.hidden = next === undefined;
  say(byId("found-note"), note(answer, filter));
  if (filter.before) rows[0]?.querySelector("a").focus();
}

function note({ from, sampled }, { since }) {
  const rows = found.tBodies[0].rows.length;
  return [
    rows > 0 ? `${plural(rows, "row")}${next === undefined ? "" : ", and more"}.` : "",
    from && (!since || Date.parse(since) < Date.parse(from)) ? `The history starts at ${clock(from)} ${local ? "local time" : "UTC"}.` : "",
    sampled ? "In a flood of this time, some lookups were counted without their name, or not at all." : "",
  ].filter(Boolean).join(" ");
}
