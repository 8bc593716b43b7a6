// The form at `/request`, for people without a token: asks for a name, and shows what became of it.

const asking = byId("ask");

function showAsk(_, __, signal) {
  const { name = "", id } = Object.fromEntries(new URLSearchParams(location.search));
  asking.elements.name.value = name;
  asking.hidden = id !== undefined;
  byId("asked").hidden = id === undefined;
  if (id !== undefined) watch(id, signal);
}

onSubmit(asking, async (fields) => {
  const { id } = await request("api/v1/requests", { method: "POST", body: fields });
  history.pushState(null, "", query("request", { id }));
  route();
  byId("asked").focus();
});
addEventListener("popstate", () => isPublic && route());

/** Shows a request until it has an outcome. */
async function watch(id, signal) {
  const shown = byId("asked-request");
  try {
    const one = await request(`api/v1/requests/${encodeURIComponent(id)}`, { signal });
    const json = JSON.stringify(one);
    if (shown.dataset.json !== json) {
      shown.dataset.json = json;
      shown.replaceChildren(...describeRequest(one, text(one.name)));
      byId("asked-note").hidden = one.state !== "pending";
    }
    if (one.state === "denied" || one.state === "expired") return;
  } catch (error) {
    if (error.name === "AbortError") return;
    delete shown.dataset.json;
    say(shown, sentence(error, "There is no such request."));
    if (error instanceof Refusal) return;
  }
  setTimeout(() => signal.aborted || watch(id, signal), REFRESH);
}
