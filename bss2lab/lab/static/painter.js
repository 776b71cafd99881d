// Draws a frame (see frame.py) on a canvas: panels with axes, series, heat maps and marks.
// One module with scope.js, which follows it.

const WIDTH = 900; // width that a frame's height is meant for
const INK = "#222", FAINT = "#666", GRID = "#e6e6e6";

const PALETTES = {
  blues: (t) => mix([255, 255, 255], [0, 68, 136], t),
  greys: (t) => mix([255, 255, 255], [0, 0, 0], t),
  signed: (t) => (t < 0.5 ? mix([0, 114, 178], [255, 255, 255], 2 * t) : mix([255, 255, 255], [213, 94, 0], 2 * t - 1)),
};

function mix(a, b, t) {
  return a.map((v, k) => Math.round(v + (b[k] - v) * t));
}

function packed([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; // as little-endian machines, all that browsers run on, store it
}

// --- axes -----------------------------------------------------------------------------------------------------

function scale(axis, from, to) {
  const f = axis.log ? Math.log10 : (v) => v;
  const low = f(axis.low), high = f(axis.high);
  const to_pixel = (v) => from + ((f(v) - low) / (high - low)) * (to - from);
  const to_value = (p) => {
    const v = low + ((p - from) / (to - from)) * (high - low);
    return axis.log ? 10 ** v : v;
  };
  return { to_pixel, to_value };
}

function ticks(axis, most) {
  if (axis.names.length) {
    const every = Math.max(1, Math.ceil(axis.names.length / most));
    return axis.names.map((_, k) => k).filter((k) => k % every === 0);
  }
  if (axis.log) {
    const found = [];
    const decades = Math.log10(axis.high / axis.low);
    const steps = decades > 1.7 ? [1] : [1, 2, 5];
    for (let e = Math.floor(Math.log10(axis.low)); e <= Math.ceil(Math.log10(axis.high)); e++) {
      for (const s of steps) {
        const v = s * 10 ** e;
        if (v >= axis.low * 0.999 && v <= axis.high * 1.001) found.push(v);
      }
    }
    const every = Math.max(1, Math.ceil(found.length / most));
    return found.filter((_, k) => k % every === 0);
  }
  const range = axis.high - axis.low;
  const raw = range / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].find((s) => s * power >= raw * 0.999) * power;
  if (axis.integer) step = Math.max(1, Math.round(step));
  const found = [];
  for (let k = Math.ceil(axis.low / step - 1e-9); k * step <= axis.high + step * 1e-9; k++) found.push(k * step);
  return found;
}

function number(v) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  if (size >= 1e5 || size < 1e-3) {
    const e = Math.floor(Math.log10(size) + 1e-9), m = v / 10 ** e;
    const power = "10" + String(e).replace("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
    return Math.abs(m - 1) < 1e-6 ? power : `${+m.toPrecision(3)}·${power}`;
  }
  return String(+v.toPrecision(4));
}

function named(axis, v) {
  const k = Math.round(v);
  return axis.names.length ? (axis.names[k] ?? "") : axis.integer ? String(k) : number(v);
}

