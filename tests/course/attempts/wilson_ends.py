"""Answers to wilson_ends."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import torch
from scipy.stats import binomtest

Z = 1.96


def line_by_line(right: int, images: int) -> tuple[float, float]:
    p = right / images
    front = 1 / (1 + Z**2 / images)
    middle = p + Z**2 / (2 * images)
    root = math.sqrt(p * (1 - p) / images + Z**2 / (4 * images**2))
    return front * (middle - Z * root), front * (middle + Z * root)


def by_counts(right: int, images: int) -> tuple[float, float]:
    wrong = images - right
    centre = (right + Z**2 / 2) / (images + Z**2)
    half = Z / (images + Z**2) * (right * wrong / images + Z**2 / 4) ** 0.5
    return centre - half, centre + half


def by_roots(right: int, images: int) -> tuple[float, float]:
    """The ends solve (p - q)^2 = z^2 q (1 - q) / n for q."""
    p, a = right / images, Z**2 / images
    roots = sorted(np.roots([1 + a, -(2 * p + a), p**2]).real)
    return float(roots[0]), float(roots[1])


def by_scipy(right: int, images: int) -> tuple[float, float]:
    found = binomtest(right, images).proportion_ci(0.95, method="wilson")
    return found.low, found.high


def in_torch(right: int, images: int) -> tuple[float, float]:
    p, n = torch.tensor(right / images, dtype=torch.float64), images
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    ends = (p + Z**2 / (2 * n) + signs * Z * torch.sqrt(p * (1 - p) / n + (Z / (2 * n)) ** 2)) / (
        1 + Z**2 / n
    )
    low, high = ends.tolist()
    return low, high


def exact_z(right: int, images: int) -> tuple[float, float]:
    z, p = NormalDist().inv_cdf(0.975), right / images
    half = z * math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
    return tuple((p + z * z / (2 * images) + sign * half) / (1 + z * z / images) for sign in (-1, 1))  # type: ignore[return-value]


RIGHT = [line_by_line, by_counts, by_roots, by_scipy, in_torch, exact_z]


def wald(right: int, images: int, z: float = Z) -> tuple[float, float]:
    p = right / images
    half = z * math.sqrt(p * (1 - p) / images)
    return p - half, p + half


def changed(front: str, middle: str, root: str, z: float = Z):
    """Return the interval with its three parts as expressions of p, n and z."""

    def ends(right: int, images: int) -> tuple[float, float]:
        names = {"p": right / images, "n": images, "z": z, "sqrt": math.sqrt}
        f, m, r = (eval(part, {}, names) for part in (front, middle, root))
        return f * (m - z * r), f * (m + z * r)

    return ends


FRONT, MIDDLE, ROOT = "1 / (1 + z**2 / n)", "p + z**2 / (2 * n)", "sqrt(p * (1 - p) / n + z**2 / (4 * n**2))"

WRONG = {
    "the interval of the normal distribution": wald,
    "the same, limited to 0..1": lambda r, n: (max(0.0, wald(r, n)[0]), min(1.0, wald(r, n)[1])),
    "the same, with two standard errors": lambda r, n: wald(r, n, 2.0),
    "fraction in front left out": changed("1", MIDDLE, ROOT),
    "fraction in front upside down": changed("1 + z**2 / n", MIDDLE, ROOT),
    "z for its square in front": changed("1 / (1 + z / n)", MIDDLE, ROOT),
    "minus in front": changed("1 / (1 - z**2 / n)", MIDDLE, ROOT),
    "z for its square in the middle": changed(FRONT, "p + z / (2 * n)", ROOT),
    "middle not moved": changed(FRONT, "p", ROOT),
    "n for 2 n in the middle": changed(FRONT, "p + z**2 / n", ROOT),
    "times n for divided by n, without brackets": changed(FRONT, "p + z**2 / 2 * n", ROOT),
    "z for its square under the root": changed(FRONT, MIDDLE, "sqrt(p * (1 - p) / n + z / (4 * n**2))"),
    "second term under the root left out": changed(FRONT, MIDDLE, "sqrt(p * (1 - p) / n)"),
    "4 n under the root": changed(FRONT, MIDDLE, "sqrt(p * (1 - p) / n + z**2 / (4 * n))"),
    "2 n squared under the root": changed(FRONT, MIDDLE, "sqrt(p * (1 - p) / n + z**2 / (2 * n**2))"),
    "not divided by n under the root": changed(FRONT, MIDDLE, "sqrt(p * (1 - p) + z**2 / (4 * n**2))"),
    "p for p (1 - p)": changed(FRONT, MIDDLE, "sqrt(p / n + z**2 / (4 * n**2))"),
    "p squared for p (1 - p)": changed(FRONT, MIDDLE, "sqrt(p * p / n + z**2 / (4 * n**2))"),
    "no root": changed(FRONT, MIDDLE, "p * (1 - p) / n + z**2 / (4 * n**2)"),
    "root of either term": changed(FRONT, MIDDLE, "sqrt(p * (1 - p) / n) + sqrt(z**2 / (4 * n**2))"),
    "one standard error": changed(FRONT, MIDDLE, ROOT, 1.0),
    "z for 90 %": changed(FRONT, MIDDLE, ROOT, 1.645),
    "z for 99 %": changed(FRONT, MIDDLE, ROOT, 2.576),
    "z is 2": changed(FRONT, MIDDLE, ROOT, 2.0),
    "upper end first": lambda r, n: line_by_line(r, n)[::-1],
    "middle and half width": lambda r, n: (sum(line_by_line(r, n)) / 2, np.ptp(line_by_line(r, n)) / 2),
    "percent": lambda r, n: tuple(100 * end for end in line_by_line(r, n)),
    "counts": lambda r, n: tuple(n * end for end in line_by_line(r, n)),
    "rounded to 2 places": lambda r, n: tuple(round(end, 2) for end in line_by_line(r, n)),
    "Clopper and Pearson's interval": lambda r, n: tuple(binomtest(r, n).proportion_ci(0.95, method="exact")),
    "Agresti and Coull's interval": lambda r, n: (
        (r + 2) / (n + 4) - Z * ((r + 2) * (n - r + 2) / (n + 4) ** 3) ** 0.5,
        (r + 2) / (n + 4) + Z * ((r + 2) * (n - r + 2) / (n + 4) ** 3) ** 0.5,
    ),
    "share of the wrong ones": lambda r, n: line_by_line(n - r, n),
    "only the lower end": lambda r, n: line_by_line(r, n)[0],
}
