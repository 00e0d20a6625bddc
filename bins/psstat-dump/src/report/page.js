"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  // Of a palette that color-blind readers can tell apart; the total is drawn in the color of text.
  const COLORS = ["#2a78c2", "#e07b20", "#2f9e6e", "#cc4778", "#8a63d2", "#b59a00", "#17a2b8", "#a0522d", "#7a8b99", "#d6336c"];

  const scaled = (value, step, units) => {
    let at = 0;
    while (Math.abs(value) >= step && at < units.length - 1) { value /= step; at += 1; }
    return String(Math.round(value * 10) / 10) + units[at];
  };
  // Distances of ticks that are short in powers of 1024.
  const BINARY = [0, 1, 2, 3, 4].flatMap((power) => [1, 2, 5, 10, 20, 50, 100, 200, 500].map((digits) => digits * 1024 ** power));
  const FORMATS = {
    percent: (value) => value.toFixed(1) + " %",
    bytes: (value) => scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]),
    "bytes/s": (value) => scaled(value, 1024, [" B/s", " KiB/s", " MiB/s", " GiB/s"]),
    "/s": (value) => scaled(value, 1000, ["/s", "k/s", "M/s"]),
    count: (value) => scaled(value, 1000, ["", "k", "M"]),
  };
  const format = (unit, value) => (value === null || value === undefined ? "-" : FORMATS[unit](value));

  byId("title").textContent = "Processes of " + (data.host || "a host");
  document.title = "psstat-dump report: " + data.host + ", " + data.from;
  const each = data.windows_per_point > 1 ? "; a point is the average of " + data.windows_per_point + " windows" : "";
  byId("summary").textContent = data.from + " to " + data.to + " (all times in UTC), " + data.windows +
    " windows of " + data.interval + " s" + each + "; " + data.exit_count + " exits" +
    (data.short_lived ? ", and " + data.short_lived + " processes that lived between two windows" : "") + "; kernel " + data.kernel + ", psstat-dump " + data.program;

  let lines = "images";
  let plots = [];
  let zoom = null;
  const root = document.documentElement;
  const isDark = () => root.classList.contains("dark");
  if (window.matchMedia && matchMedia("(prefers-color-scheme: dark)").matches) root.classList.add("dark");

  const cursor = { sync: { key: "all" }, drag: { x: true, y: false } };

  // All plots have the same range of time.
  const setZoom = (min, max) => {
    zoom = min === null ? null : { min, max };
    const all = data.times;
    for (const plot of plots) {
      plot.setScale("x", zoom || { min: all[0], max: all[all.length - 1] });
    }
  };

  const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);
  const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
  const times = (_, ticks) => ticks.map((tick, at) => clock(tick).replace(/:00$/, "") +
    (at === 0 || day(tick) !== day(ticks[at - 1]) ? "\n" + day(tick) : ""));

  const draw = () => {
    for (const plot of plots) plot.destroy();
    plots = [];
    const main = byId("plots");
    main.replaceChildren();
    const text = getComputedStyle(root).getPropertyValue("--text").trim();
    const grid = getComputedStyle(root).getPropertyValue("--line").trim();
    for (const metric of data.plots) {
      const shown = metric[lines].length || lines === "images" ? metric[lines] : metric.images;
      const box = document.createElement("div");
      box.className = "plot";
      const title = document.createElement("h2");
      title.textContent = metric.title + (shown === metric[lines] ? "" : " (images)");
      box.append(title);
      main.append(box);
      const value = (_, one) => format(metric.unit, one);
      const series = [{ label: "time", value: (_, one) => (one === null ? "-" : clock(one)) }, { label: "total", stroke: text, width: 1, dash: [4, 3], value, points: { show: false } }];
      const columns = [data.times, metric.total];
      shown.forEach((line, at) => {
        series.push({ label: line.label, stroke: COLORS[at % COLORS.length], width: 1.5, value, points: { show: false } });
        columns.push(line.points);
      });
      const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
      const width = () => box.clientWidth - 20;
      const plot = new uPlot({
        width: width(), height: 240, cursor, series,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.05 : 1] } },
        axes: [{ ...axis, space: 80, values: times }, { ...axis, size: 90, incrs: metric.unit.startsWith("bytes") ? BINARY : undefined, values: (_, ticks) => ticks.map((tick) => format(metric.unit, tick)) }],
        hooks: { setSelect: [(one) => {
          if (one.select.width > 0) setZoom(one.posToVal(one.select.left, "x"), one.posToVal(one.select.left + one.select.width, "x"));
        }] },
      }, columns, box);
      // A double click on one plot resets all.
      plot.over.addEventListener("dblclick", () => setZoom(null, null));
      plot.resize = () => plot.setSize({ width: width(), height: 240 });
      plots.push(plot);
    }
    if (zoom) setZoom(zoom.min, zoom.max);
  };

  const table = (id, headings, rows) => {
    const element = document.createElement("table");
    const head = element.createTHead().insertRow();
    const body = element.createTBody();
    let sorted = null;
    const fill = () => {
      body.replaceChildren(...rows.map((row) => {
        const line = document.createElement("tr");
        headings.forEach(([, unit], at) => {
          const cell = line.insertCell();
          // Only as text: names and command lines are untrusted.
          cell.textContent = unit === "text" || unit === "command" ? row[at] ?? "" : unit === "id" ? row[at] : format(unit, row[at]);
          cell.className = unit === "command" ? unit : unit === "text" ? "" : "number";
        });
        return line;
      }));
    };
    headings.forEach(([name, unit], at) => {
      const cell = document.createElement("th");
      cell.textContent = name;
      cell.className = unit === "text" || unit === "command" ? "" : "number";
      cell.addEventListener("click", () => {
        const isText = typeof (rows.find((row) => row[at] !== null) || [])[at] === "string";
        const turn = sorted === at ? -1 : 1;
        sorted = sorted === at ? null : at;
        rows.sort((one, other) => {
          const [a, b] = [one[at], other[at]];
          if (a === null || b === null) return (a === null) - (b === null);
          return turn * (isText ? (a < b ? -1 : a > b ? 1 : 0) : b - a);
        });
        fill();
      });
      head.append(cell);
    });
    fill();
    byId(id).append(element);
  };

  const common = [["CPU average", "percent"], ["CPU highest", "percent"], ["Memory highest", "bytes"], ["Read and written", "bytes"], ["Connections", "count"]];
  table("image-table", [["Image", "text"], ["Processes", "count"], ...common, ["Starts", "count"], ["Exits", "count"]],
    data.image_rows.sort((one, other) => (other[2] || 0) - (one[2] || 0)));
  byId("process-heading").textContent = "Processes: " + data.process_rows.length + " of " + data.process_count + ", by CPU time";
  table("process-table", [["Pid", "id"], ["Images", "text"], ...common, ["Started", "text"], ["End", "text"], ["Command", "command"]], data.process_rows);
  byId("exit-heading").textContent = "Exits: " + data.exit_rows.length + " of " + data.exit_count;
  table("exit-table", [["Time", "text"], ["Pid", "id"], ["Images", "text"], ["End", "text"], ["Command", "command"]], data.exit_rows);

  const select = (which) => {
    lines = which;
    for (const id of ["images", "processes"]) byId(id).setAttribute("aria-pressed", String(id === which));
    draw();
  };
  byId("images").addEventListener("click", () => select("images"));
  byId("processes").addEventListener("click", () => select("processes"));
  byId("reset").addEventListener("click", () => setZoom(null, null));
  byId("theme").addEventListener("click", () => { root.classList.toggle("dark", !isDark()); draw(); });
  window.addEventListener("resize", () => plots.forEach((plot) => plot.resize()));
  draw();
})();
