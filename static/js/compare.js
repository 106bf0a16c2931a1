// Overlay charts of the comparison: the same key of several runs.

import { Chart, bindTools, whenSeen } from "./charts.js";

const copy = document.querySelector("[data-copy-address]");
if (copy) copy.dataset.copy = location.href;

const board = document.querySelector("[data-overlay]");
if (board) {
  const runs = board.dataset.overlay.split("\n").map((line) => line.split("\t")).map(([number, name, url]) => ({ number: Number(number), name, url }));
  const view = { total: Number(board.dataset.total), marks: [], log: false, smoothing: 0 };
  const charts = new Map();
  bindTools(view, () => [...charts.values()]);
  whenSeen([...board.querySelectorAll("[data-chart]")], async (figure) => {
    const key = figure.dataset.chart;
    const chart = new Chart(figure.querySelector("[data-plot]"), {
      title: figure.querySelector("figcaption b").textContent,
      unit: figure.dataset.unit,
      lines: runs.map((run) => ({ key: run.url, label: run.name, number: run.number })),
      view,
    });
    charts.set(figure, chart);
    try {
      await Promise.all(runs.map(async (run) => {
        const answer = await fetch(`${run.url}?points=500&keys=${encodeURIComponent(key)}`);
        if (!answer.ok) throw new Error(answer.status);
        const { curves } = await answer.json();
        if (curves[key]) chart.set(run.url, curves[key]);
      }));
      chart.draw();
    } catch {
      // The drawing of the server stays.
    }
  });
}
