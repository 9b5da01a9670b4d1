(() => {
  "use strict";
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const names = new Set(["ink", "faint", "line", "warm", "third", "fourth", "shade", "grid", "paper"]);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");

  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();

  // A deep copy in which "@line" is the page's colour of that name.
  const painted = (value) => {
    if (typeof value === "string") {
      return value[0] === "@" && names.has(value.slice(1)) ? colour(value.slice(1)) : value;
    }
    if (Array.isArray(value)) return typeof value[value.length - 1] === "number" ? value : value.map(painted);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item)]));
    }
    return value;
  };

  const axis = () => ({
    color: colour("quiet"), gridcolor: colour("grid"), linecolor: colour("faint"),
    zerolinecolor: colour("grid"), automargin: true, ticks: "outside", tickcolor: colour("faint"),
    ticklen: 4, title: { font: { color: colour("ink"), size: 13 }, standoff: 10 },
  });

  const merged = (base, own) => {
    const result = { ...base };
    for (const [key, value] of Object.entries(own)) {
      const nested = value && typeof value === "object" && !Array.isArray(value);
      result[key] = nested && result[key] ? merged(result[key], value) : value;
    }
    return result;
  };

  const layoutOf = (figure, plot) => {
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
      height: figure.height, margin: { l: 12, r: 14, t: 12, b: 12 },
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("faint"), font: { color: colour("ink") } },
      legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", itemsizing: "constant" },
      // On a touch screen a drag scrolls the page; only the crystal turns.
      dragmode: figure.solid ? "orbit" : coarse.matches ? false : "zoom",
      uirevision: figure.name,
    };
    // Paper is narrower than most windows.
    if (root.dataset.face === "print") Object.assign(base, { autosize: false, width: 660 });
    for (const key of Object.keys(figure.layout)) {
      if (/^[xy]axis\d*$/.test(key)) base[key] = axis();
    }
    if (figure.layout.ternary) {
      base.ternary = { bgcolor: "rgba(0,0,0,0)" };
      for (const key of ["aaxis", "baxis", "caxis"]) base.ternary[key] = { ...axis(), ticks: "" };
      base.margin = { l: 40, r: 40, t: 46, b: 40 };
    }
    if (figure.solid) {
      base.margin = { l: 0, r: 0, t: 0, b: 0 };
      const camera = plot._fullLayout && plot._fullLayout.scene && plot._fullLayout.scene.camera;
      if (camera) base.scene = { camera };
    }
    return merged(painted(figure.layout), merged(base, painted(figure.layout)));
  };

  const tracesOf = (figure) => painted(figure.traces).map((trace) => {
    if (!trace.labels) return trace;
    const { labels, counts, ...rest } = trace;
    rest.text = labels.flatMap((label, number) => new Array(counts[number]).fill(label));
    return rest;
  });

  const hasWebGL = () => {
    try {
      const canvas = document.createElement("canvas");
      return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
    } catch { return false; }
  };

  const draw = async (figure) => {
    const plot = document.getElementById("plot-" + figure.name);
    if (figure.solid && !hasWebGL()) {
      plot.hidden = true;
      const views = document.querySelector(`[data-views="${figure.name}"]`);
      if (views) views.hidden = true;
      const flat = document.getElementById("flat-" + figure.name);
      if (flat) flat.hidden = false;
      return;
    }
    const layout = layoutOf(figure, plot);
    if (figure.solid && plot._fullLayout) layout.scene.camera = plot._fullLayout.scene.camera;
    await Plotly.react(plot, tracesOf(figure), layout,
      { displayModeBar: false, displaylogo: false, responsive: true, scrollZoom: false, doubleClick: "reset" });
    plot.dataset.drawn = "true";
  };

  const drawAll = async () => { for (const figure of figures) await draw(figure); };

  const turned = (eye, angle) => ({
    x: eye.x * Math.cos(angle) - eye.y * Math.sin(angle),
    y: eye.x * Math.sin(angle) + eye.y * Math.cos(angle), z: eye.z,
  });

  const look = (plot, eye) => {
    const alongZ = Math.hypot(eye.x, eye.y) < 0.05 * Math.abs(eye.z);
    const up = alongZ ? { x: 0, y: 1, z: 0 } : { x: 0, y: 0, z: 1 };
    Plotly.relayout(plot, { "scene.camera.eye": eye, "scene.camera.up": up, "scene.camera.center": { x: 0, y: 0, z: 0 } });
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-plot]");
    if (!button) return;
    const plot = document.getElementById("plot-" + button.dataset.plot);
    if (!plot._fullLayout) return;
    if (button.dataset.turn) {
      look(plot, turned(plot._fullLayout.scene.camera.eye, Number(button.dataset.turn)));
    } else {
      const [x, y, z] = JSON.parse(button.dataset.eye);
      look(plot, { x, y, z });
    }
  });

  dark.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { root.dataset.face = "print"; drawAll(); });
  addEventListener("afterprint", () => { delete root.dataset.face; drawAll(); });
  drawAll().then(() => { root.dataset.ready = "true"; });
})();
