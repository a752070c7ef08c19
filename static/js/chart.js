// Line charts by uPlot, fetched only where a page has one. A figure[data-chart="id"] holds #id, a hidden element with JSON
// {"x": [], "series": [{"name", "values"}], "x_label", "y_label"} and #id-canvas. The canvas carries hx-preserve, so that
// a swap brings new figures to the same chart.
(() => {
  const { chartLibrary: library, chartStyle: style } = document.currentScript.dataset;
  const DASHES = [undefined, [8, 4], [2, 3], [10, 3, 2, 3], [4, 4]];
  const charts = new Map();
  let loading;

  function load() {
    loading ??= new Promise((resolve, reject) => {
      const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: style });
      const script = Object.assign(document.createElement("script"), { src: library, onload: resolve, onerror: reject });
      document.head.append(sheet, script);
    });
    return loading;
  }

  // Colours come from the style sheet: a canvas does not know custom properties.
  function colour(name, host) {
    const probe = document.createElement("span");
    probe.className = name;
    host.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }

  const columns = (data) => [data.x, ...data.series.map((line) => line.values)];
  const shape = (data) => JSON.stringify([data.series.map((line) => line.name), data.x_label, data.y_label]);
  const width = (host) => Math.max(200, host.clientWidth);
  const figure = (value) =>
    value == null ? "–" : Math.abs(value) >= 1000 || Number.isInteger(value) ? value.toLocaleString("en-GB") : value.toPrecision(4);

  function draw(host, data) {
    const axis = { stroke: colour("chart-ink", host), grid: { stroke: colour("chart-grid", host), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const options = {
      width: width(host), height: 240, scales: { x: { time: false } },
      cursor: { y: false }, legend: { live: true },
      axes: [{ ...axis, label: data.x_label, labelSize: 20, labelFont: "12px system-ui" }, { ...axis, size: 56 }],
      series: [
        { label: data.x_label || "step", value: (_, value) => figure(value) },
        ...data.series.map((line, index) => ({
          label: line.name, stroke: colour(`chart-${(index % 5) + 1}`, host), width: 2, dash: DASHES[index % 5],
          spanGaps: true, points: { show: data.x.length < 3 }, value: (_, value) => figure(value),
        })),
      ],
    };
    return new uPlot(options, columns(data), host);
  }

  function feed(figureElement) {
    const id = figureElement.dataset.chart;
    const host = document.getElementById(`${id}-canvas`);
    const figures = document.getElementById(id);
    if (!host || !figures) return;
    const data = JSON.parse(figures.textContent);
    const known = charts.get(id);
    if (known && known.host === host && known.shape === shape(data)) {
      known.plot.setData(columns(data));
      return;
    }
    known?.plot.destroy();
    charts.set(id, { host, shape: shape(data), plot: draw(host, data) });
  }

  async function feedAll() {
    const figures = document.querySelectorAll("figure[data-chart]");
    if (!figures.length) return;
    try {
      await load();
    } catch {
      return;
    }
    figures.forEach(feed);
  }

  function redraw() {
    for (const { plot } of charts.values()) plot.destroy();
    charts.clear();
    feedAll();
  }

  document.addEventListener("DOMContentLoaded", feedAll);
  document.addEventListener("htmx:afterSettle", feedAll);
  document.addEventListener("whetstone:theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", () => {
    for (const { plot, host } of charts.values()) plot.setSize({ width: width(host), height: 240 });
  });
})();
