"""What a simulated upstream is told before it starts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from gateway.money import Micros

PRICES: Mapping[str, Micros] = MappingProxyType(
    {"flux-2-pro": 40_000, "flux-1.1-pro": 40_000, "gemini-2.5-flash-image": 20_000},
)
"""The models sold by default, and what one image of each costs: flat, round figures for the eye, not list prices."""

MODES = ("asked", "tiny", "none")
"""How pictures are drawn: in the size asked for, as one 64x64 picture drawn once, or as one pixel drawn once."""

_FIXED_SIZE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """A simulated upstream.

    `keys` are the accounts; with none, every non-empty key is good. `bill_path` is the append-only bill (none: it is
    kept in memory), `faults_path` the file of fault rules. `public_url` is the base of the links; without one it is
    what the request's Host header says. `delay` is how many seconds every generation takes. `image` is one of MODES or
    a fixed size such as `256x256`, drawn once: every answer still has bytes of its own, but drawing costs nothing.
    `seed` makes the choices left to chance (seeds that were not given) the same in every run.

    Raises ValueError for an `image` that is neither.
    """

    keys: tuple[str, ...] = field(default=(), repr=False)
    bill_path: Path | None = None
    faults_path: Path | None = None
    link_seconds: float = 600.0
    public_url: str | None = None
    prices: Mapping[str, Micros] = field(default_factory=lambda: PRICES)
    delay: float = 0.0
    image: str = "asked"
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse an `image` that nothing could be drawn by."""
        if self.image not in MODES and _FIXED_SIZE.fullmatch(self.image) is None:
            raise ValueError(f"image must be one of {', '.join(MODES)}, or a size such as 256x256")

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The one size of all pictures, or None when each is drawn as asked."""
        if self.image == "asked":
            return None
        if (size := _FIXED_SIZE.fullmatch(self.image)) is not None:
            return int(size[1]), int(size[2])
        return (64, 64) if self.image == "tiny" else (1, 1)
