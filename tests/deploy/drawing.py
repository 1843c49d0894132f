"""Panels of a dashboard drawn with Pillow: what their JSON says, in the manner of Grafana, but not by it."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from tests.servers.prometheus import Series

SCALE = 2
"""Everything is drawn so much larger and made smaller at the end, so that lines are smooth."""

COLUMN, ROW, GAP, MARGIN = 52, 27, 8, 12
BACKGROUND, PANEL, EDGE, GRID, TEXT, DIM = "#111217", "#181b1f", "#2c3036", "#24272c", "#d5d6de", "#8e9099"
COLORS = ("#73bf69", "#5794f2", "#f2cc0c", "#ff780a", "#e02f44", "#b877d9", "#33a2e5", "#96d98d", "#ffa6b0", "#8ab8ff")
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "text": TEXT}

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A series with its legend."""

    legend: str
    series: Series


def text_of(value: float, unit: str, decimals: int | None = None) -> str:
    """Write a value in a unit of Grafana's."""
    if not math.isfinite(value):
        return "-"
    if unit == "percentunit":
        return f"{value * 100:.{0 if decimals is None else decimals}f}%"
    steps = {
        "s": ((86_400, " d"), (3600, " h"), (60, " min"), (1, " s"), (0.001, " ms")),
        "Bps": ((1e6, " MB/s"), (1e3, " kB/s"), (1, " B/s")),
        "bytes": ((1024**2, " MiB"), (1024, " KiB"), (1, " B")),
    }.get(unit)
    if steps is None:
        after = (
            unit.removeprefix("suffix:") if unit.startswith("suffix:") else {"reqps": "/s", "ops": "/s"}.get(unit, "")
        )
        return f"{value:,.{_places(value) if decimals is None else decimals}f}{after}"
    size, name = next((step for step in steps if value >= step[0]), steps[-1]) if value else (1, steps[-1][1])
    return f"{value / size:.{0 if value / size >= 20 or not value else 1}f}{name}"


def _places(value: float) -> int:
    if value == int(value):
        return 0
    return max(0, min(3, 2 - math.floor(math.log10(abs(value)))))


