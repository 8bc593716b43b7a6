// The form "Would this name resolve?".

const WORDS = {
  allowed: ["yes", "Yes: allowed."],
  local: ["yes", "Yes: answered from a local zone."],
  observed: ["but", "Yes, but only in observe mode: enforce would block it."],
  blocked: ["no", "No: blocked."],
  refused: ["no", "No: refused."],
};
const explanation = byId("explanation");
let explained = null; // the last question and the policy that decided it
let asking = new AbortController();

byId("explain").addEventListener("submit", (event) => {
  event.preventDefault();
  explain(byId("name").value.trim(), byId("type").value);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.name");
  if (!button) return;
  const type = button.dataset.type ?? "A";
  byId("name").value = button.textContent;
  if ([...byId("type").options].some((option) => option.value === type)) byId("type").value = type;
  explain(button.textContent, type);
  explanation.focus({ preventScroll: true });
  byId("explain-title").scrollIntoView({ block: "start" });
});

async function explain(name, type) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const response = await fetch(`api/v1/explain?${new URLSearchParams({ name, type })}`, { cache: "no-store", signal });
    const answer = await response.json();
    if (signal.aborted) return;
    explained = { name, type, policy: shownPolicy };
    explanation.replaceChildren(...(response.ok ? describe(answer) : complaint(answer.error)));
  } catch {
    if (!signal.aborted) explanation.replaceChildren(...complaint("namegate does not respond. Try again."));
  }
}

/** Explains again after a policy change, so that no verdict outlives its policy. */
function explainAgain() {
  if (explained && explained.policy !== shownPolicy) explain(explained.name, explained.type);
}

function complaint(text) {
  explained = null;
  return [verdict("but", "No result."), element("p", { class: "text" }, text)];
}

function describe(answer) {
  const [sign, words] = WORDS[answer.verdict] ?? ["but", answer.verdict];
  const facts = element("dl", { class: "reasons" });
  const fact = (term, text) => {
    if (text) facts.append(element("div", {}, element("dt", {}, term), element("dd", { class: "text" }, text)));
  };
  fact("Query", `${answer.name} ${answer.type}`);
  fact("Reason", answer.because);
  fact("Rule", answer.rule);
  fact("Defined in", answer.place);
  fact("Allowlist", answer.zone);
  fact("Purpose", answer.purpose);
  fact("Owner", answer.owner);
  fact("Ticket", answer.ticket);
  fact("Ends", answer.until);
  if (answer.hits !== undefined) fact("Used", uses(answer));
  return [verdict(sign, words), facts, ...(answer.snippet ? remedy(answer.snippet.trimEnd()) : [])];
}

function uses(answer) {
  return answer.last_used ? `${count(answer.hits)} times, last ${answer.last_used}` : "never since it is counted";
}

function verdict(sign, words) {
  return element("p", { class: `verdict ${sign}` }, byId(sign).content.cloneNode(true), words);
}

/** The settings that would allow the name. Copies through a selection, because the Clipboard API needs https. */
function remedy(snippet) {
  const code = element("code", { class: "text" }, snippet);
  const copy = element("button", { type: "button", class: "copy" }, "Copy");
  copy.addEventListener("click", () => {
    getSelection().selectAllChildren(code);
    const copied = document.execCommand("copy");
    say(copy, copied ? "Copied" : "Press Ctrl+C");
    setTimeout(() => say(copy, "Copy"), 2000);
  });
  const title = element("p", { class: "quiet" }, "To allow this name, change the settings:");
  return [title, element("div", { class: "snippet" }, element("pre", {}, code), copy)];
}
