"""Draws both dashboards into PNG files: `python -m tests.deploy.draw [SECONDS]`.

A gateway of two workers serves so many seconds of simulated traffic under a real Prometheus; then each panel's own
queries are asked and what they find is drawn. Redis goes away for a while, so that there is something to see.
"""

import asyncio
import math
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.deploy import dashboards
from tests.deploy.drawing import Line, Picture
from tests.deploy.monitored import ODD, TENANTS, Monitored, Traffic, monitored
from tests.servers.prometheus import Series

CAPTION = "Drawn from the dashboard's own queries to a Prometheus under simulated traffic. Not a screenshot of Grafana."
SHARES = {"shop": 5, "studio": 3, "campaign": 2, "intern": 1, "batch": 3}


async def live(one: Monitored, seconds: float) -> None:
    """Let tenants ask, more and less as time goes by; upstream fails now and then, Redis once."""
    traffic, begun, asked = Traffic(one), time.monotonic(), set()
    who = [name for name, share in SHARES.items() for _ in range(share)]
    assert set(who) == set(TENANTS)
    async with traffic.session() as session:
        while (passed := (time.monotonic() - begun) / seconds) < 1:
            tenant = traffic.choice.choice(who)
            odd = traffic.choice.choice(ODD) if traffic.choice.random() < 0.02 else None
            asked.add(asyncio.create_task(traffic.ask(session, tenant, odd)))
            away = 0.6 < passed < 0.7
            if away and one.redis.process is not None:
                one.redis.kill()
            elif not away and one.redis.process is None:
                await asyncio.to_thread(one.redis.start)
            await asyncio.sleep(0.12 / (1.2 + math.sin(passed * 9)))
        await asyncio.gather(*asked)


def lines_of(one: Monitored, query: dashboards.Query, panel: dashboards.Panel, begin: float, end: float) -> list[Line]:
    """Ask Prometheus as Grafana would."""
    values = dashboards.values(interval="15s", span=f"{end - begin:.0f}s")
    expression = query.filled(values)
    if query.instant:
        found = one.prometheus.now(expression)
    elif "interval" in panel.raw:
        found = [Series(series.labels, [(end, series.value)]) for series in one.prometheus.now(expression)]
    else:
        found = one.prometheus.between(expression, begin, end, 2)
    return [Line(legend(query.legend, series), series) for series in found]


def legend(template: str, series: Series) -> str:
    """Fill a legend with the labels of its series."""
    return re.sub(r"{{(\w+)}}", lambda name: series.labels[name[1]], template)


def draw(one: Monitored, name: str, begin: float, end: float) -> Path:
    """Draw a dashboard; return where it is."""
    panels = list(dashboards.panels(name))
    rows = max(panel.raw["gridPos"]["y"] + panel.raw["gridPos"]["h"] for panel in panels)
    picture = Picture(rows, CAPTION)
    for panel in panels:
        found = [lines_of(one, query, panel, begin, end) for query in panel.queries]
        picture.panel(panel.raw, found, (begin, end))
    path = dashboards.FOLDER / f"{name}.png"
    picture.save(path)
    return path


def main(seconds: float) -> None:
    """Run, watch and draw."""
    with tempfile.TemporaryDirectory() as directory, monitored(Path(directory), "--delay", "0.8") as one:
        begin = time.time()
        asyncio.run(live(one, seconds))
        for name in dashboards.BOARDS:
            path = draw(one, name, begin, time.time())
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 150)
