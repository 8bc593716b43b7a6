// Polls namegate every second while the page is visible, and keeps trying when it does not respond.

const SECOND = 1000;
const TOP_EVERY = 5; // polls
let timer;
let polling = false;
let polls = 0;
let after = null;
let started = NaN;
let lastAnswer = null;

async function get(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5 * SECOND) });
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return response.json();
}

async function poll() {
  clearTimeout(timer);
  if (polling || document.hidden) return;
  polling = true;
  const answers = await ask().catch(sayUnreachable);
  polling = false;
  timer = setTimeout(poll, SECOND);
  if (answers) show(answers);
}

async function ask() {
  const status = await get("api/v1/status");
  const moved = Math.abs(Date.parse(status.started) - started);
  if (moved > 2 * SECOND) after = null; // another process, which numbers lookups from 0 again
  const recent = await get(after === null ? "api/v1/recent" : `api/v1/recent?after=${after}`);
  const top = polls % TOP_EVERY === 0 ? await get("api/v1/top") : null;
  return { status, recent, top };
}

function show({ status, recent, top }) {
  polls += 1;
  started = Date.parse(status.started);
  after = recent.next;
  lastAnswer = new Date();
  byId("unreachable").hidden = true;
  document.body.classList.remove("stale");
  document.title = status.policy.mode === "enforce" ? "namegate" : `${status.policy.mode} · namegate`;
  showStatus(status);
  take(recent.lookups);
  if (top) showTop(top);
  explainAgain();
}

function sayUnreachable(error) {
  polls = 0;
  const what = error.message.startsWith("HTTP") ? `namegate responds with ${error.message}.` : "namegate does not respond.";
  const since = lastAnswer ? ` This page shows the state at ${lastAnswer.toISOString().slice(11, 19)} UTC.` : "";
  say(byId("unreachable"), `${what}${since} Retrying every second.`);
  byId("unreachable").hidden = false;
  document.body.classList.add("stale");
  document.title = "unreachable · namegate";
}

document.addEventListener("visibilitychange", poll);
poll();