// --- drawing --------------------------------------------------------------------------------------------------

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.areas = [];
  }

  draw(frame, data, width) {
    const s = Math.min(1.5, Math.max(0.8, width / WIDTH)), height = frame.height * (width / WIDTH);
    const dpr = window.devicePixelRatio || 1;
    const c = this.canvas;
    if (c.width !== Math.round(width * dpr) || c.height !== Math.round(height * dpr)) {
      c.width = Math.round(width * dpr);
      c.height = Math.round(height * dpr);
      c.style.height = `${height}px`;
    }
    const g = (this.g = c.getContext("2d"));
    this.s = s;
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    g.fillStyle = "#fff";
    g.fillRect(0, 0, width, height);
    const top = 20 * s; // the badge's line
    this.areas = frame.panels.map((panel) => this.panel(panel, data, width, height - top, top));
    this.badge(frame.badge, width);
  }

  font(size, weight = "") {
    this.g.font = `${weight} ${size * this.s}px system-ui, sans-serif`;
  }

  text(words, x, y, { align = "left", base = "alphabetic", colour = INK, size = 12, weight = "", turn = 0, most, halo = false } = {}) {
    const g = this.g;
    this.font(size, weight);
    g.fillStyle = colour;
    g.textAlign = align;
    g.textBaseline = base;
    let shown = words;
    if (most) while (shown.length > 3 && g.measureText(shown).width > most) shown = shown.slice(0, -2).trimEnd() + "…";
    g.save();
    g.translate(x, y);
    g.rotate(turn);
    if (halo) {
      Object.assign(g, { strokeStyle: "#fff", lineWidth: 3 * this.s, lineJoin: "round" });
      g.strokeText(shown, 0, 0);
    }
    g.fillText(shown, 0, 0);
    g.restore();
    return g.measureText(shown).width;
  }

  // Size of letters, 7 … 11, in which the widest of these words has room.
  fitting(words, room) {
    this.font(11);
    const widest = Math.max(1, ...words.map((one) => this.g.measureText(one).width));
    return Math.min(11, Math.max(7, (11 * room) / widest)) || 11; // (a single word: as it is)
  }

  badge(words, width) {
    const g = this.g, s = this.s;
    if (!words) return;
    this.font(11);
    const w = g.measureText(words).width + 14 * s;
    g.fillStyle = FAINT;
    g.beginPath();
    g.roundRect(width - w - 2, 2, w, 16 * s, 4 * s);
    g.fill();
    this.text(words, width - w / 2 - 2, 2 + 8 * s, { align: "center", base: "middle", colour: "#fff", size: 11 });
  }

  panel(panel, data, width, height, offset) {
    const g = this.g, s = this.s, [bl, bt, br, bb] = panel.box;
    const series = panel.layers.filter((l) => l.type === "series");
    const legend = series.filter((l) => l.name);
    this.font(11);
    const named_most = Math.max(0, ...panel.y.names.map((n) => g.measureText(n).width));
    const wide = panel.y.names.length ? Math.min(100 * s, named_most + 12 * s) : 46 * s;
    const left = bl * width + wide + 16 * s, right = br * width - 12 * s;
    const rows = this.rows(legend, right - left);
    const up = offset + bt * height + (22 + 14 * rows.length) * s, low = offset + bb * height - 38 * s;
    const x = scale(panel.x, left, right), y = panel.y.down ? scale(panel.y, up, low) : scale(panel.y, low, up);
    const area = { panel, x, y, left, right, up, low, series };

    const room = right - left;
    const heading = offset + bt * height + 14 * s, gap = 7 * s;
    const titled = this.text(panel.title, left, heading, { size: 12.5, weight: "600", most: panel.note ? room * 0.8 : room });
    if (panel.note) this.text(panel.note, right, heading, { align: "right", size: 11, colour: FAINT, most: room - titled - gap });
    rows.forEach((row, k) => this.legend(row, left, heading + (15 + 14 * k) * s));

    const xt = ticks(panel.x, Math.max(2, Math.floor(room / (54 * s)))), yt = ticks(panel.y, Math.max(2, Math.floor((low - up) / (26 * s))));
    g.lineWidth = 1;
    g.strokeStyle = GRID;
    g.beginPath();
    if (!panel.layers.some((l) => l.type === "heat")) {
      for (const v of yt) line(g, left, Math.round(y.to_pixel(v)) + 0.5, right, Math.round(y.to_pixel(v)) + 0.5);
    }
    g.stroke();
    const size = panel.x.names.length ? this.fitting(xt.map((v) => named(panel.x, v)), (room / (panel.x.high - panel.x.low)) * (xt[1] - xt[0]) - 6 * s) : 11;
    for (const v of xt) this.text(named(panel.x, v), x.to_pixel(v), low + 13 * s, { align: "center", size, colour: FAINT });
    for (const v of yt) this.text(named(panel.y, v), left - 5 * s, y.to_pixel(v), { align: "right", base: "middle", size: 11, colour: FAINT });
    this.text(panel.x.title, (left + right) / 2, low + 29 * s, { align: "center", size: 11.5, most: room });
    this.text(panel.y.title, bl * width + 11 * s, (up + low) / 2, { align: "center", size: 11.5, turn: -Math.PI / 2, most: low - up + 30 * s });

    g.save();
    g.beginPath();
    g.rect(left, up - 1, right - left + 1, low - up + 2);
    g.clip();
    for (const layer of panel.layers) {
      if (layer.type === "series") this.series(layer, area, data);
      else if (layer.type === "heat") this.heat(layer, area, data);
      else this.mark(layer, area);
    }
    g.restore();
    g.strokeStyle = FAINT;
    g.beginPath();
    line(g, left, up, left, low);
    line(g, left, low, right, low);
    g.stroke();
    const drawn = panel.layers.some((l) => l.type === "heat" || (l.type === "series" && l.n > 0));
    if (panel.empty && !drawn) this.text(panel.empty, (left + right) / 2, (up + low) / 2, { align: "center", base: "middle", colour: FAINT });
    return area;
  }

  // Named series in as many lines as they need.
  rows(series, room) {
    this.font(11);
    const found = [];
    let x = Infinity;
    for (const one of series) {
      const need = this.g.measureText(one.name).width + 24 * this.s;
      if (x + need > room + 9 * this.s) {
        found.push([]);
        x = 0;
      }
      found.at(-1).push(one);
      x += need;
    }
    return found;
  }

  legend(series, left, y) {
    const g = this.g, s = this.s;
    let x = left;
    for (const one of series) {
      g.strokeStyle = g.fillStyle = one.colour;
      g.lineWidth = 3 * s;
      g.setLineDash(one.style === "dashed" ? [4 * s, 2 * s] : []);
      g.beginPath();
      if (one.style === "dots" || one.style === "ticks") g.arc(x + 6 * s, y - 4 * s, 3 * s, 0, 7);
      else line(g, x, y - 4 * s, x + 12 * s, y - 4 * s);
      one.style === "dots" || one.style === "ticks" ? g.fill() : g.stroke();
      g.setLineDash([]);
      x += 15 * s + this.text(one.name, x + 15 * s, y, { size: 11 }) + 9 * s;
    }
  }

  series(one, area, data) {
    const g = this.g, s = this.s, X = data.subarray(one.x, one.x + one.n), Y = data.subarray(one.y, one.y + one.n);
    const px = area.x.to_pixel, py = area.y.to_pixel;
    g.globalAlpha = one.alpha;
    g.strokeStyle = g.fillStyle = one.colour;
    const w = one.width * s;
    if (one.style === "dots") {
      for (let k = 0; k < one.n; k++) g.fillRect(px(X[k]) - w / 2, py(Y[k]) - w / 2, w, w);
    } else if (one.style === "ticks") {
      const h = area.panel.y.integer ? Math.max(2, Math.abs(py(1) - py(0)) * 0.8) : 7 * s;
      for (let k = 0; k < one.n; k++) g.fillRect(px(X[k]) - w / 2, py(Y[k]) - h / 2, w, h);
    } else if (one.style === "bars") {
      const base = py(area.panel.y.log ? area.panel.y.low : Math.max(0, area.panel.y.low));
      const wide = one.n > 1 ? Math.max(1, (px(X[1]) - px(X[0])) * 0.9) : 10 * s;
      for (let k = 0; k < one.n; k++) g.fillRect(px(X[k]) - wide / 2, py(Y[k]), wide, base - py(Y[k]));
    } else if (one.style === "band") {
      g.beginPath();
      for (let k = 0; k < one.n; k += 2) g.lineTo(px(X[k]), py(Y[k]));
      for (let k = one.n - 1 - (one.n % 2); k > 0; k -= 2) g.lineTo(px(X[k]), py(Y[k]));
      g.fill();
    } else {
      g.lineWidth = w;
      g.lineJoin = "round";
      g.setLineDash(one.style === "dashed" ? [5 * s, 3 * s] : []);
      g.beginPath();
      let broken = true, before = 0;
      for (let k = 0; k < one.n; k++) {
        if (Number.isNaN(Y[k])) {
          broken = true;
          continue;
        }
        const x = px(X[k]), y = py(Y[k]);
        if (broken) g.moveTo(x, y);
        else {
          if (one.style === "steps") g.lineTo(x, before);
          g.lineTo(x, y);
        }
        broken = false;
        before = y;
      }
      g.stroke();
      g.setLineDash([]);
      if (one.style === "line" && one.n > 0 && one.n <= 2) {
        for (let k = 0; k < one.n; k++) g.fillRect(px(X[k]) - w, py(Y[k]) - w, 2 * w, 2 * w);
      }
    }
    g.globalAlpha = 1;
  }

  heat(one, area, data) {
    const g = this.g, paint = PALETTES[one.palette], values = data.subarray(one.at, one.at + one.rows * one.columns);
    const shade = (v) => paint(Math.min(1, Math.max(0, (v - one.low) / (one.high - one.low))));
    const small = new OffscreenCanvas(one.columns, one.rows);
    const pixels = new ImageData(one.columns, one.rows), words = new Uint32Array(pixels.data.buffer);
    const table = Uint32Array.from({ length: 256 }, (_, k) => packed(paint(k / 255))), none = packed([221, 221, 221]);
    const step = 255 / (one.high - one.low);
    for (let k = 0; k < values.length; k++) {
      const v = values[k];
      words[k] = v === v ? table[Math.min(255, Math.max(0, Math.round((v - one.low) * step)))] : none;
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    const x0 = area.x.to_pixel(-0.5), x1 = area.x.to_pixel(one.columns - 0.5);
    const y0 = area.y.to_pixel(-0.5), y1 = area.y.to_pixel(one.rows - 0.5);
    g.imageSmoothingEnabled = false;
    g.save();
    g.translate(x0, y0);
    g.scale((x1 - x0) / one.columns, (y1 - y0) / one.rows);
    g.drawImage(small, 0, 0);
    g.restore();
    const h = Math.abs(y1 - y0) / one.rows, w = Math.abs(x1 - x0) / one.columns;
    if (!one.written || Math.min(h, w / 2) < 8) return;
    values.forEach((v, k) => {
      if (Number.isNaN(v)) return;
      const [r, green, b] = shade(v), dark = 0.3 * r + 0.6 * green + 0.1 * b < 140;
      const x = area.x.to_pixel(k % one.columns), y = area.y.to_pixel(Math.floor(k / one.columns));
      this.text(String(Math.round(v)), x, y, { align: "center", base: "middle", size: Math.min(11, (h / this.s) * 0.6), colour: dark ? "#fff" : INK });
    });
  }

  mark(one, area) {
    const g = this.g, s = this.s;
    g.strokeStyle = one.colour;
    g.lineWidth = 1.2 * s;
    g.setLineDash(one.dashed ? [4 * s, 3 * s] : []);
    g.beginPath();
    if (one.along === "x") line(g, area.x.to_pixel(one.at), area.up, area.x.to_pixel(one.at), area.low);
    else line(g, area.left, area.y.to_pixel(one.at), area.right, area.y.to_pixel(one.at));
    g.stroke();
    g.setLineDash([]);
    if (!one.name) return;
    if (one.along === "x") {
      const x = area.x.to_pixel(one.at), flip = x - area.left < 14 * s;
      this.text(one.name, x + (flip ? 11 : -4) * s, area.low - 6 * s, { size: 11, colour: one.colour, halo: true, turn: -Math.PI / 2, most: area.low - area.up - 8 * s });
    } else {
      const y = area.y.to_pixel(one.at), under = y - area.up < 14 * s;
      this.text(one.name, area.right - 4 * s, y + (under ? 12 : -4) * s, { align: "right", size: 11, colour: one.colour, halo: true });
    }
  }
}

function line(g, x0, y0, x1, y1) {
  g.moveTo(x0, y0);
  g.lineTo(x1, y1);
}
