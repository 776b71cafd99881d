"""What the tests of the figures ask of a drawing."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg


def renderer_of(figure):
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    return canvas.get_renderer()


def line(axes, label):
    """Return the one line with this label."""
    (found,) = [one for one in axes.get_lines() if one.get_label() == label]
    return found


def bars(axes, label):
    """Return (x, y, half lengths) of the error bars with this label; half lengths are None without bars."""
    (container,) = [one for one in axes.containers if one.get_label().startswith(label)]
    data, _, collections = container
    x, y = (np.asarray(values, float) for values in (data.get_xdata(), data.get_ydata()))
    if not collections:
        return x, y, None
    half = [np.ptp(segment, axis=0).max() / 2 for segment in collections[0].get_segments()]
    return x, y, np.array(half)


def across(axes, *, vertical):
    """Return positions of the lines across the whole axes."""
    want = axes.get_xaxis_transform(which="grid") if vertical else axes.get_yaxis_transform(which="grid")
    lines = [one for one in axes.get_lines() if one.get_transform() == want]
    return [float((one.get_xdata() if vertical else one.get_ydata())[0]) for one in lines]


def words(figure):
    """Return all that is written on a figure (numbers at the axes only once it is drawn)."""
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def entries(legend):
    return [text.get_text() for text in legend.get_texts()]


def assert_readable(figure):
    """Tick labels, titles, axis labels and notes do not lie on one another, and nothing drawn is NaN."""
    renderer = renderer_of(figure)
    everywhere = []
    for axes in figure.axes:
        for part in (axes, *axes.child_axes):
            for axis, view in ((part.xaxis, part.get_xlim()), (part.yaxis, part.get_ylim())):
                low, high = sorted(view)
                seen = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
                labels = [label for at, label in seen if low <= at <= high and label.get_text() and label.get_visible()]
                assert_apart(labels, renderer)
                everywhere += labels
            everywhere += [part.title, part._left_title, part.xaxis.label, part.yaxis.label, *part.texts]
        for one in axes.get_lines():
            assert np.isfinite(np.asarray(one.get_ydata(), float)).all()
    assert_apart([text for text in everywhere if text.get_text() and text.get_visible()], renderer)
    assert "nan" not in words(figure)


def assert_apart(texts, renderer):
    boxes = [text.get_window_extent(renderer) for text in texts]
    for k, a in enumerate(boxes):
        for j, b in enumerate(boxes[k + 1 :], k + 1):
            width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(width, height) < 1.5, (str(texts[k]), str(texts[j]))


def assert_legend_clear(axes):
    """The legend of these axes lies on no data."""
    renderer = renderer_of(axes.figure)
    box = axes.get_legend().get_window_extent(renderer)
    for one in axes.get_lines():
        if one.get_transform() == axes.transData and len(one.get_xdata()) and one.get_marker() not in ("None", None):
            at = axes.transData.transform(np.column_stack([one.get_xdata(), one.get_ydata()]).astype(float))
            inside = (at > [box.x0, box.y0]) & (at < [box.x1, box.y1])
            assert not inside.all(axis=1).any(), one.get_label()
