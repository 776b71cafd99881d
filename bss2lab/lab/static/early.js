// How canvas and pad hear of Python (see views/early.py): in messages, and before Python has heard "hello" through the
// state "first", which needs no answer of a kernel that is busy. `shown` takes message, block, and which it was.
// Returns how to stop listening.

function listen(model, shown) {
  const on_message = (message, buffers) => shown(message, buffers?.[0], false);
  const on_first = () => {
    const first = model.get("first");
    if (first) shown(first, first.block, true);
  };
  model.on("msg:custom", on_message);
  model.on("change:first", on_first);
  on_first();
  try {
    model.send({ type: "hello" });
  } catch {} // a kernel that is gone hears nothing, and nobody is to see an error for it
  return () => {
    model.off("msg:custom", on_message);
    model.off("change:first", on_first);
  };
}
