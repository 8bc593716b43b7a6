// The view of a name: whether it resolves and why, its day, and who looks it up.

const nameCharts = new DayCharts(byId("name-charts"));

async function showName(subject, { type = "A", client = "" }, signal) {
  question.name.value = subject;
  question.type.value = [...question.type.options].some((option) => option.value === type) ? type : "A";
  question.client.value = client;
  const name = await explain({ name: subject, type, ...(client && { client }) }, signal);
  if (signal.aborted) return;
  byId("name-history").hidden = name === undefined;
  if (name === undefined) return;
  byId("name-log").href = link(["log"], { name });
  nameCharts.load({ name }, signal);
  loadRanking(byId("name-clients"), "api/v1/log/clients", { name }, signal, clientLink);
  loadLookups(byId("name-lookups"), { name }, signal);
}
