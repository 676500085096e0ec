"""Small pictures as SVG: bars and lines over time, oldest at the left. It may not know what they show.

Colours come from the style sheet, since the pages' policy allows no style beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 360, 72

Series = Sequence[float | None]
"""One value each moment; ``None``: nothing is known."""


def bars(first: Series, second: Series, title: str) -> Markup:
    """Bars of ``first``, and over them, from the ground, those of ``second``, which is a part of it."""
    top = _top(first)
    shapes = [
        Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
            name, place * step, _HEIGHT - high, step * 0.9, high
        )
        for name, series in (("first", first), ("second", second))
        for step in (_WIDTH / max(1, len(series)),)
        for place, value in enumerate(series)
        if value and (high := max(1.0, value / top * _HEIGHT))
    ]
    return _picture(shapes, title)


def lines(first: Series, second: Series, title: str) -> Markup:
    """Two lines in one scale; where nothing is known they are broken."""
    top = max(_top(first), _top(second))
    shapes = []
    for name, series in (("first", first), ("second", second)):
        step = _WIDTH / max(1, len(series) - 1)
        for part in _unbroken(series):
            points = [(place * step, _HEIGHT - 2 - value / top * (_HEIGHT - 4)) for place, value in part]
            if len(points) == 1:
                points.append((points[0][0] + step, points[0][1]))
            text = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
            shapes.append(Markup('<polyline class="{}" points="{}"/>').format(name, text))
    return _picture(shapes, title)


def _top(series: Series) -> float:
    return max((value for value in series if value is not None), default=0.0) or 1.0


def _unbroken(series: Series) -> list[list[tuple[int, float]]]:
    parts: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(series):
        if value is None:
            parts.append([])
        else:
            parts[-1].append((place, value))
    return [part for part in parts if part]


def _picture(shapes: Sequence[Markup], title: str) -> Markup:
    return Markup(
        '<svg class="picture" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>"
    ).format(_WIDTH, _HEIGHT, title, title, Markup("").join(shapes))
