// Times, in UTC as in the query log, or in the zone of this browser.

const HOUR = 3600;
const DAY = 24 * HOUR;
let local = recall("zone") === "local";

/** `2026-01-31T23:59:59`, in the zone chosen. */
function wallClock(date) {
  const offset = local ? date.getTimezoneOffset() * 60_000 : 0;
  return new Date(date - offset).toISOString().slice(0, 19);
}

/** The date of a wall clock. */
const dateOf = (wall) => new Date(local ? wall : `${wall}Z`);

/** A time, with the date unless it is today. */
function clock(time) {
  const [date, rest] = wallClock(new Date(time)).split("T");
  return wallClock(new Date()).startsWith(date) ? rest : `${date} ${rest}`;
}

const timeNode = (time) => element("time", { datetime: time }, clock(time));

/** RFC 3339, for the API. */
const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();

/** Today at this hour. */
const todayAt = (hour) => dateOf(`${wallClock(new Date()).slice(0, 10)}T${String(hour).padStart(2, "0")}:00`).toISOString();

function sayZone() {
  for (const node of document.querySelectorAll(".zone")) say(node, local ? "local" : "UTC");
  for (const node of document.querySelectorAll("time")) say(node, clock(node.dateTime));
  say(byId("zone"), local ? "Show times in UTC" : "Show times in local time");
}

byId("zone").addEventListener("click", () => {
  local = !local;
  remember("zone", local ? "local" : "UTC");
  sayZone();
  route();
});
sayZone();
