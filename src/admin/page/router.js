// Which view the page shows. The fragment says it, so that a link leads back to it: `#/log?client=192.0.2.7`.

const isPublic = location.pathname.endsWith("/request"); // a form for everyone
let leaving = new AbortController(); // ends what the view before still loads
let shownView = null;
let viewTitle;
const TITLES = { log: "Lookups", requests: "Requests", ask: "Request a name", "sign-in": "Sign in" };

/** The address of a view. */
function link(path, parameters = {}) {
  const search = new URLSearchParams(parameters).toString();
  return `./#/${path.map(encodeURIComponent).join("/")}${search && `?${search}`}`;
}

function go(path, parameters) {
  const hash = link(path, parameters).slice(2);
  if (location.hash === hash) route();
  else location.hash = hash;
}

/** The view, its subject and its parameters. */
function place() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view = "", subject = ""] = path.split("/").map(decoded);
  return { view: isPublic ? "ask" : view in views ? view : "", subject, parameters: Object.fromEntries(new URLSearchParams(search)) };
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

function route() {
  leaving.abort();
  leaving = new AbortController();
  const { view, subject, parameters } = place();
  const shown = signingIn ? "sign-in" : view || "overview";
  for (const part of document.querySelectorAll("[data-view]")) part.hidden = !part.dataset.view.split(" ").includes(shown);
  for (const item of document.querySelectorAll("header nav a")) {
    if (item.hash === `#/${view}`) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
  if (!signingIn) views[view](subject, parameters, leaving.signal);
  const moved = shownView !== null && shownView !== `${shown} ${subject}`;
  shownView = `${shown} ${subject}`;
  if (moved) arrive(shown);
  viewTitle = subject || TITLES[shown];
  sayTitle();
}

/** Moves the focus to where a view begins. */
function arrive(view) {
  scrollTo({ top: 0, behavior: "instant" });
  const target = `[data-view~="${view}"] [data-arrive], [data-view~="${view}"][data-arrive]`;
  document.querySelector(target).focus({ preventScroll: true });
}

addEventListener("hashchange", () => {
  signingIn = false; // what the new view needs it asks for itself
  route();
  poll();
});