class Picture:
    """A picture of a dashboard."""

    def __init__(self, rows: int, caption: str) -> None:
        self._size = (24 * COLUMN + 2 * MARGIN, rows * ROW + 2 * MARGIN + 18)
        self._image = Image.new("RGB", (self._size[0] * SCALE, self._size[1] * SCALE), BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)
        self._write(MARGIN, self._size[1] - 22, caption, 12, DIM)

    def save(self, path: Any) -> None:
        """Write it as a PNG."""
        small = self._image.resize(self._size, Image.Resampling.LANCZOS)
        small.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)

    def panel(self, raw: dict[str, Any], found: Sequence[Sequence[Line]], span: tuple[float, float]) -> None:
        """Draw a panel with what its queries found."""
        place = raw["gridPos"]
        left, top = MARGIN + place["x"] * COLUMN, MARGIN + place["y"] * ROW
        if raw["type"] == "row":
            self._write(left + 2, top + 6, raw["title"], 15, TEXT)
            return
        box = (left, top, left + place["w"] * COLUMN - GAP, top + place["h"] * ROW - GAP)
        self._draw.rounded_rectangle(_scaled(box), 4 * SCALE, PANEL, EDGE, SCALE)
        self._write(left + 10, top + 8, raw["title"], 13, TEXT)
        inner = (box[0] + 10, box[1] + 38, box[2] - 10, box[3] - 8)
        lines = [line for one in found for line in one]
        match raw["type"]:
            case "stat":
                self._stat(raw, lines, inner)
            case "timeseries":
                self._course(raw, lines, inner, span)
            case "bargauge":
                self._bars(raw, lines, inner)
            case "table":
                self._table(raw, found, inner)
            case other:
                raise ValueError(f"no way to draw a {other}")

    def _stat(self, raw: dict[str, Any], lines: Sequence[Line], box: Box) -> None:
        defaults = raw["fieldConfig"]["defaults"]
        value = lines[0].series.value if lines else math.nan
        fixed = defaults["color"]["mode"] == "fixed"
        color = NAMED["text"] if fixed else _threshold(value, defaults["thresholds"]["steps"])
        self._write(
            box[0], (box[1] + box[3]) / 2 - 22, text_of(value, defaults["unit"], defaults.get("decimals")), 32, color
        )

    def _course(self, raw: dict[str, Any], lines: Sequence[Line], box: Box, span: tuple[float, float]) -> None:
        defaults = raw["fieldConfig"]["defaults"]
        unit, custom = defaults["unit"], defaults["custom"]
        stacked, barred = custom["stacking"]["mode"] == "normal", custom["drawStyle"] == "bars"
        lines = [line for line in lines if any(math.isfinite(value) for _, value in line.series.points)]
        layers = _layers(lines, stacked=stacked)
        most = max([value for layer in layers for _, _, value in layer] + [defaults.get("max", 0)], default=0)
        step, top = _scale(most, defaults.get("max"))
        plot = (box[0] + 62, box[1], box[2], box[3] - 20 - 16 * self._legend(lines, box))
        self._axes(plot, span, [(number * step / top, number * step) for number in range(round(top / step) + 1)], unit)

        def at(moment: float, value: float) -> tuple[float, float]:
            x = plot[0] + (moment - span[0]) / (span[1] - span[0]) * (plot[2] - plot[0])
            return x * SCALE, (plot[3] - min(value, top) / top * (plot[3] - plot[1])) * SCALE

        for place, layer in reversed(list(enumerate(layers))):
            color = COLORS[place % len(COLORS)]
            if barred:
                for moment, low, value in layer:
                    right = at(moment, 0)[0]
                    self._draw.rectangle((right - 60 * SCALE, at(moment, value)[1], right, at(moment, low)[1]), color)
                continue
            above = [at(moment, value) for moment, _, value in layer]
            if custom["fillOpacity"] and len(above) > 1:
                below = [at(moment, low) for moment, low, _ in reversed(layer)]
                self._draw.polygon(above + below, _mixed(color, custom["fillOpacity"] / 100))
            if len(above) > 1:
                self._draw.line(above, color, 3, joint="curve")
        for limit in defaults.get("thresholds", {}).get("steps", ())[1:]:
            if limit["value"] <= top:
                y = at(span[0], limit["value"])[1]
                self._draw.line((plot[0] * SCALE, y, plot[2] * SCALE, y), NAMED[limit["color"]], SCALE)
        if not lines:
            self._write((plot[0] + plot[2]) / 2, (plot[1] + plot[3]) / 2 - 8, "No data", 13, DIM, anchor="ma")

    def _axes(self, plot: Box, span: tuple[float, float], marks: Sequence[tuple[float, float]], unit: str) -> None:
        """Draw lines at the marks (share of the height, value), and write values and times."""
        high, wide = plot[3] - plot[1], plot[2] - plot[0]
        for share, value in marks:
            y = plot[3] - share * high
            self._draw.line(_scaled((plot[0], y, plot[2], y)), GRID, SCALE)
            self._write(plot[0] - 6, y - 7, text_of(value, unit), 11, DIM, anchor="ra")
        parts = 4 if wide > 300 else 2
        for part in range(parts + 1):
            shown = time.strftime("%H:%M:%S", time.localtime(span[0] + (span[1] - span[0]) * part / parts))
            anchor = {0: "la", parts: "ra"}.get(part, "ma")
            self._write(plot[0] + wide * part / parts, plot[3] + 4, shown, 10, DIM, anchor=anchor)

    def _legend(self, lines: Sequence[Line], box: Box) -> int:
        """Write the legend from the bottom of a box upwards; return how many lines it takes."""
        rows: list[list[tuple[float, int]]] = [[]]
        x = box[0]
        for place, line in enumerate(lines):
            wide = self._font(11).getlength(line.legend) / SCALE + 26
            if x + wide > box[2] and rows[-1]:
                rows.append([])
                x = box[0]
            rows[-1].append((x, place))
            x += wide
        if len(rows) > 3:
            rows = rows[:3]
        for number, row in enumerate(rows):
            y = box[3] - 14 - 16 * (len(rows) - 1 - number)
            for x, place in row:
                self._draw.rectangle(_scaled((x, y + 6, x + 12, y + 9)), COLORS[place % len(COLORS)])
                self._write(x + 16, y, lines[place].legend, 11, TEXT)
        return len(rows)

    def _bars(self, raw: dict[str, Any], lines: Sequence[Line], box: Box) -> None:
        unit = raw["fieldConfig"]["defaults"]["unit"]
        lines = sorted(lines, key=lambda line: -line.series.value)
        most = max((line.series.value for line in lines), default=0) or 1
        each = min(34.0, (box[3] - box[1]) / max(1, len(lines)))
        names = max((self._font(12).getlength(line.legend) / SCALE for line in lines), default=0)
        for place, line in enumerate(lines):
            y, begin, end = box[1] + place * each, box[0] + names + 10, box[2] - 70
            color = COLORS[place % len(COLORS)]
            self._write(box[0], y + each / 2 - 8, line.legend, 12, TEXT)
            self._draw.rectangle(_scaled((begin, y + 4, end, y + each - 4)), GRID)
            self._draw.rectangle(
                _scaled((begin, y + 4, begin + (end - begin) * line.series.value / most, y + each - 4)), color
            )
            self._write(box[2], y + each / 2 - 8, text_of(line.series.value, unit, 2), 12, color, anchor="ra")

    def _table(self, raw: dict[str, Any], found: Sequence[Sequence[Line]], box: Box) -> None:
        organized = next(one["options"] for one in raw["transformations"] if one["id"] == "organize")
        renamed: dict[str, str] = organized["renameByName"]
        looks = {
            one["matcher"]["options"]: {p["id"]: p["value"] for p in one["properties"]}
            for one in raw["fieldConfig"]["overrides"]
        }
        labels = [name for name in renamed if not name.startswith("Value")]
        columns = [
            *(renamed[name] for name in labels),
            *(name for old, name in renamed.items() if old.startswith("Value")),
        ]
        table: dict[tuple[str, ...], dict[str, float]] = {}
        for name, lines in zip(columns[len(labels) :], found, strict=True):
            for line in lines:
                table.setdefault(tuple(line.series.labels[label] for label in labels), {})[name] = line.series.value
        by = raw["options"]["sortBy"][0]["displayName"]
        ordered = sorted(table.items(), key=lambda row: -row[1].get(by, 0))
        wide = (box[2] - box[0]) / len(columns)
        for place, name in enumerate(columns):
            self._write(box[0] + place * wide, box[1], name, 12, "#6e9fff")
        for number, (keys, values) in enumerate(ordered[: int((box[3] - box[1] - 24) / 24)]):
            y = box[1] + 26 + number * 24
            self._draw.line(_scaled((box[0], y - 4, box[2], y - 4)), GRID, SCALE)
            for place, name in enumerate(columns):
                x, look = box[0] + place * wide, looks.get(name, {})
                if place < len(keys):
                    self._write(x, y, keys[place], 12, TEXT)
                    continue
                value = values.get(name, math.nan)
                if "max" in look and math.isfinite(value):
                    color = _threshold(value, look["thresholds"]["steps"])
                    self._draw.rectangle(_scaled((x, y + 1, x + wide - 90, y + 15)), GRID)
                    self._draw.rectangle(_scaled((x, y + 1, x + (wide - 90) * min(1, value), y + 15)), color)
                    x += wide - 80
                self._write(x, y, text_of(value, look["unit"], look.get("decimals")), 12, TEXT)

    def _write(self, x: float, y: float, text: str, size: int, color: str, *, anchor: str = "la") -> None:
        self._draw.text((x * SCALE, y * SCALE), text, color, self._font(size), anchor=anchor)

    def _font(self, size: int) -> Any:
        return ImageFont.load_default(size * SCALE)


