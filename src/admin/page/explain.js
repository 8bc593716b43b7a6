// "Would this name resolve?"

const WORDS = {
  allowed: ["yes", "Yes, it is allowed."],
  local: ["yes", "Yes, a local zone answers it."],
  observed: ["but", "Yes, but only because the gate observes."],
  blocked: ["no", "No, it is blocked."],
  refused: ["no", "No, it is refused."],
};
const explanation = byId("explanation");
let explained = null; // the last question and the policy it was judged by
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
    if (!signal.aborted) explanation.replaceChildren(...complaint("The gate does not answer. Try again."));
  }
}

/** Asks again where another policy is in force, so that a verdict never outlives its policy. */
function explainAgain() {
  if (explained && explained.policy !== shownPolicy) explain(explained.name, explained.type);
}

function complaint(text) {
  explained = null;
  return [verdict("but", "No verdict."), element("p", { class: "text" }, text)];
}

function describe(answer) {
  const [sign, words] = WORDS[answer.verdict] ?? ["but", answer.verdict];
  const facts = element("dl", { class: "reasons" });
  const fact = (term, text) => {
    if (text) facts.append(element("div", {}, element("dt", {}, term), element("dd", { class: "text" }, text)));
  };
  fact("Asked", `${answer.name} ${answer.type}`);
  fact("Because", answer.because);
  fact("Rule", answer.rule);
  fact("Written in", answer.place);
  fact("Zone", answer.zone);
  return [verdict(sign, words), facts, ...(answer.snippet ? remedy(answer.snippet.trimEnd()) : [])];
}

function verdict(sign, words) {
  return element("p", { class: `verdict ${sign}` }, byId(sign).content.cloneNode(true), words);
}

/** The settings that would allow the name. Copying by selection works without the Clipboard API, which needs https. */
function remedy(snippet) {
  const code = element("code", { class: "text" }, snippet);
  const copy = element("button", { type: "button", class: "copy" }, "Copy");
  copy.addEventListener("click", () => {
    getSelection().selectAllChildren(code);
    const copied = document.execCommand("copy");
    say(copy, copied ? "Copied" : "Press Ctrl+C");
    setTimeout(() => say(copy, "Copy"), 2000);
  });
  const title = element("p", { class: "quiet" }, "These settings would allow it:");
  return [title, element("div", { class: "snippet" }, element("pre", {}, code), copy)];
}
