// The page of one run: live numbers, charts, following logs, the cancel dialog. Without it the page can be read as it is.

import { Chart, bindTools, spell, whenSeen } from "./charts.js";
import { Live } from "./live.js";

const root = document.querySelector("[data-run]");
const view = { total: Number(root.dataset.total), marks: [], log: false, smoothing: 0 };
let charts = new Map(); // element → Chart

const collectCharts = () => {
  charts = new Map();
  const marks = document.querySelector("[data-marks]");
  if (marks) view.marks = JSON.parse(marks.dataset.marks);
  const figures = [...document.querySelectorAll("[data-chart]")];
  for (const figure of figures) {
    const labels = figure.dataset.labels.split("\t");
    const lines = figure.dataset.chart.split(",").map((key, at) => ({ key, label: labels[at] || key, number: at + 1 }));
    charts.set(figure, new Chart(figure.querySelector("[data-plot]"), {
      title: figure.querySelector("figcaption b").textContent, unit: figure.dataset.unit, lines, view,
    }));
  }
  whenSeen(figures, (figure) => load([charts.get(figure)].filter(Boolean)));
};

const load = async (wanted) => {
  const keys = wanted.flatMap((chart) => chart.lines.map((line) => line.key));
  if (!keys.length) return;
  try {
    const answer = await fetch(`${root.dataset.curvesUrl}?points=1000&keys=${encodeURIComponent(keys.join(","))}`);
    if (!answer.ok) return;
    const { total, curves } = await answer.json();
    view.total = total;
    for (const chart of wanted) {
      for (const { key } of chart.lines) if (curves[key]) chart.set(key, curves[key]);
      chart.draw();
    }
  } catch {
    // The drawing of the server stays.
  }
};

// Several changes within a moment ask once.
let reloading = null;
let fetched = null;
const later = (milliseconds, work) => setTimeout(work, milliseconds);

const refetchCurves = () => {
  fetched ??= later(250, () => { fetched = null; load([...charts.values()].filter((chart) => chart.isLoaded)); });
};

const reload = () => {
  reloading ??= later(300, async () => {
    reloading = null;
    let answer;
    try {
      answer = await fetch(location.href, { headers: { "X-Live": "1" } });
    } catch {
      return;
    }
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    swap("run-head", page);
    onState(lastState);
    const tab = document.getElementById("run-tab");
    if (tab.querySelector("[data-steady]")) return;
    const keys = (text) => [...text.querySelectorAll("[data-chart]")].map((one) => one.dataset.chart).join(" ");
    const logs = tab.querySelector("[data-log]");
    const busy = tab.contains(document.activeElement) || getSelection().type === "Range";
    if (logs || (keys(tab) && keys(tab) === keys(page))) {
      // Charts and logs grow by themselves; only what stands around them is new.
      for (const part of page.querySelectorAll("#run-tab [aria-labelledby]")) {
        const label = part.getAttribute("aria-labelledby");
        const old = tab.querySelector(`[aria-labelledby="${label}"]`);
        if (old && !old.querySelector("[data-chart]") && !part.querySelector("[data-chart]") && !old.contains(document.activeElement)) {
          old.replaceWith(document.adoptNode(part));
        }
      }
      const marks = page.querySelector("[data-marks]");
      if (marks) { view.marks = JSON.parse(marks.dataset.marks); charts.forEach((chart) => chart.plot?.redraw()); }
    } else if (!busy) {
      swap("run-tab", page);
      document.getElementById("run-tab").querySelectorAll("[data-chart-tools]").forEach((one) => { one.hidden = false; });
      collectCharts();
    }
  });
};

const swap = (id, page) => {
  const [old, fresh] = [document.getElementById(id), page.getElementById(id)];
  if (!old || !fresh) return;
  const focused = document.activeElement?.dataset?.verb;
  old.replaceWith(document.adoptNode(fresh));
  if (focused) fresh.querySelector(`[data-verb="${focused}"]`)?.focus();
};

const showState = (state) => {
  const texts = state.texts;
  for (const place of document.querySelectorAll("[data-live]")) {
    const text = texts[place.dataset.live];
    if (text !== undefined && place.textContent !== text) place.textContent = text;
  }
  const bar = document.querySelector("[data-live-progress]");
  if (bar) {
    bar.max = state.total || 1;
    bar.value = state.step;
    bar.setAttribute("aria-label", `Progress: ${state.percent} % of all steps`);
  }
  view.total = state.total;
  const heard = document.querySelector("[data-live-heard]");
  if (heard) heard.textContent = "just now";
  if (root.dataset.state !== state.state) {
    root.dataset.state = state.state;
    reload();
  }
};

