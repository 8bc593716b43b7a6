// Requests to namegate.

/** namegate refused a request. */
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Sends a request; returns the JSON of the response, or throws. */
async function request(path, { method = "GET", body, signal } = {}) {
  const headers = method === "GET" ? {} : { "Content-Type": "application/json", "X-Namegate-CSRF": session.csrf ?? "" };
  const signals = [AbortSignal.timeout(10_000), signal].filter(Boolean);
  const response = await fetch(path, {
    method, headers, body: body && JSON.stringify(body), cache: "no-store", signal: AbortSignal.any(signals),
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && path !== SESSION && session.can_sign_in) requireSignIn();
  throw new Refusal(response.status, answer.error ?? "");
}

const query = (path, parameters) => `${path}?${new URLSearchParams(parameters)}`;

/** What to tell about an error; `absent` if this namegate does not have what was asked for. */
function sentence(error, absent) {
  if (!(error instanceof Refusal)) return "namegate does not respond. Try again.";
  if (!error.message) return error.status === 404 && absent ? absent : `namegate responds with HTTP status ${error.status}.`;
  return sentences(error.message);
}

/** A message of namegate, `what is wrong; help: what to do`, as sentences. */
const sentences = (message) =>
  message.split("; help: ").map((part) => `${part.charAt(0).toUpperCase()}${part.slice(1).replace(/\.$/, "")}.`).join(" ");

/** Loads into a list or table, or shows in its place why that failed. False if namegate refuses it. */
async function load(list, task, absent) {
  try {
    await task();
  } catch (error) {
    if (error.name !== "AbortError") showInstead(list, sentence(error, absent));
    return !(error instanceof Refusal);
  }
  return true;
}

/** Lets a form send its fields: keeps it from being sent twice, and shows in its `.outcome` what went wrong. */
function onSubmit(form, send) {
  const outcome = form.querySelector(".outcome");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button.main");
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    say(outcome, "");
    const fields = Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, value.trim()]).filter(([, value]) => value));
    try {
      await send(fields, outcome);
    } catch (error) {
      say(outcome, sentence(error, form.dataset.absent));
    }
    button.removeAttribute("aria-disabled");
  });
}
