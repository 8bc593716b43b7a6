// The live tail of blocked lookups.

const ROWS = 200;
const QUIET = 15_000; // shortest time between announcements to screen readers, in milliseconds
const REASONS = { not_listed: "not on the allowlist", ancestor: "only subdomains of it are allowed",
  noise: "noise: search suffix or single label", bypass: "built-in rule: used to find another resolver",
  alias: "CNAME target not allowed", tunnel: "too many new names below one rule",
  unexpected: "unexpected address" };
const tail = byId("tail");
const pause = byId("pause");
let paused = false;
let waiting = [];
let unheard = 0;
let lastHeard = Date.now();

pause.addEventListener("click", () => {
  paused = !paused;
  if (!paused) prepend(waiting.splice(0));
  sayPause();
});
byId("without-noise").addEventListener("change", (event) => tail.classList.toggle("without-noise", event.target.checked));

function take(lookups) {
  if (paused) waiting = [...waiting, ...lookups].slice(-ROWS);
  else prepend(lookups);
  sayPause();
  announce(lookups);
}

function sayPause() {
  const news = waiting.length < ROWS ? waiting.length : `${ROWS} or more`;
  say(pause, paused ? `Resume (${news} new)` : "Pause");
}

function prepend(lookups) {
  const body = tail.tBodies[0];
  body.prepend(...lookups.map(tailRow).reverse());
  while (body.rows.length > ROWS) body.lastElementChild.remove();
  showOrEmpty(tail);
}

function tailRow(lookup) {
  const name = nameButton();
  say(name, lookup.name);
  name.dataset.type = lookup.type;
  const cell = (head, ...children) => element("td", { "data-head": head }, ...children);
  const text = (value) => element("span", { class: "text" }, value);
  const why = [REASONS[lookup.reason] ?? lookup.reason];
  if (lookup.reason === "denied") why.splice(0, 1, "denied by ", element("b", { class: "text" }, lookup.rule ?? "a rule"));
  if (lookup.decision === "observed") why.unshift(element("span", { class: "badge warn" }, "would block"), " ");
  if (lookup.place) why.push(element("span", { class: "place text" }, lookup.place));
  return element("tr", { class: lookup.reason === "noise" ? "noise" : "" },
    cell("Time", element("time", { datetime: lookup.time }, clock(lookup.time))),
    cell("Client", text(lookup.client ?? "–")),
    cell("Name", name),
    cell("Type", text(lookup.type)),
    cell("Reason", ...why));
}

/** One sentence at most every 15 seconds; announcing each row would drown out everything else. */
function announce(lookups) {
  unheard += lookups.length;
  if (paused || unheard === 0 || Date.now() - lastHeard < QUIET) return;
  byId("heard").textContent = `${unheard} more blocked ${unheard === 1 ? "lookup" : "lookups"}`;
  unheard = 0;
  lastHeard = Date.now();
}
