// Starts the page, and polls namegate every second while the page is visible, and keeps trying when it does not respond.

const SECOND = 1000;
const TOP_EVERY = 5; // polls
const PENDING_EVERY = 15;
const views = { "": clearExplanation, name: showName, client: showClient, log: showLog, requests: showRequests, ask: showAsk };
let timer;
let polling = false;
let polls = 0;
let after = null;
let started = NaN;

async function poll() {
  clearTimeout(timer);
  if (polling || document.hidden || signingIn || isPublic) return;
  polling = true;
  try {
    show(await ask());
  } catch (error) {
    polls = 0;
    if (!signingIn) sayUnreachable(error);
  }
  polling = false;
  timer = setTimeout(poll, SECOND);
}

async function ask() {
  const status = await request("api/v1/status");
  const moved = Math.abs(Date.parse(status.started) - started);
  if (moved > 2 * SECOND) after = null; // another process, which numbers lookups from 0 again
  const isOverview = place().view === "";
  const recent = isOverview ? await request(after === null ? "api/v1/recent" : `api/v1/recent?after=${after}`) : null;
  const top = isOverview && polls % TOP_EVERY === 0 ? await request("api/v1/top") : null;
  if (polls % PENDING_EVERY === 0) countPending();
  return { status, recent, top };
}

function show({ status, recent, top }) {
  polls += 1;
  started = Date.parse(status.started);
  sayReachable();
  showProblems(status.problems ?? []);
  showStatus(status);
  if (recent) {
    after = recent.next;
    take(recent.lookups);
  }
  if (top) showTop(top);
  explainAgain();
  sayTitle();
}

document.addEventListener("visibilitychange", poll);
document.body.classList.toggle("public", isPublic);
await loadSession();
route();
poll();
