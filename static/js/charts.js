// Interactive curves by uPlot in place of the drawings that the server made. Colours come from the style sheet.

const HEIGHT = 230;
const DASHES = [[], [7, 3], [2, 3], [10, 3, 2, 3], [4, 2], [1, 3], [12, 4], [6, 2, 1, 2, 1, 2], [1, 5], [14, 3, 2, 3]];
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

const colour = (name, share = 100) => {
  probe.style.color = share === 100 ? `var(${name})` : `color-mix(in srgb, var(${name}) ${share}%, transparent)`;
  return getComputedStyle(probe).color;
};
const style = (number) => ({ colour: `--c${((number - 1) % 8) + 1}`, dash: DASHES[(number - 1) % DASHES.length] });

export const spell = (value) => {
  if (value === null || value === undefined || !Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e9)) return value.toExponential(2);
  return value.toLocaleString("en", size >= 1e4 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 4 });
};

/** Short enough for an axis: 4 M, 20 k. */
const spellTick = (value) => {
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(value) >= unit) return `${Number((value / (name === "k" ? 1e3 : unit)).toPrecision(4)).toLocaleString("en")} ${name}`;
  }
  if (Math.abs(value) >= 1e-5 && Math.abs(value) < 1e-3) return String(Number(value.toPrecision(3)));
  return value === 0 ? "0" : spell(value);
};

/** Exponential mean without the pull of its start towards zero; gaps stay gaps. */
export const smooth = (values, weight) => {
  let mean = 0;
  let mass = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return mean / mass;
  });
};

/** Points of one curve as they come from the server, with those that arrive later added at the end. */
export class Curve {
  constructor(data) {
    this.steps = data.steps;
    this.mean = data.mean;
    this.low = data.low ?? null;
    this.high = data.high ?? null;
    this.added = 0;
  }

  /** False when the points do not simply follow the last one: the curve must be fetched again. */
  add(steps, values) {
    const last = this.steps.at(-1) ?? -Infinity;
    if (steps.length && steps[0] <= last) return steps.at(-1) <= last;
    this.steps.push(...steps);
    this.mean.push(...values);
    this.low?.push(...values);
    this.high?.push(...values);
    this.added += steps.length;
    return this.added < 2000;
  }
}

export class Chart {
  /** `lines`: [{key, label, number}]; `view` holds what all charts of the page share: total, marks, log, smoothing. */
  constructor(holder, { title, unit, lines, view }) {
    Object.assign(this, { holder, title, unit, lines, view });
    this.curves = new Map();
    this.drawing = holder.innerHTML;
    new ResizeObserver(() => this.plot?.setSize({ width: this.width(), height: HEIGHT })).observe(holder);
  }

  width() {
    return Math.max(this.holder.clientWidth, 260);
  }

  set(key, data) {
    this.curves.set(key, new Curve(data));
  }

  get isLoaded() {
    return this.curves.size > 0;
  }

  /** Columns for uPlot: steps, then mean, smoothed, lowest and highest of each line. */
  columns() {
    const tables = this.lines.map(({ key }) => {
      const curve = this.curves.get(key) ?? { steps: [], mean: [], low: null, high: null };
      const usable = (values) => (this.view.log ? values.map((v) => (v !== null && v > 0 ? v : null)) : values);
      const mean = usable(curve.mean);
      const none = mean.map(() => null);
      const smoothed = this.view.smoothing ? smooth(mean, this.view.smoothing) : none;
      return [curve.steps, mean, smoothed, curve.low ? usable(curve.low) : none, curve.high ? usable(curve.high) : none];
    });
    return tables.length === 1 ? tables[0] : window.uPlot.join(tables);
  }

