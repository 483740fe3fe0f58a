"""Draw the pictures of mathematics.md from planted data, with the code of the program (needs matplotlib)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import clear_cli
from clear_cli.chance import draws_of, significance
from clear_cli.health import pair_hashes, row_hashes
from clear_cli.moments import CrossMoments
from clear_cli.subspace import svd

FOLDER = Path(__file__).with_name("pictures")
BLUE, ORANGE, GREY = "#3b6fb6", "#d9822b", "#8a8f98"
Floats = np.ndarray[Any, np.dtype[np.float64]]


def planted(items: int, dims: tuple[int, int], strengths: Floats, seed: int = 0) -> tuple[Floats, Floats]:
    """Two modalities that share orthogonal directions of these standard deviations, and noise of one."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(items, len(strengths))) * strengths
    sides = [np.linalg.qr(rng.normal(size=(dim, len(strengths))))[0] for dim in dims]
    a, b = (signal @ side.T + rng.normal(size=(items, len(side))) for side in sides)
    return a, b


def moments_of(a: Floats, b: Floats) -> CrossMoments:
    moments = CrossMoments(a.shape[1], b.shape[1])
    moments.update(a, b, pair_hashes(row_hashes(a), row_hashes(b)))
    return moments


def axes(width: float = 6.4, height: float = 3.0, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    found = figure.subplots(1, columns)
    for one in np.atleast_1d(found):
        one.spines[["top", "right"]].set_visible(False)
    return figure, found


def save(figure: Figure, name: str) -> None:
    mpl.rcParams["svg.hashsalt"] = name
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


def spectrum_and_chance() -> None:
    """The spectrum, the band of chance after deflation, and the rank."""
    moments = moments_of(*planted(4000, (96, 64), 1.6 * 0.8 ** np.arange(12)))
    u, sigma, v = svd(moments.cross_covariance())
    draws, unit = draws_of(moments)
    found = significance(sigma, u, v, draws, unit=unit)
    figure, ax = axes()
    j = np.arange(1, 31)
    ax.fill_between(j, found.median[:30], found.high[:30], color=GREY, alpha=0.35, label="chance: median to 95 %")
    ax.plot(j, sigma[:30], "o-", ms=3.5, color=BLUE, label="singular values")
    ax.axvline(found.rank + 0.5, color=ORANGE, label=f"rank {found.rank}: the effective number")
    ax.axvline(found.significant + 0.5, color=GREY, ls=":", label=f"{found.significant} significant")
    ax.set(xlabel="direction j", ylabel="sigma_j", yscale="log")
    ax.legend(frameon=False, fontsize=8)
    save(figure, "chance")


def soft_strength() -> None:
    """What soft strength makes of the spectrum, beside full and half strength."""
    a, b = planted(4000, (96, 64), 1.6 * 0.8 ** np.arange(12))
    figure, ax = axes()
    before = moments_of(a, b).cross_covariance()
    ax.plot(np.arange(1, 21), svd(before)[1][:20], "o-", ms=3, color=GREY, label="before")
    for strength, colour in ((1.0, BLUE), (0.5, "#6aa56a"), ("soft", ORANGE)):
        fitted = clear_cli.fit({"a": a, "b": b}, rank=10, strength=strength, report=False)
        after = clear_cli.apply(fitted, {"a": a, "b": b})
        assert isinstance(after, dict)
        u, _, v = svd(before)
        left = np.abs(np.diag(u.T @ moments_of(after["a"], after["b"]).cross_covariance() @ v))
        ax.plot(np.arange(1, 21), np.maximum(left[:20], 1e-4), "o-", ms=3, color=colour, label=f"strength {strength}")
    ax.set(xlabel="direction j", ylabel="u_j^T C v_j", yscale="log", ylim=(5e-4, 4))
    ax.legend(frameon=False, fontsize=8)
    save(figure, "soft")


def held_out() -> None:
    """The fit flatters itself: canonical correlations of the fit, held out, and by chance."""
    figure, both = axes(7.2, 2.8, 2)
    for ax, items in zip(both, (600, 6000), strict=True):
        a, b = planted(items, (96, 64), 1.6 * 0.8 ** np.arange(12))
        sample = clear_cli.fit({"a": a, "b": b}).diagnostics["pairs"][0]["sample"]
        j = np.arange(1, 41)
        ax.plot(j, sample["canonical_correlations"]["before"][:40], color=BLUE, label="fit")
        ax.plot(j, sample["held_out"]["before"]["canonical_correlations"][:40], color=ORANGE, label="held out")
        ax.plot(
            j, sample["canonical_correlations_chance"]["before"][:40], color=GREY, ls="--", label="chance of the fit"
        )
        ax.set(title=f"{items:,} items", xlabel="pair of variates", ylim=(-0.25, 1))
    both[0].set_ylabel("correlation")
    both[1].legend(frameon=False, fontsize=8)
    save(figure, "heldout")


def oblique() -> None:
    """Orthogonal and oblique removal of a direction that private signal leans on."""
    rng = np.random.default_rng(0)
    shared, private = rng.normal(size=(2, 400))
    a = np.stack([shared + 0.9 * private, private, 0.02 * rng.normal(size=400)], axis=1)
    b = np.stack([shared, 0.02 * rng.normal(size=400)], axis=1)
    figure, panels = axes(7.2, 2.7, 3)
    rows = {"before": a}
    for removal in ("orthogonal", "oblique"):
        fitted = clear_cli.fit({"a": a, "b": b}, rank=1, removal=removal, report=False)
        rows[removal] = clear_cli.apply(fitted, {"a": a})["a"]
    for ax, (title, x) in zip(panels, rows.items(), strict=True):
        ax.scatter(x[::3, 0], x[::3, 1], c=private[::3], s=6, cmap="coolwarm")
        moved = np.mean(np.sum((x - a) ** 2, axis=1))
        shown = title if title == "before" else f"{title}: moved² {moved:.2f}"
        ax.set(title=shown, xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
    save(figure, "oblique")


def directions() -> None:
    """Shared signal of low variance: how much of it is left."""
    rng = np.random.default_rng(1)
    loud, quiet = rng.normal(size=(2, 4000))
    sides = []
    for dim in (24, 16):
        basis = np.linalg.qr(rng.normal(size=(dim, 6)))[0].T
        private = 3 * rng.normal(size=(4000, 4)) @ basis[2:]
        sides.append(
            np.outer(2 * loud, basis[0])
            + np.outer(0.1 * quiet, basis[1])
            + private
            + 0.03 * rng.normal(size=(4000, dim))
        )
    figure, ax = axes(5.4, 2.6)
    for shift, way in enumerate(("covariance", "correlation")):
        left = []
        for rank in (1, 2, 3, 4):
            fitted = clear_cli.fit({"a": sides[0], "b": sides[1]}, rank=rank, directions=way, report=False)  # type: ignore[arg-type]
            x = clear_cli.apply(fitted, {"a": sides[0]})["a"]
            fit = x @ np.linalg.lstsq(x, quiet, rcond=None)[0]
            left.append(np.corrcoef(fit, quiet)[0, 1] ** 2)
        ax.bar(np.arange(4) + 0.4 * shift, left, 0.38, color=(BLUE, ORANGE)[shift], label=way)
    ax.set(xticks=np.arange(4) + 0.2, xticklabels=[1, 2, 3, 4], xlabel="rank", ylabel="quiet signal left, R²")
    ax.legend(frameon=False, fontsize=8)
    save(figure, "directions")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for picture in (spectrum_and_chance, soft_strength, held_out, oblique, directions):
        picture()