def _scaled(box: Box) -> tuple[float, ...]:
    return tuple(one * SCALE for one in box)


def _threshold(value: float, steps: Sequence[dict[str, Any]]) -> str:
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return NAMED[reached[-1]]


def _mixed(color: str, share: float) -> tuple[int, ...]:
    over, under = ([int(one[place : place + 2], 16) for place in (1, 3, 5)] for one in (color, PANEL))
    return tuple(round(a * share + b * (1 - share)) for a, b in zip(over, under, strict=True))


def _layers(lines: Sequence[Line], *, stacked: bool) -> list[list[tuple[float, float, float]]]:
    """Return moment, lower and upper edge of each line; stacked, each stands on those before it."""
    ground: dict[float, float] = {}
    layers = []
    for line in lines:
        layer = []
        for moment, value in line.series.points:
            if not math.isfinite(value):
                continue
            low = ground.get(moment, 0.0) if stacked else 0.0
            layer.append((moment, low, low + value))
            ground[moment] = low + value
        layers.append(layer)
    return layers


def _scale(most: float, fixed: float | None) -> tuple[float, float]:
    """Return the distance of the lines of a scale and its end, both round."""
    if fixed is not None:
        return fixed / 4, fixed
    if most <= 0:
        return 1, 1
    rough = most / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    return step, step * math.ceil(most / step - 1e-9)
