"""A Budget: named uncertainty components with their origin, combined in integers of one unit."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Final, Literal

Distribution = Literal["rectangular", "normal"]

K_TABLE_VERSION: Final = "k97.725/1"
K_TABLE: Final = (
    (1, 13968),
    (2, 4527),
    (3, 3307),
    (4, 2870),
    (5, 2649),
    (6, 2517),
    (7, 2429),
    (8, 2367),
    (9, 2320),
    (10, 2284),
    (11, 2255),
    (12, 2232),
    (13, 2212),
    (14, 2196),
    (15, 2182),
    (16, 2169),
    (17, 2159),
    (18, 2149),
    (19, 2141),
    (20, 2134),
    (21, 2127),
    (22, 2121),
    (23, 2115),
    (24, 2110),
    (25, 2106),
    (26, 2101),
    (27, 2097),
    (28, 2094),
    (29, 2090),
    (30, 2087),
    (31, 2084),
    (32, 2082),
    (33, 2079),
    (34, 2077),
    (35, 2074),
    (36, 2072),
    (37, 2070),
    (38, 2068),
    (39, 2067),
    (40, 2065),
    (41, 2063),
    (42, 2062),
    (43, 2060),
    (44, 2059),
    (45, 2058),
    (46, 2056),
    (47, 2055),
    (48, 2054),
    (49, 2053),
    (50, 2052),
    (55, 2047),
    (60, 2043),
    (70, 2037),
    (80, 2032),
    (90, 2029),
    (100, 2026),
    (120, 2022),
    (150, 2017),
    (200, 2013),
    (300, 2009),
    (500, 2006),
    (1000, 2003),
    (2000, 2002),
    (5000, 2001),
    (10000, 2001),
)
"""(nu, k in thousandths rounded up) of Student's t at the probability Phi(2) = 97.725 %; infinity: 2.000."""


def root_up(value: int) -> int:
    """Square root of an integer, rounded up."""
    root = isqrt(value)
    return root + (root * root < value)


def coverage_factor(nu_eff: int | None) -> int:
    """Coverage factor k in thousandths for degrees of freedom rounded down; None is infinity (rules 2.2)."""
    if nu_eff is None:
        return 2000
    return next(k for nu, k in reversed(K_TABLE) if nu <= max(1, nu_eff))


@dataclass(frozen=True, slots=True)
class Component:
    """One input of a budget; sensitivity is one.

    ``value`` is the half-width of a rectangle, or for a normal law the value that ``divisor`` (thousandths) turns into
    a standard uncertainty; a whole number of the budget's unit. ``nu`` None means infinity.
    """

    name_zh: str
    name_en: str
    value: int
    distribution: Distribution
    origin: str
    divisor: int = 1000
    nu: int | None = None

    @property
    def u(self) -> int:
        """Standard uncertainty, rounded up."""
        if self.distribution == "rectangular":
            return root_up(-(-self.value * self.value // 3))
        return -(-self.value * 1000 // self.divisor)

    @property
    def worst(self) -> int:
        """Its share of the linear worst case: the half-width, or two standard uncertainties."""
        return self.value if self.distribution == "rectangular" else 2 * self.u

    def as_dict(self, unit: str) -> dict[str, object]:
        """The component for result.json; divisor as text, "√3" for a rectangle."""
        rectangular = self.distribution == "rectangular"
        return {
            "name_zh": self.name_zh,
            "name_en": self.name_en,
            f"value_{unit}": self.value,
            "distribution": self.distribution,
            "divisor": "√3" if rectangular else f"{self.divisor // 1000}.{self.divisor % 1000:03d}",
            f"u_{unit}": self.u,
            "nu": self.nu,
            "origin": self.origin,
            "type": "B" if self.nu is None else "A",
        }


@dataclass(frozen=True, slots=True)
class Budget:
    """Components taken as independent: correlation is given no credit (rules 2.3)."""

    components: tuple[Component, ...]

    @property
    def u_c(self) -> int:
        """Combined standard uncertainty, rounded up."""
        return root_up(sum(c.u * c.u for c in self.components))

    @property
    def nu_eff(self) -> int | None:
        """Effective degrees of freedom (Welch-Satterthwaite, GUM G.2b) rounded down; None is infinity."""
        spread = sum((Fraction(c.u**4, c.nu) for c in self.components if c.nu is not None), Fraction(0))
        if spread == 0:
            return None
        squares: int = sum(c.u * c.u for c in self.components)
        return int(squares * squares / spread)

    @property
    def k_milli(self) -> int:
        """Coverage factor in thousandths."""
        return coverage_factor(self.nu_eff)

    @property
    def expanded(self) -> int:
        """U = k u_c, rounded up."""
        return -(-self.k_milli * self.u_c // 1000)

    @property
    def worst_case(self) -> int:
        """Linear sum of half-widths (two standard uncertainties for a normal law)."""
        return sum(c.worst for c in self.components)

    def as_dict(self, unit: str) -> dict[str, object]:
        """The budget for result.json."""
        return {
            "components": [c.as_dict(unit) for c in self.components],
            f"u_c_{unit}": self.u_c,
            "nu_eff": self.nu_eff,
            "k_milli": self.k_milli,
            "k_table": K_TABLE_VERSION,
            f"U_{unit}": self.expanded,
            f"worst_case_{unit}": self.worst_case,
        }
