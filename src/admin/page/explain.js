// The form "Would this name resolve?" and its answer.

const WORDS = {
  allowed: ["yes", "Yes: allowed."],
  local: ["yes", "Yes: answered from a local zone."],
  observed: ["but", "Yes, but only in observe mode: enforce would block it."],
  blocked: ["no", "No: blocked."],
  refused: ["no", "No: refused."],
};
const explanation = byId("explanation");
const hint = [...explanation.children];
const question = byId("explain").elements;
let explained = null; // the last question, and the state of affairs when it was answered

byId("explain").addEventListener("submit", (event) => {
  event.preventDefault();
  const [name, type, client] = [question.name, question.type, question.client].map((field) => field.value.trim());
  go(["name", name], { ...(type !== "A" && { type }), ...(client && { client }) });
});

function clearExplanation() {
  explained = null;
  byId("explain").reset();
  explanation.replaceChildren(...hint);
}

/** Explains a lookup; returns the name in the form that lookups have. */
async function explain(asked, signal) {
  explained = { asked, signal, state: shownState };
  try {
    const answer = await request(query("api/v1/explain", asked), { signal });
    explanation.replaceChildren(...describe(answer, asked));
    return answer.name;
  } catch (error) {
    if (error.name !== "AbortError") explanation.replaceChildren(verdict("but", "No result."), element("p", { class: "text" }, sentence(error)));
  }
}

/** Explains again after a change, so that no verdict outlives its policy. */
function explainAgain() {
  if (explained && explained.state !== shownState) explain(explained.asked, explained.signal);
}

function describe(answer, asked) {
  const isBlocked = ["blocked", "observed"].includes(answer.verdict);
  const fails = answer.verdict === "allowed" && troubled();
  const [sign, words] = fails ? ["but", "Allowed, but clients get errors now: see above."] : WORDS[answer.verdict] ?? ["but", answer.verdict];
  const facts = element("dl", { class: "reasons" });
  const fact = (term, ...values) => {
    if (values[0]) facts.append(element("div", {}, element("dt", {}, term), element("dd", { class: "text" }, ...values)));
  };
  fact("Query", `${answer.name} ${answer.type}`);
  if (answer.client) fact("Client", clientLink(answer.client));
  fact("Client group", answer.group);
  fact("Mode", answer.mode);
  fact("Upstreams", answer.route);
  fact("Reason", answer.because);
  fact("Rule", answer.rule);
  fact("Defined in", answer.place);
  fact("Allowlist", answer.zone);
  fact("Purpose", answer.purpose);
  fact("Owner", answer.owner);
  fact("Ticket", answer.ticket);
  fact("Ends", answer.until);
  if (answer.hits !== undefined) fact("Used", ...uses(answer));
  for (const grant of answer.grants ?? []) fact("Temporary allow", text(grant.pattern), ", until ", timeNode(grant.until), ": ", text(grant.reason));
  return [verdict(sign, words), facts, ...(isBlocked ? remedies(answer, asked) : [])];
}

const uses = ({ hits, last_used: last }) => (last ? [`${plural(hits, "time")}, last `, timeNode(last)] : ["never since it is counted"]);

function verdict(sign, words) {
  return element("p", { class: `verdict ${sign}` }, byId(sign).content.cloneNode(true), words);
}

/** What would allow the name: a rule, a temporary allow, or a request. */
function remedies(answer, asked) {
  const entry = answer.entry ?? (answer.snippet && { text: answer.snippet });
  const rule = entry
    ? [element("p", { class: "step" }, ...(entry.file ? ["To allow this name, add to ", element("code", { class: "text" }, entry.file), ":"] : ["To allow this name, change the settings:"])), snippet(entry.text)]
    : [];
  const form = stamp("allow");
  form.elements.scope.append(...scopes(answer.client, answer.group));
  onSubmit(form, async ({ scope, ...fields }) => {
    const grant = await request("api/v1/allowed", { method: "POST", body: signed({ name: answer.name, ...fields, ...limitedTo(scope, answer) }) });
    form.replaceChildren(element("p", { role: "status" }, "Allowed until ", timeNode(grant.until), "."));
    explain(asked, leaving.signal);
  });
  const ask = element("a", { href: query("request", { name: answer.name }) }, "Request this name");
  return [...rule, form, element("p", { class: "step instead" }, ask, " from those who may allow it.")];
}

/** Options for whom a name is allowed. */
function scopes(client, group) {
  const options = [["client", client && `client ${client}`], ["group", group && `client group ${group}`], ["all", "all clients"]];
  return options.filter(([, words]) => words).map(([value, words]) => element("option", { value }, words));
}

const limitedTo = (scope, { client, group }) => (scope === "client" ? { client } : scope === "group" ? { group } : {});
