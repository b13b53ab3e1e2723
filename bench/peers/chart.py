"""Charts as SVG: bars of times, and lines of how cost grows. Numbers in, text out; no library."""

import html
import math

INK, GREY, RULE = "#24292f", "#6e7781", "#d8dee4"
COLOURS = ["#0969da", "#bc4c00", "#1a7f37", "#8250df", "#9a6700", "#cf222e"]
OURS, THEIRS = "#0969da", "#afb8c1"
FONT = "font-family='DejaVu Sans, Helvetica, Arial, sans-serif'"


def _text(x, y, text, size=13, anchor="start", colour=INK, weight="normal"):
    return (f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' fill='{colour}' "
            f"font-weight='{weight}'>{html.escape(str(text))}</text>")


def _svg(width, height, parts):
    return (f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' {FONT}>\n"
            f"<rect width='{width}' height='{height}' fill='white'/>\n" + "\n".join(parts) + "\n</svg>\n")


def number(value):
    """With three digits that count, without powers of ten."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 3)}f}"


def bars(title, unit, groups):
    """Horizontal bars; `groups`: [(heading, [(name, value)])]. Each group has a scale of its own; nacre's bars stand out."""
    width, left, right, row, y = 760, 150, 110, 22, 34
    parts = [_text(16, 24, f"{title} ({unit}, shorter is better)", 15, weight="bold")]
    for heading, values in groups:
        y += 26
        parts.append(_text(16, y, heading, 13, weight="bold"))
        y += 8
        most = max(value for _, value in values)
        for name, value in values:
            length = max(2.0, (width - left - right) * value / most)
            parts.append(_text(left - 8, y + 15, name, 12, "end"))
            colour = OURS if name == "nacre" else THEIRS
            parts.append(f"<rect x='{left}' y='{y + 3}' width='{length:.1f}' height='{row - 6}' fill='{colour}'/>")
            parts.append(_text(left + length + 6, y + 15, number(value), 12))
            y += row
    return _svg(width, y + 16, parts)


def _ticks(low, high):
    """Powers of ten, of two where those would be too few."""
    base = 10 if high / low > 50 else 2
    first, last = math.floor(math.log(low, base) + 1e-9), math.ceil(math.log(high, base) - 1e-9)
    return [base**i for i in range(first, max(last, first + 1) + 1)]


def lines(title, x_name, y_name, series):
    """Lines over two logarithmic axes; `series`: [(name, [(x, y)])]."""
    width, height, left, right, top, bottom = 760, 380, 76, 190, 48, 52
    points = [point for _, of in series for point in of]
    xs = sorted({x for x, _ in points})
    ys = _ticks(min(y for _, y in points), max(y for _, y in points))

    def place(x, y):
        def share(v, low, high):
            return 0.5 if high == low else math.log(v / low) / math.log(high / low)

        return (left + share(x, xs[0], xs[-1]) * (width - left - right),
                height - bottom - share(y, ys[0], ys[-1]) * (height - top - bottom))

    parts = [_text(16, 24, title, 15, weight="bold")]
    for y in ys:
        _, at = place(xs[0], y)
        parts.append(f"<line x1='{left}' x2='{width - right}' y1='{at:.1f}' y2='{at:.1f}' stroke='{RULE}'/>")
        parts.append(_text(left - 8, at + 4, f"{y:g}", 12, "end", GREY))
    for x in xs:
        at, _ = place(x, ys[0])
        parts.append(f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{height - bottom}' y2='{height - bottom + 5}' stroke='{GREY}'/>")
        parts.append(_text(at, height - bottom + 19, f"{x:,}", 12, "middle", GREY))
    parts.append(_text((left + width - right) / 2, height - 12, x_name, 12, "middle"))
    parts.append(_text(left - 8, top - 12, y_name, 12, "end"))
    ends = []
    for (name, of), colour in zip(series, COLOURS):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in of))
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in (place(*point) for point in of)]
        ends.append([place(*of[-1])[1], name, colour])
    ends.sort()
    for before, after in zip(ends, ends[1:]):  # names do not lie upon each other
        after[0] = max(after[0], before[0] + 16)
    parts += [_text(width - right + 10, y + 4, name, 12, colour=colour) for y, name, colour in ends]
    return _svg(width, height, parts)
