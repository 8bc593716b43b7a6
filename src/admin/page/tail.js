// The live tail of blocked lookups.

const ROWS = 200;
const QUIET = 15_000; // shortest time between announcements to screen readers, in milliseconds
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
  hear(lookups);
}

function sayPause() {
  const news = waiting.length < ROWS ? waiting.length : `${ROWS} or more`;
  say(pause, paused ? `Resume (${news} new)` : "Pause");
}

function prepend(lookups) {
  const body = tail.tBodies[0];
  body.prepend(...lookups.map((lookup) => lookupRow(lookup)).reverse());
  while (body.rows.length > ROWS) body.lastElementChild.remove();
  showOrEmpty(tail);
}

/** One sentence at most every 15 seconds; announcing each row would drown out everything else. */
function hear(lookups) {
  unheard += lookups.length;
  if (paused || unheard === 0 || Date.now() - lastHeard < QUIET) return;
  byId("heard").textContent = `${plural(unheard, "more blocked lookup")}`;
  unheard = 0;
  lastHeard = Date.now();
}
