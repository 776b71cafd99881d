// A pad of side × side grey values, drawn on with mouse, pen, finger or keys (see views/pad.py).
// {type: "pixels"} with one buffer of side² bytes goes both ways; 0 is blank, 255 is ink. How they come: early.js.

const RADIUS = 0.85; // of the brush, in pixels of the pad; its edge is one pixel wide
const SHOWN = 288; // side in CSS pixels, if there is room
const PERIOD_MS = 100; // between two sendings while a stroke is drawn

function render({ model, el }) {
  let side = 16, pixels = new Uint8Array(side * side), cursor = null, last = null, timer = null, dirty = false;
  let answered = false, drawn = false; // was "hello" answered, and was something drawn before?

  const root = document.createElement("div"), canvas = document.createElement("canvas");
  const clear = document.createElement("button"), status = document.createElement("span"), row = document.createElement("div");
  root.className = "bss2lab-pad";
  Object.assign(root.style, { font: "13px system-ui, sans-serif", color: "#222", marginTop: "8px" });
  Object.assign(canvas.style, { width: `${SHOWN}px`, maxWidth: "100%", aspectRatio: "1", display: "block", border: "1px solid #666", touchAction: "none", cursor: "crosshair", background: "#fff" });
  canvas.width = canvas.height = SHOWN * Math.min(2, window.devicePixelRatio || 1);
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Drawing pad. Draw a digit with mouse, pen or finger. With keys: arrows move, space paints, Delete clears.");
  clear.type = "button";
  clear.textContent = "clear";
  clear.style.marginRight = "10px";
  status.setAttribute("role", "status");
  status.textContent = "draw here; keys: arrows move, space paints";
  row.style.marginTop = "5px";
  row.append(clear, status);
  root.append(canvas, row);
  el.append(root);

  function paint() {
    const g = canvas.getContext("2d"), cell = canvas.width / side;
    for (let r = 0; r < side; r++) {
      for (let c = 0; c < side; c++) {
        const v = 255 - pixels[r * side + c];
        g.fillStyle = `rgb(${v},${v},${v})`;
        g.fillRect(c * cell, r * cell, cell + 1, cell + 1);
      }
    }
    if (cursor) {
      g.strokeStyle = "#D55E00";
      g.lineWidth = 2;
      g.strokeRect(cursor[0] * cell + 1, cursor[1] * cell + 1, cell - 2, cell - 2);
    }
    root.dataset.ink = String(pixels.reduce((sum, v) => sum + (v > 0), 0));
  }

  // Ink along a line from a to b: full within the brush, fading over one pixel; what is dark stays dark.
  function stroke(a, b) {
    const dx = b[0] - a[0], dy = b[1] - a[1], length2 = dx * dx + dy * dy;
    for (let r = 0; r < side; r++) {
      for (let c = 0; c < side; c++) {
        const px = c + 0.5 - a[0], py = r + 0.5 - a[1];
        const t = length2 ? Math.min(1, Math.max(0, (px * dx + py * dy) / length2)) : 0;
        const distance = Math.hypot(px - t * dx, py - t * dy);
        const ink = Math.round(255 * Math.min(1, Math.max(0, RADIUS + 0.5 - distance)));
        if (ink > pixels[r * side + c]) pixels[r * side + c] = ink;
      }
    }
    changed();
  }

  function changed() {
    paint();
    dirty = drawn = true;
    timer ??= setTimeout(send, PERIOD_MS);
  }

  function send() {
    clearTimeout(timer);
    timer = null;
    if (!dirty) return;
    dirty = false;
    model.send({ type: "pixels" }, undefined, [pixels.slice().buffer]);
  }

  function wipe() {
    pixels.fill(0);
    changed();
    send();
    status.textContent = "cleared";
  }

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const inner = (v, low, size) => ((v - low - canvas.clientLeft) / size) * side;
    return [inner(event.clientX, box.left, canvas.clientWidth), inner(event.clientY, box.top, canvas.clientHeight)];
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    canvas.setPointerCapture(event.pointerId);
    cursor = null;
    last = at(event);
    stroke(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) {
      const here = at(one);
      stroke(last, here);
      last = here;
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      last = null;
      send();
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move && ![" ", "Delete", "Escape"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Delete") return wipe();
    if (event.key === "Escape") cursor = null;
    else {
      cursor ??= [side >> 1, side >> 1];
      if (move) cursor = cursor.map((v, k) => Math.min(side - 1, Math.max(0, v + move[k])));
      else stroke([cursor[0] + 0.5, cursor[1] + 0.5], [cursor[0] + 0.5, cursor[1] + 0.5]);
      status.textContent = `column ${cursor[0] + 1}, row ${cursor[1] + 1}: grey value ${pixels[cursor[1] * side + cursor[0]]}`;
    }
    paint();
  });
  clear.addEventListener("click", wipe);

  function on_shown(message, block, early) {
    if (message.type !== "pixels" || !block) return;
    const late = drawn && !answered; // older than what was drawn while the kernel was busy
    answered ||= !early;
    if (!late) put(message.side, block);
  }

  function put(new_side, b) {
    side = new_side;
    pixels = ArrayBuffer.isView(b) ? new Uint8Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength)) : new Uint8Array(b.slice(0));
    dirty = false;
    paint();
  }

  paint();
  const deaf = listen(model, on_shown);
  return () => {
    clearTimeout(timer);
    deaf();
  };
}

export default { render };