const showPoints = (points) => {
  let lost = false;
  for (const chart of charts.values()) {
    if (!chart.isLoaded) continue;
    let grew = false;
    for (const { key } of chart.lines) {
      if (!points[key]) continue;
      const curve = chart.curves.get(key);
      if (!curve) { lost = true; continue; }
      grew = true;
      lost = !curve.add(...points[key]) || lost;
    }
    if (grew) chart.draw();
  }
  if (lost) refetchCurves();
  for (const [key, [, values]] of Object.entries(points)) {
    for (const row of document.querySelectorAll(`tr[data-key="${CSS.escape(key)}"] [data-last]`)) row.textContent = spell(values.at(-1));
  }
  const known = document.querySelector("[data-known]")?.dataset.known.split(" ") ?? [];
  const fresh = Object.keys(points).filter((key) => !known.includes(key) && !askedFor.has(key));
  // A metric that the page has never seen may bring a chart; each is asked for once.
  fresh.forEach((key) => askedFor.add(key));
  if (fresh.length && (document.querySelector("[data-marks]") || !charts.size)) reload();
  const never = [...document.querySelectorAll("[data-never]")].flatMap((one) => one.dataset.never.split(" "));
  if (never.some((key) => points[key]?.[1].some((value) => value !== 0))) reload();
  if ([...document.querySelectorAll("[data-ledger]")].some((one) => points[one.dataset.ledger])) {
    ledger ??= later(5000, () => { ledger = null; reload(); });
  }
};
const askedFor = new Set();
let ledger = null;

const onChange = (change) => {
  if (change.state) showState(change.state);
  if (change.phase !== undefined) document.querySelector("[data-live-phase]").textContent = change.phase ? ` · ${change.phase}` : "";
  if (change.marks?.length) {
    const known = new Set(view.marks.map((mark) => `${mark.kind} ${mark.step}`));
    view.marks.push(...change.marks.filter((mark) => !known.has(`${mark.kind} ${mark.step}`)));
    view.marks.sort((a, b) => a.step - b.step);
  }
  if (change.rollouts) document.dispatchEvent(new CustomEvent("rollouts-stored", { detail: change.rollouts }));
  if (change.points) showPoints(change.points);
  if (change.resync) refetchCurves();
  if (change.reload || change.over) reload();
};

const STATES = { waiting: "Connection lost; trying again.", polling: "Live stream blocked; asking every 3 s.", closed: "Live updates ended; reload the page." };
let lastState = "live";
const onState = (state) => {
  lastState = state;
  const place = document.querySelector("[data-live-state]");
  if (!place) return;
  place.hidden = !STATES[state];
  place.textContent = STATES[state] ?? "";
};

const followLog = () => {
  const box = document.querySelector("[data-log]");
  const follow = document.querySelector("[data-follow]");
  if (!box || !follow) return;
  document.querySelector("[data-follow-label]").hidden = false;
  const list = box.querySelector("ol");
  let offset = box.dataset.offset;
  const down = () => { box.scrollTop = box.scrollHeight; };
  down();
  const read = async () => {
    if (!follow.checked || document.hidden) return;
    try {
      const answer = await fetch(`${box.dataset.logUrl}&offset=${offset}`);
      if (!answer.ok) return;
      const { lines, offset: next } = await answer.json();
      offset = next;
      const words = box.dataset.words.toLowerCase();
      let place = Number(list.lastElementChild?.getAttribute("value") ?? 0);
      for (const line of lines) {
        place += 1;
        if (words && !line.toLowerCase().includes(words)) continue;
        const row = document.createElement("li");
        row.className = "ln";
        row.value = place;
        row.textContent = `${line}\n`;
        list.append(row);
      }
      while (list.children.length > 5000) list.firstElementChild.remove();
      document.querySelector("[data-log-count]").textContent = `${list.children.length.toLocaleString("en")} lines`;
      if (lines.length) down();
    } catch {
      // Asked again soon.
    }
  };
  setInterval(read, 2000);
  follow.addEventListener("change", () => { if (follow.checked) { down(); read(); } });
};

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    event.preventDefault();
    document.getElementById(opener.dataset.dialog).showModal();
  } else if (event.target.closest("[data-dialog-close]")) {
    event.target.closest("dialog").close();
  } else if (event.target.closest("button[aria-disabled=true]")) {
    event.preventDefault();
  }
});

bindTools(view, () => [...charts.values()]);
collectCharts();
followLog();
if (root.dataset.active === "yes") {
  new Live({ streamUrl: root.dataset.liveUrl, nowUrl: root.dataset.nowUrl, cursor: root.dataset.cursor, onChange, onState }).start();
}