  options() {
    const { view } = this;
    const series = [{ label: "step", value: (_, v) => (v === null ? "" : v.toLocaleString("en")) }];
    const bands = [];
    for (const { label, number } of this.lines) {
      const { colour: name, dash } = style(number);
      const at = series.length;
      const faint = view.smoothing > 0;
      series.push(
        { label, stroke: colour(name, faint ? 35 : 100), width: faint ? 1 : 1.75, dash, spanGaps: false,
          points: { show: (u, i) => count(u.data[i]) < 60 }, value: (_, v) => (v === null ? "" : spell(v)) },
        { label: `${label}, smoothed`, stroke: colour(name), width: 2, dash, show: faint, points: { show: false },
          value: (_, v) => (v === null ? "" : spell(v)) },
        { stroke: "transparent", width: 0, points: { show: false }, label: "lowest", spanGaps: true },
        { stroke: "transparent", width: 0, points: { show: false }, label: "highest", spanGaps: true },
      );
      bands.push({ series: [at + 3, at + 2], fill: colour(name, 18) });
    }
    const axis = { stroke: colour("--ink-3"), font: `11px ${getComputedStyle(document.body).fontFamily}`,
      grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--axis"), width: 1, size: 4 } };
    return {
      width: this.width(), height: HEIGHT, series, bands,
      padding: [14, 24, 0, 0],
      cursor: { sync: { key: "steps" }, drag: { x: true, y: false }, points: { size: 6 } },
      legend: { live: true, markers: { width: 2 } },
      scales: {
        x: { time: false, range: (u, low, high) => this.rangeOf(u, low, high) },
        y: { distr: view.log ? 3 : 1 },
      },
      axes: [
        { ...axis, grid: { show: false }, values: (_, ticks) => ticks.map((v) => (v % 1 ? "" : v.toLocaleString("en"))), size: 30 },
        { ...axis, size: 54, values: (_, ticks) => ticks.map((v) => (v === null ? "" : spellTick(v))) },
      ],
      hooks: { draw: [(u) => this.drawMarks(u)] },
    };
  }

  /** From zero to the last planned step, unless the reader zoomed in. */
  rangeOf(u, low, high) {
    const steps = u.data[0];
    const whole = low === null || !steps.length || (low === steps[0] && high === steps.at(-1));
    this.zoomed = !whole;
    return whole ? [0, Math.max(this.view.total, steps.at(-1) ?? 1, 1)] : [low, high];
  }

  drawMarks(u) {
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    const ratio = window.devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, 0, width, top + height + 8 * ratio);
    ctx.clip();
    ctx.strokeStyle = ctx.fillStyle = colour("--ink-3");
    ctx.font = `${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    let free = -Infinity;
    for (const mark of this.view.marks) {
      const x = Math.round(u.valToPos(mark.step, "x", true));
      if (x < left - 1 || x > left + width + 1) continue;
      ctx.beginPath();
      if (mark.kind === "checkpoint") {
        const y = top + height;
        ctx.moveTo(x, y); ctx.lineTo(x - 3 * ratio, y + 5 * ratio); ctx.lineTo(x + 3 * ratio, y + 5 * ratio);
        ctx.fill();
        continue;
      }
      ctx.setLineDash([2 * ratio, 2 * ratio]);
      ctx.moveTo(x, top); ctx.lineTo(x, top + height);
      ctx.stroke();
      if (x < free) continue;
      ctx.fillText(mark.label, x + 4 * ratio, top - 2 * ratio);
      free = x + ctx.measureText(mark.label).width + 12 * ratio;
    }
    ctx.restore();
  }

  /** Draw anew after a change of data, of the view or of the theme. */
  draw({ rebuild = false } = {}) {
    if (!window.uPlot || !this.isLoaded) return;
    const data = this.columns();
    if (this.plot && !rebuild) {
      const zoom = this.zoomed ? { min: this.plot.scales.x.min, max: this.plot.scales.x.max } : null;
      this.plot.setData(data, !zoom);
      if (zoom) this.plot.setScale("x", zoom);
      return;
    }
    this.plot?.destroy();
    this.holder.replaceChildren();
    this.plot = new window.uPlot(this.options(), data, this.holder);
    const canvas = this.holder.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${this.title} by optimiser step. The numbers stand below in a table.`);
    this.hideHelpers();
  }

  /** The legend names what a reader can read: not the edges of the band. */
  hideHelpers() {
    const rows = this.holder.querySelectorAll(".u-legend .u-series");
    rows.forEach((row, at) => {
      row.hidden = at > 0 && ((at - 1) % 4 > 1 || ((at - 1) % 4 === 1 && !this.view.smoothing));
    });
  }
}

const count = (values) => values.reduce((sum, value) => sum + (value !== null && value !== undefined), 0);

/** What all charts of a page share, with the controls that change it. */
export const bindTools = (view, charts) => {
  const tools = document.querySelector("[data-chart-tools]");
  const redraw = () => charts().forEach((chart) => chart.draw({ rebuild: true }));
  if (tools) {
    tools.hidden = false;
    tools.addEventListener("submit", (event) => event.preventDefault());
    tools.querySelector("[data-log-scale]").addEventListener("change", (event) => {
      view.log = event.target.checked;
      redraw();
    });
    const slider = tools.querySelector("[data-smoothing]");
    slider.addEventListener("input", () => {
      view.smoothing = Number(slider.value);
      tools.querySelector("[data-smoothing-value]").textContent = view.smoothing ? slider.value : "none";
      redraw();
    });
  }
  new MutationObserver(redraw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "data-density"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
};

/** Calls `show(element)` once for each element when it first comes near the window. */
export const whenSeen = (elements, show) => {
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      show(entry.target);
    }
  }, { rootMargin: "200px" });
  elements.forEach((element) => observer.observe(element));
};
