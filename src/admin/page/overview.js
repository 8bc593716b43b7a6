// The overview: rates, totals, the most blocked names and clients, upstreams, policy and cache.

const LATELY = 10; // seconds: the printed rate is a mean over these
const liveCharts = new Charts(byId("rates"), Object.keys(KINDS), (values, at) => {
  if (at !== undefined) return [`${count(values[at])}/s`, `${duration(Math.max(1, values.length - 1 - at))} ago`];
  const lately = values.slice(-LATELY);
  const now = lately.reduce((sum, value) => sum + value, 0) / Math.max(1, lately.length);
  return [`${rate(now)}/s`, `peak ${count(Math.max(0, ...values))}`];
});
let shownState = null; // what an explanation depends on

function showStatus(status) {
  const { policy, totals, cache } = status;
  const observes = policy.mode !== "enforce";
  shownState = [policy.hash, policy.mode, policy.loaded, troubled()].join();
  say(byId("version"), status.version);
  const mode = byId("mode");
  say(mode, observes ? policy.mode.toUpperCase() : "enforce");
  mode.className = observes ? "badge warn" : "badge plain";
  mode.hidden = false;
  say(byId("policy"), policy.hash);
  say(byId("rules"), count(policy.rules));
  byId("loaded").replaceChildren(timeNode(policy.loaded));
  say(byId("uptime"), duration(status.uptime_seconds));
  liveCharts.draw(status.rates, 300);
  for (const [key, value] of Object.entries(totals)) {
    const shown = byId(`total-${key}`);
    if (shown) say(shown, count(value));
  }
  showCache(cache);
  fill(byId("upstreams"), status.upstreams, upstreamRow, fillUpstream);
  fill(byId("zones"), policy.zones, zoneRow, fillZone);
}

function showCache(cache) {
  const asked = cache.hits + cache.misses;
  say(byId("cache-entries"), count(cache.entries));
  say(byId("cache-bytes"), `${bytes(cache.bytes)} of ${bytes(cache.max_bytes)}`);
  say(byId("cache-hits"), count(cache.hits));
  say(byId("cache-misses"), count(cache.misses));
  say(byId("cache-rate"), asked > 0 ? `${rate((100 * cache.hits) / asked)} %` : "–");
}

const UPSTREAM = ["Address", "State", "Last reply", "In flight", "Answered", "Failed", "Shed", "Mean latency"];

function upstreamRow() {
  const cells = UPSTREAM.map((head, at) => element("td", { "data-head": head, class: at > 1 ? "number" : "" }));
  cells[0].className = "text";
  cells[1].append(element("span"));
  return element("tr", {}, ...cells);
}

function fillUpstream(row, upstream) {
  const limit = upstream.max_qps > 0 ? `, at most ${count(upstream.max_qps)}/s` : "";
  const since = upstream.seconds_since_reply;
  const [state] = row.cells[1].children;
  state.className = upstream.up ? "badge good" : "badge bad";
  say(state, upstream.up ? (upstream.edns ? "up" : "up, no EDNS") : "down");
  [
    upstream.name,
    null,
    typeof since === "number" ? (since < 1 ? "just now" : `${duration(since)} ago`) : "never",
    `${count(upstream.in_flight)} of ${count(upstream.max_in_flight)}${limit}`,
    count(upstream.answered),
    count(upstream.failed),
    count(upstream.shed),
    typeof upstream.mean_seconds === "number" ? duration(upstream.mean_seconds) : "–",
  ].forEach((text, at) => text !== null && say(row.cells[at], text));
}

const zoneRow = () => element("tr", {},
  element("td", {}, element("span", { class: "text" }), element("span", { class: "place text" })),
  element("td", { class: "number" }));

function fillZone(row, zone) {
  const [name, file] = row.cells[0].children;
  say(name, zone.name);
  say(file, zone.file);
  say(row.cells[1], count(zone.rules));
}

function showTop(top) {
  for (const node of document.querySelectorAll(".window")) {
    say(node, top.window_seconds === 3600 ? "last hour" : `last ${duration(top.window_seconds)}`);
  }
  rank(byId("names"), top.names, nameLink);
  rank(byId("clients"), top.clients, clientLink);
}

byId("reload").addEventListener("click", async () => {
  say(byId("reloaded"), "Reloading …");
  const outcome = await request("api/v1/reload", { method: "POST", body: {} }).then(({ message }) => message, sentence);
  say(byId("reloaded"), outcome);
});
