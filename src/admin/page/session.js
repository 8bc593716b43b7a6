// Signing in and out. What only an approver may do has the class `change`, which the style hides from others.

const SESSION = "api/v1/session";
let session = { role: "none", can_sign_in: false };
let author = recall("author"); // whom changes are recorded for
let signingIn = false; // the form is shown in the place of the view

async function loadSession() {
  session = await request(SESSION).catch(() => session);
  document.body.dataset.role = session.role;
  const signedIn = session.role !== "none";
  say(byId("role"), session.role);
  byId("role").hidden = byId("sign-out").hidden = !signedIn;
  byId("sign-in").hidden = signedIn || !session.can_sign_in;
}

/** A change, with whom it is recorded for. */
const signed = (fields) => (author ? { ...fields, author } : fields);

/** Shows the form; afterwards the page is where it was. */
function requireSignIn(reason = "This page needs a token.") {
  if (signingIn || isPublic) return;
  signingIn = true;
  say(byId("sign-in-reason"), reason);
  loadSession();
  route();
}

byId("author").value = author;
byId("sign-in").addEventListener("click", () => requireSignIn("The token decides what you may do here: read, or also change."));
byId("sign-out").addEventListener("click", async () => {
  await request(SESSION, { method: "DELETE" }).catch(() => {});
  await loadSession();
  route();
  byId("sign-in").focus();
});
byId("sign-in-cancel").addEventListener("click", () => {
  signingIn = false;
  route();
  poll();
});

onSubmit(byId("sign-in-form"), async ({ token, author: name = "" }, outcome) => {
  try {
    await request(SESSION, { method: "POST", body: { token } });
  } catch (error) {
    say(outcome, error.status === 401 ? "Wrong token." : sentence(error));
    return;
  }
  author = name;
  remember("author", author);
  byId("token").value = "";
  signingIn = false;
  await loadSession();
  route();
  poll();
});
