// Charts of queries. Those of a group share the time axis; each has its own scale.

const HEIGHT = 48;
const KINDS = { allowed: ["Allowed", "good"], blocked: ["Blocked", "warn"], errors: ["Errors", "bad"], other: ["Other", "plain"] };

class Charts {
  /**
   * Puts charts of `kinds` into `container`. `tell(values, at)` gives the figure and the words to print, for all values
   * or for the one at the pointer. `choose(slot)` is called for a click.
   */
  constructor(container, kinds, tell, choose) {
    this.tell = tell;
    this.at = null;
    this.charts = kinds.map((kind) => {
      const figure = stamp("chart");
      const part = (selector) => figure.querySelector(selector);
      const [title, tone] = KINDS[kind];
      say(part("h3"), title);
      figure.id = `${container.id}-${kind}`;
      container.append(figure);
      return { kind, title, tone, figure, values: [], svg: part("svg"), area: part(".area"), line: part(".line"), mark: part(".mark"), rate: part(".rate"), when: part(".when") };
    });
    for (const { svg } of this.charts) {
      for (const type of ["pointermove", "pointerleave", "pointercancel"]) svg.addEventListener(type, (event) => this.point(event));
      if (choose) svg.addEventListener("click", () => this.at !== null && choose(this.at));
    }
  }

  /** Draws lists of numbers in `slots` slots; the last number is in the last slot. */
  draw(lists, slots) {
    this.slots = slots;
    for (const chart of this.charts) {
      chart.values = (lists[chart.kind] ?? []).slice(-slots);
      const peak = Math.max(1, ...chart.values);
      const left = slots - chart.values.length;
      const points = chart.values.map((value, at) => `${left + at + 0.5},${HEIGHT - 1 - (value / peak) * (HEIGHT - 3)}`);
      const line = points.length > 0 ? `M${points.join("L")}` : "";
      chart.svg.setAttribute("viewBox", `0 0 ${slots} ${HEIGHT}`);
      chart.line.setAttribute("d", line);
      chart.area.setAttribute("d", line && `${line}V${HEIGHT}H${left + 0.5}Z`);
      const isZero = chart.values.every((value) => value === 0);
      chart.figure.className = `card chart ${isZero ? "plain" : chart.tone}`;
      this.print(chart);
    }
  }

  /** Prints the figure of all slots, or of the slot at the pointer. */
  print(chart) {
    const left = this.slots - chart.values.length;
    const at = this.at !== null && this.at >= left ? this.at : null;
    const [figure, words] = this.tell(chart.values, at === null ? undefined : at - left);
    say(chart.rate, figure);
    say(chart.when, words);
    chart.mark.setAttribute("d", at === null ? "" : `M${at + 0.5},0V${HEIGHT}`);
    if (at === null) chart.svg.setAttribute("aria-label", `${chart.title}: ${figure}, ${words}`);
  }

  point(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const slot = Math.floor(((event.clientX - box.left) / box.width) * this.slots);
    this.at = event.type === "pointermove" ? Math.min(this.slots - 1, Math.max(0, slot)) : null;
    this.charts.forEach((chart) => this.print(chart));
  }
}

/** The charts of a day's lookups, from the history; a click leads to the lookups of that time. */
class DayCharts {
  static STEP = 300; // seconds

  constructor(container) {
    this.container = container;
    const tell = (values, at) => {
      if (at !== undefined) return [count(values[at]), this.time(at)];
      const most = values.indexOf(Math.max(0, ...values));
      return [count(values.reduce((sum, value) => sum + value, 0)), values[most] > 0 ? `most at ${this.time(most)}` : "none"];
    };
    this.charts = new Charts(container, ["allowed", "blocked", "errors"], tell, (at) => {
      const [since, until] = [at, at + 1].map((slot) => this.date(slot).toISOString());
      go(["log"], { ...this.filter, since, until });
    });
  }

  date(slot) {
    return new Date(this.start + slot * this.step * 1000);
  }

  time(slot) {
    return wallClock(this.date(slot)).slice(11, 16);
  }

  async load(filter, signal) {
    this.filter = filter;
    await load(this.container, async () => {
      const graph = await request(query("api/v1/log/graph", { ...filter, since: ago(DAY), step: DayCharts.STEP }), { signal });
      this.start = Date.parse(graph.start);
      this.step = graph.step_seconds;
      this.container.append(...this.charts.charts.map((chart) => chart.figure));
      this.charts.draw(graph, Math.max(1, graph.allowed.length));
      showOrEmpty(this.container);
    }, NO_HISTORY);
  }
}
