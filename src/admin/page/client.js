// The view of a client: its group, its day, its names, and what failed.

const clientCharts = new DayCharts(byId("client-charts"));

async function showClient(client, _, signal) {
  say(byId("client-title"), client);
  say(byId("client-group"), "–");
  byId("client-log").href = link(["log"], { client });
  clientCharts.load({ client }, signal);
  loadRanking(byId("client-blocked"), "api/v1/log/names", { client, decision: "blocked" }, signal, nameLink, (item) => item.blocked);
  loadRanking(byId("client-names"), "api/v1/log/names", { client }, signal, nameLink);
  loadLookups(byId("client-failures"), { client, rcode: "SERVFAIL" }, signal);
  const newest = await request(query("api/v1/log", { client, limit: 1 }), { signal }).catch(() => null);
  if (newest?.lookups.length) say(byId("client-group"), newest.lookups[0].group ?? "none");
}
