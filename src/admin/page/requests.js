// Requests to allow a name, and temporary allows.

const STATES = { pending: "warn", approved: "good", denied: "bad", expired: "plain" };
const NO_REQUESTS = "Requests are off. Set `requests.enabled = true` to let people ask for names.";
const REFRESH = 5000; // milliseconds
const requests = byId("requests");
const grants = byId("grants");
const shownRequests = new Map(); // JSON and element, by id

function showRequests(_, __, signal) {
  let isOn = true;
  const refresh = async () => {
    isOn = isOn && await loadRequests(signal);
    await loadGrants(signal);
    if (!signal.aborted) setTimeout(refresh, REFRESH);
  };
  refresh();
}

async function loadRequests(signal) {
  return load(requests, async () => {
    const answer = await request("api/v1/requests", { signal });
    const order = (a, b) => (b.state === "pending") - (a.state === "pending") || Date.parse(b.filed) - Date.parse(a.filed);
    const sorted = answer.requests.sort(order);
    sayPending(sorted);
    const items = sorted.map(requestItem);
    // What has not changed stays where it is, with the focus and what is being written in it.
    for (const old of [...requests.children]) {
      if (!items.includes(old)) old.remove();
    }
    items.forEach((item, at) => item === requests.children[at] || requests.insertBefore(item, requests.children[at] ?? null));
    showOrEmpty(requests);
  }, NO_REQUESTS);
}

/** Counts the requests for those who may decide them. */
async function countPending() {
  if (session.role === "approver") await request("api/v1/requests").then((answer) => sayPending(answer.requests), () => {});
}

function sayPending(list) {
  const pending = list.filter(({ state }) => state === "pending").length;
  say(byId("pending"), pending > 0 ? String(pending) : "");
  byId("pending").hidden = pending === 0;
}

/** The element of a request: the one that is there already, unless the request has changed. */
function requestItem(one) {
  const json = JSON.stringify(one);
  const shown = shownRequests.get(one.id);
  if (shown?.json === json) return shown.item;
  const actions = element("div", { class: "actions" }, ...(one.state === "pending" ? decisions(one) : []), asRule(one));
  const item = element("li", { class: "request", tabindex: "-1" }, ...describeRequest(one, nameLink(one.name)), actions);
  if (shown?.item.contains(document.activeElement)) setTimeout(() => item.focus());
  shownRequests.set(one.id, { json, item });
  return item;
}

/** What a request says, and what became of it. */
function describeRequest(one, name) {
  const asked = [["by ", one.author], ["client ", one.client], ["group ", one.group]];
  return [
    element("p", { class: "line" }, badge(STATES[one.state] ?? "plain", one.state), name),
    element("p", { class: "text" }, one.reason),
    element("p", { class: "quiet" }, `Asked for ${duration(one.for_seconds)}, `,
      ...asked.filter(([, value]) => value).flatMap(([words, value]) => [words, text(value), ", "]), timeNode(one.filed)),
    ...(one.decided ? [element("p", {}, ...decision(one))] : []),
  ];
}

function decision({ state, decided, decided_by: by, answer, until, scope }) {
  const parts = [state === "denied" ? "Denied" : "Approved", ...(by ? [" by ", text(by)] : []), ", ", timeNode(decided)];
  if (until) parts.push(`; for ${scopeWords(scope)}, until `, timeNode(until));
  if (answer) parts.push(": ", text(answer));
  return parts;
}

const scopeWords = (scope) => (!scope || scope === "all" ? "all clients" : `the ${scope}`);

/** The forms that approve and deny. */
function decisions(one) {
  const [approve, deny] = [stamp("approve"), stamp("deny")];
  approve.querySelector("select[name=scope]").append(...scopes(one.client, one.group));
  addDuration(approve.querySelector("select[name=for]"), one.for_seconds);
  for (const [part, path] of [[approve, "approve"], [deny, "deny"]]) {
    part.name = `decide-${one.id}`;
    onSubmit(part.querySelector("form"), async (fields) => {
      await request(`api/v1/requests/${encodeURIComponent(one.id)}/${path}`, { method: "POST", body: signed(fields) });
      await Promise.all([loadRequests(leaving.signal), loadGrants(leaving.signal)]);
      say(byId("decided"), `${path === "approve" ? "Approved" : "Denied"}: ${one.name}`);
    });
  }
  return [approve, deny];
}

/** Selects a duration, which becomes an option if it is none. */
function addDuration(select, seconds) {
  const value = `${seconds}s`;
  const same = [...select.options].find((option) => Number(option.dataset.seconds) === seconds);
  if (same) same.selected = true;
  else select.prepend(element("option", { value, selected: "" }, duration(seconds)));
}

/** The request as an entry of an allowlist, fetched when it is opened. */
function asRule(one) {
  const part = stamp("as-rule");
  part.name = `decide-${one.id}`;
  part.addEventListener("toggle", async () => {
    if (!part.open) return;
    const body = part.lastElementChild;
    try {
      const { file, text: entry } = await request(`api/v1/requests/${encodeURIComponent(one.id)}/rule`);
      body.replaceChildren(element("p", {}, "Add to ", element("code", { class: "text" }, file), ":"), snippet(entry));
    } catch (error) {
      say(body, sentence(error));
    }
  });
  return part;
}

async function loadGrants(signal) {
  await load(grants, async () => {
    const list = await request("api/v1/allowed", { signal });
    list.sort((a, b) => Date.parse(a.until) - Date.parse(b.until));
    fill(grants, list, grantRow, fillGrant);
  });
}

function grantRow() {
  const revoke = element("button", { type: "button" }, "Revoke");
  const row = element("tr", {}, ...["Name", "For", "Reason", "Author", "Ends"].map((head) => cell(head, text(""))), element("td", { class: "change" }, revoke));
  revoke.addEventListener("click", async () => {
    const { pattern, client, group } = row.grant;
    const scope = client ? { client } : group ? { group } : {};
    const done = await request(query(`api/v1/allowed/${encodeURIComponent(pattern)}`, scope), { method: "DELETE" })
      .then(() => `Revoked: ${pattern}`, sentence);
    say(byId("decided"), done);
    await loadGrants(leaving.signal);
    byId("grants-title").focus({ preventScroll: true });
  });
  return row;
}

function fillGrant(row, grant) {
  row.grant = grant;
  const left = Math.max(0, Math.round((Date.parse(grant.until) - Date.now()) / 60_000)) * 60;
  const whom = grant.client ? `client ${grant.client}` : grant.group ? `group ${grant.group}` : "all clients";
  [grant.pattern, whom, grant.reason, grant.author, left > 0 ? `in ${duration(left)}` : "in less than 1 min"]
    .forEach((words, at) => say(row.cells[at].firstElementChild, words));
  row.querySelector("button").setAttribute("aria-label", `Revoke ${grant.pattern} for ${whom}`);
}
