// The three charts of queries per second. They share the time axis; each has its own scale.

const SECONDS = 300;
const HEIGHT = 48;
const LATELY = 10; // seconds: the printed rate is a mean over these

const charts = ["allowed", "blocked", "other"].map((key) => {
  const figure = byId(key);
  const part = (selector) => figure.querySelector(selector);
  return {
    key, values: [], title: part("h3"), svg: part("svg"), area: part(".area"), line: part(".line"),
    mark: part(".mark"), rate: part(".rate"), when: part(".when"),
  };
});
let pointedAt = null; // seconds ago

function drawCharts(rates) {
  for (const chart of charts) {
    chart.values = rates[chart.key].slice(-SECONDS);
    const peak = Math.max(1, ...chart.values);
    const left = SECONDS - chart.values.length;
    const points = chart.values.map((value, at) => `${left + at + 0.5},${HEIGHT - 1 - (value / peak) * (HEIGHT - 3)}`);
    const line = points.length > 0 ? `M${points.join("L")}` : "";
    chart.line.setAttribute("d", line);
    chart.area.setAttribute("d", line && `${line}V${HEIGHT}H${left + 0.5}Z`);
    sayChart(chart);
  }
}

/** Prints the current rate, or the rate at the pointer. */
function sayChart(chart) {
  const { values } = chart;
  const pointed = pointedAt === null ? undefined : values[values.length - 1 - pointedAt];
  const lately = values.slice(-LATELY);
  const now = rate(lately.reduce((sum, value) => sum + value, 0) / Math.max(1, lately.length));
  const peak = count(Math.max(0, ...values));
  say(chart.rate, pointed === undefined ? now : count(pointed));
  say(chart.when, pointed === undefined ? `peak ${peak}` : `${duration(pointedAt || 1)} ago`);
  chart.mark.setAttribute("d", pointed === undefined ? "" : `M${SECONDS - pointedAt - 0.5},0V${HEIGHT}`);
  const label = `${chart.title.textContent} queries per second: now ${now}, peak in the last 5 minutes ${peak}`;
  if (chart.svg.getAttribute("aria-label") !== label) chart.svg.setAttribute("aria-label", label);
}

function point(event) {
  const box = event.currentTarget.getBoundingClientRect();
  const second = Math.floor(((event.clientX - box.left) / box.width) * SECONDS);
  pointedAt = event.type === "pointermove" ? SECONDS - 1 - Math.min(SECONDS - 1, Math.max(0, second)) : null;
  charts.forEach(sayChart);
}

for (const { svg } of charts) {
  for (const type of ["pointermove", "pointerleave", "pointercancel"]) svg.addEventListener(type, point);
}
