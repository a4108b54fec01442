"""Curves of both engines as one SVG document, each point with its number."""

from __future__ import annotations

from dataclasses import dataclass, field

Curve = list[tuple[float, float]]

_COLOURS = {"rpod": "#1f6feb", "podman": "#8b949e"}
_WIDTH, _LEFT, _TOP, _BOTTOM = 460, 62, 52, 46
_LEAST_GAP = 34  # between two labels of the axis below


@dataclass
class Panel:
    """One picture: ``unit`` is that of the values, ``axis`` says what they are drawn against; curves by engine."""

    title: str
    unit: str
    axis: str
    curves: dict[str, Curve] = field(default_factory=dict)

    def add(self, engine: str, place: float, value: float) -> None:
        """The next point of an engine's curve; they come in the order of their places."""
        self.curves.setdefault(engine, []).append((place, value))


def document(panels: list[Panel], about: dict[str, str], *, columns: int = 2, height: int = 320) -> str:
    """The panels, row by row, over one line that says where they were measured."""
    rows = -(-len(panels) // columns)
    size = f'width="{_WIDTH * columns}" height="{height * rows + 24}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        parts += [f'<g transform="translate({column * _WIDTH},{row * height})">', *_panel(panel, height), "</g>"]
    words = f"{about['date']}, {about['cpu']}, Linux {about['kernel']}, {about['podman']}; medians"
    parts += [f'<text x="{_LEFT}" y="{height * rows + 14}" fill="#57606a" font-size="11">{words}</text>', "</svg>", ""]
    return "\n".join(parts)


def _panel(panel: Panel, height: int) -> list[str]:
    points = [point for curve in panel.curves.values() for point in curve]
    farthest, most = (max(point[side] for point in points) for side in (0, 1))
    right, floor = _WIDTH - 40, height - _BOTTOM

    def place(where: float, value: float) -> tuple[float, float]:
        return _LEFT + (right - _LEFT) * where / farthest, floor - (floor - _TOP) * value / most

    parts = [
        f'<text x="{_LEFT}" y="24" font-size="15" font-weight="bold">{panel.title}</text>',
        f'<path d="M{_LEFT} {_TOP}V{floor}H{right}" fill="none" stroke="#57606a"/>',
        f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{most:.0f} {panel.unit}</text>',
        f'<text x="{_LEFT - 6}" y="{floor + 4}" text-anchor="end">0</text>',
        f'<text x="{right}" y="{floor + 34}" text-anchor="end">{panel.axis}</text>',
    ]
    labelled = float(_LEFT)
    for where in sorted({point[0] for point in points}):
        x, _ = place(where, 0)
        if x - labelled >= _LEAST_GAP:
            parts.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{where:.0f}</text>')
            labelled = x
    for name, curve in panel.curves.items():
        places = [(*place(where, value), value) for where, value in curve]
        colour = _COLOURS[name]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, value in places:
            number = f"{value:.0f}" if most >= 100 else f"{value:.2g}"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            parts.append(f'<text x="{x + 4:.1f}" y="{y - 7:.1f}" fill="{colour}" font-size="11">{number}</text>')
        x, y, _ = places[-1]
        parts.append(f'<text x="{x - 4:.1f}" y="{y - 22:.1f}" fill="{colour}" text-anchor="end">{name}</text>')
    return parts
