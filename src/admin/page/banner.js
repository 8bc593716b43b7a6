// What is wrong, above every view, in the title and in the icon.

const ICON = document.querySelector("link[rel=icon]");
const BLUE = "1f4e8c", RED = "c4251c", AMBER = "b36b00", GREY = "6b7280";
const icon = ICON.href;
let problems = [];
let reachable = true;
let lastAnswer = null;

const troubled = () => problems.some((problem) => problem.severity === "error");

function showProblems(found) {
  problems = found;
  showBanner(byId("errors"), found.filter((problem) => problem.severity === "error"));
  showBanner(byId("warnings"), found.filter((problem) => problem.severity !== "error"));
  document.body.classList.toggle("trouble", troubled());
}

function showBanner(banner, found) {
  const line = ({ message, since }) => element("li", {}, text(sentences(message)), ...(since ? [" Since ", timeNode(since), "."] : []));
  const lines = found.map(line);
  announce(banner, found.map((problem) => problem.kind).join(), lines.map((item) => item.textContent).join("\n"), lines.length > 0 ? [element("ul", {}, ...lines)] : []);
}

/** Changes an alert. Screen readers hear it only if it is about something new, not with every change of a number. */
function announce(alert, about, words, content) {
  if (alert.dataset.words === words) return;
  alert.setAttribute("aria-live", alert.dataset.about === about ? "off" : "assertive");
  Object.assign(alert.dataset, { about, words });
  alert.replaceChildren(...content);
  alert.hidden = content.length === 0;
}

function sayReachable() {
  reachable = true;
  lastAnswer = new Date();
  announce(byId("unreachable"), "", "", []);
  document.body.classList.remove("stale");
}

function sayUnreachable(error) {
  reachable = false;
  const what = error instanceof Refusal ? sentence(error) : "namegate does not respond.";
  const old = lastAnswer && duration(Math.max(1, Math.round((Date.now() - lastAnswer) / 1000)));
  const words = `${what}${old ? ` This page is ${old} old.` : ""} Retrying every second.`;
  announce(byId("unreachable"), what, words, [words]);
  document.body.classList.add("stale");
  sayTitle();
}

/** The title counts the problems; without one, it names the view. */
function sayTitle() {
  const failing = problems.filter((problem) => problem.severity === "error").length;
  const [color, title] = !reachable ? [GREY, "namegate: unreachable"]
    : failing > 0 ? [RED, `namegate: ${plural(failing, "problem")}`]
      : problems.length > 0 ? [AMBER, `namegate: ${plural(problems.length, "warning")}`]
        : [BLUE, viewTitle ? `${viewTitle} · namegate` : "namegate"];
  document.title = title;
  const href = icon.replace(BLUE, color);
  if (ICON.href !== href) ICON.href = href;
}
