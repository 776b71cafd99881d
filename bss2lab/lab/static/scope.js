// Shows the latest frame (drawn by painter.js) and reports what the pointer and the keys do.
// Python sends {type: "frame", id, asks, frame} with one binary buffer of float32; a frame that asks for it is
// acknowledged with {type: "drawn", id} when it was drawn, and Python sends none before. How frames come: early.js.

const REACH = 16; // how far a pointer may be from the point that it means, CSS pixels

function floats(buffer) {
  if (!buffer) return new Float32Array(0);
  const view = ArrayBuffer.isView(buffer) ? buffer : new Uint8Array(buffer);
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

// --- what is under the pointer ------------------------------------------------------------------------------------

function area_at(areas, px, py) {
  return areas.find((a) => px >= a.left - 6 && px <= a.right + 6 && py >= a.up - 6 && py <= a.low + 6);
}

function meant(area, data, px, py) {
  for (const heat of area.panel.layers.filter((l) => l.type === "heat")) {
    const c = Math.round(area.x.to_value(px)), r = Math.round(area.y.to_value(py));
    if (c < 0 || r < 0 || c >= heat.columns || r >= heat.rows) continue;
    const unit = heat.unit ? ` ${heat.unit}` : "";
    const words = `${area.panel.y.label} ${named(area.panel.y, r)}, ${area.panel.x.label} ${named(area.panel.x, c)}: ${heat.name} ${number(data[heat.at + r * heat.columns + c])}${unit}`;
    return { px: area.x.to_pixel(c), py: area.y.to_pixel(r), x: c, y: r, words };
  }
  let best = null, least = REACH * REACH;
  area.series.forEach((one, number_) => {
    for (let k = 0; k < one.n; k++) {
      const dx = area.x.to_pixel(data[one.x + k]) - px;
      if (dx > REACH || dx < -REACH) continue;
      const dy = one.style === "bars" ? 0 : area.y.to_pixel(data[one.y + k]) - py, d = dx * dx + dy * dy;
      if (d < least) {
        least = d;
        best = [number_, k];
      }
    }
  });
  return best ? point(area, data, ...best) : null;
}

function point(area, data, series, k) {
  const one = area.series[series], x = data[one.x + k], y = data[one.y + k], { x: ax, y: ay } = area.panel;
  const unit = (axis) => (axis.unit ? ` ${axis.unit}` : "");
  const value = one.thing ? `${one.thing} ${Math.round(y - one.origin)}` : `${ay.label} ${named(ay, y)}${unit(ay)}`;
  const words = `${one.name ? one.name + " · " : ""}${value} · ${ax.label} ${named({ ...ax, integer: false }, x)}${unit(ax)}`;
  return { px: area.x.to_pixel(x), py: area.y.to_pixel(y), x, y, words };
}

// --- the widget ---------------------------------------------------------------------------------------------------

function render({ model, el }) {
  const root = document.createElement("div"), canvas = document.createElement("canvas"), tip = document.createElement("div");
  const box = document.createElement("div");
  root.className = "bss2lab-scope";
  Object.assign(root.style, { position: "relative", width: "100%", minWidth: "320px", background: "#fff" });
  Object.assign(canvas.style, { width: "100%", display: "block", touchAction: "none" });
  Object.assign(tip.style, { position: "absolute", display: "none", pointerEvents: "none", background: "#222", color: "#fff", padding: "3px 7px", borderRadius: "4px", font: "12px system-ui, sans-serif", whiteSpace: "nowrap", zIndex: 5 });
  Object.assign(box.style, { position: "absolute", display: "none", pointerEvents: "none", background: "#0072B233", border: "1px solid #0072B2" });
  canvas.setAttribute("role", "img");
  canvas.tabIndex = 0;
  root.append(canvas, tip, box);
  el.append(root);

  const painter = new Painter(canvas);
  // a kernel that is gone hears nothing, and nobody is to see an error for it
  const say = (message) => {
    try {
      model.send(message);
    } catch {}
  };
  let frame = null, data = new Float32Array(0), number_of = 0, waiting = false, down = null, walk = { area: 0, series: 0, k: -1 };

  function paint() {
    waiting = false;
    if (!frame || !root.isConnected) return;
    const width = root.clientWidth;
    if (!width) return;
    painter.draw(frame, data, width);
    canvas.setAttribute("aria-label", frame.alt);
    root.dataset.frame = String(number_of);
    root.dataset.areas = JSON.stringify(painter.areas.map((a) => ({
      key: a.panel.key, left: a.left, right: a.right, up: a.up, low: a.low,
      x: [a.panel.x.low, a.panel.x.high], y: [a.panel.y.low, a.panel.y.high],
    })));
  }

  function soon() {
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(paint);
    }
  }

  function on_shown(message, block) {
    if (message.type !== "frame" || message.id <= number_of) return;
    frame = message.frame;
    data = floats(block);
    number_of = message.id;
    soon();
    if (!message.asks) return;
    // after the picture was put on the screen; a hidden tab never paints, and must not hold up the others
    const tell = () => say({ type: "drawn", id: message.id });
    document.hidden ? tell() : requestAnimationFrame(() => setTimeout(tell, 0));
  }

  function show(found, area) {
    if (!found) {
      tip.style.display = "none";
      return;
    }
    tip.textContent = found.words;
    tip.style.display = "block";
    const room = root.clientWidth - tip.offsetWidth - 4;
    tip.style.left = `${Math.max(0, Math.min(found.px + 10, room))}px`;
    tip.style.top = `${Math.max(0, found.py - 28)}px`;
    canvas.style.cursor = area.panel.clicks ? "pointer" : "crosshair";
  }

  const at = (event) => {
    const r = canvas.getBoundingClientRect();
    return [event.clientX - r.left, event.clientY - r.top];
  };

  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = at(event);
    if (down?.area.panel.brushes) {
      const [l, t, r, b] = corners(down, px, py);
      Object.assign(box.style, { display: "block", left: `${l}px`, top: `${t}px`, width: `${r - l}px`, height: `${b - t}px` });
      return;
    }
    const area = area_at(painter.areas, px, py);
    canvas.style.cursor = "default";
    show(area ? meant(area, data, px, py) : null, area);
  });
  canvas.addEventListener("pointerleave", () => show(null));
  canvas.addEventListener("pointerdown", (event) => {
    const [px, py] = at(event), area = area_at(painter.areas, px, py);
    down = area ? { area, px, py } : null;
    if (down) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", (event) => {
    const start = down, [px, py] = at(event);
    down = null;
    box.style.display = "none";
    if (!start) return;
    const area = start.area, moved = Math.hypot(px - start.px, py - start.py) > 5;
    if (moved && area.panel.brushes) {
      const [l, t, r, b] = corners(start, px, py), v = (p, q) => [area.x.to_value(p), area.y.to_value(q)];
      const [one, other] = [v(l, t), v(r, b)];
      say({ type: "brush", panel: area.panel.key, low: [Math.min(one[0], other[0]), Math.min(one[1], other[1])], high: [Math.max(one[0], other[0]), Math.max(one[1], other[1])] });
    } else if (!moved && area.panel.clicks) click(area, meant(area, data, px, py) ?? { x: area.x.to_value(px), y: area.y.to_value(py) });
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], turn = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const all = painter.areas.flatMap((area, a) => area.series.map((one, k) => ({ a, k, n: one.n }))).filter((e) => e.n);
    if (!all.length || (!step && !turn && event.key !== "Enter" && event.key !== "Escape")) return;
    event.preventDefault();
    if (event.key === "Escape") return show(null);
    let here = Math.max(0, all.findIndex((e) => e.a === walk.area && e.k === walk.series));
    if (turn) here = (here + turn + all.length) % all.length;
    const { a, k, n } = all[here];
    walk = { area: a, series: k, k: Math.min(n - 1, Math.max(0, turn ? walk.k : walk.k + (step ?? 0))) };
    const area = painter.areas[a], found = point(area, data, k, Math.max(0, walk.k));
    show(found, area);
    if (event.key === "Enter" && area.panel.clicks) click(area, found);
  });

  function corners(start, px, py) {
    const a = start.area, x = Math.min(a.right, Math.max(a.left, px)), y = Math.min(a.low, Math.max(a.up, py));
    return [Math.min(start.px, x), Math.min(start.py, y), Math.max(start.px, x), Math.max(start.py, y)];
  }

  function click(area, found) {
    say({ type: "click", panel: area.panel.key, x: found.x, y: found.y });
  }

  function ended() {
    const words = document.createElement("div");
    words.setAttribute("role", "alert");
    words.textContent = "The kernel has ended; this is its last picture. Run the cell again.";
    Object.assign(words.style, { color: "#b00020", font: "600 13px system-ui, sans-serif", padding: "4px 0" });
    if (!root.querySelector("[role=alert]")) root.prepend(words);
  }

  const resized = new ResizeObserver(soon);
  resized.observe(root);
  const deaf = listen(model, on_shown);
  model.on("comm_live_update", ended); // it lived when this began
  return () => {
    resized.disconnect();
    deaf();
    model.off("comm_live_update", ended);
  };
}

export default { render };
