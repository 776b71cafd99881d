// Records one channel from the browser's microphone (see views/upload.py).
// Sends {type: "sound", rate} with one buffer of float32; "hello" is answered with {type: "longest", seconds}.

const WORKLET = `
registerProcessor("bss2lab-tap", class extends AudioWorkletProcessor {
  process(inputs) {
    if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice());
    return true;
  }
});`;

const REASONS = {
  NotAllowedError: "The microphone was refused. Allow it in the browser's address bar and try again, or choose a sound file.",
  NotFoundError: "No microphone was found. Connect one and try again, or choose a sound file.",
  NotReadableError: "Another program holds the microphone. Close it and try again, or choose a sound file.",
};
const NO_DEVICES = "The browser gives this page no microphone: it does so only over https or on localhost. Choose a sound file instead.";

async function tap(context, source, take) {
  if (context.audioWorklet) {
    const url = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
    try {
      await context.audioWorklet.addModule(url);
      const node = new AudioWorkletNode(context, "bss2lab-tap", { channelCount: 1, channelCountMode: "explicit" });
      node.port.onmessage = (event) => take(event.data);
      source.connect(node);
      return;
    } catch (error) {
      // a page may forbid worklets: the older way remains
    } finally {
      URL.revokeObjectURL(url);
    }
  }
  const node = context.createScriptProcessor(4096, 1, 1);
  node.onaudioprocess = (event) => take(event.inputBuffer.getChannelData(0).slice());
  source.connect(node);
  node.connect(context.destination);
}

function joined(parts) {
  const all = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

function render({ model, el }) {
  let longest = 4.8, running = null, starting = false;

  const root = document.createElement("div"), button = document.createElement("button");
  const level = document.createElement("meter"), status = document.createElement("div");
  root.className = "bss2lab-microphone";
  Object.assign(root.style, { font: "13px system-ui, sans-serif", color: "#222", margin: "8px 0 4px" });
  button.type = "button";
  button.textContent = "● record";
  button.setAttribute("aria-pressed", "false");
  Object.assign(level, { min: 0, max: 1, value: 0 });
  level.setAttribute("aria-label", "loudness");
  Object.assign(level.style, { width: "120px", marginLeft: "10px", verticalAlign: "middle" });
  status.setAttribute("role", "status");
  status.textContent = "say one digit, English or German; nothing is kept";
  root.append(button, level, status);
  el.append(root);

  const say = (words, bad = false) => {
    status.textContent = words;
    status.style.color = bad ? "#b00020" : "#444";
  };

  function release(run) {
    clearTimeout(run.timer);
    run.stream.getTracks().forEach((track) => track.stop());
    run.context.close();
    level.value = 0;
    button.textContent = "● record";
    button.setAttribute("aria-pressed", "false");
  }

  function stop() {
    const run = running;
    if (!run) return;
    running = null;
    const rate = run.context.sampleRate, most = Math.floor(longest * rate), samples = joined(run.parts).slice(0, most);
    release(run);
    if (!samples.length) return say("Nothing came from the microphone. Is it switched off?", true);
    say(`${(samples.length / rate).toFixed(1)} s recorded`);
    model.send({ type: "sound", rate }, undefined, [samples.buffer]);
  }

  async function start() {
    if (!navigator.mediaDevices?.getUserMedia) return say(NO_DEVICES, true);
    starting = true;
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, autoGainControl: false } });
      const context = new AudioContext(), parts = [];
      await tap(context, context.createMediaStreamSource(stream), (part) => {
        parts.push(part);
        level.value = Math.min(1, 4 * Math.sqrt(part.reduce((sum, v) => sum + v * v, 0) / part.length));
      });
      await context.resume();
      running = { stream, context, parts, timer: setTimeout(stop, 1000 * longest) };
      button.textContent = "■ stop";
      button.setAttribute("aria-pressed", "true");
      say(`recording: say one digit, then stop (${longest.toFixed(1)} s at most)`);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      say(REASONS[error.name] ?? `The microphone cannot be used: ${error.message}. Choose a sound file instead.`, true);
    } finally {
      starting = false;
    }
  }

  button.addEventListener("click", () => (running ? stop() : starting || start()));

  function on_message(message) {
    if (message.type === "longest") longest = message.seconds;
  }

  model.on("msg:custom", on_message);
  model.send({ type: "hello" });
  return () => {
    if (running) release(running);
    running = null;
    model.off("msg:custom", on_message);
  };
}

export default { render };
