"""Take small product pictures: shapes, colours, patterns and finishes, then background, light and grain."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from products import Product, Words
from skimage.draw import polygon

SIDE = 64
FINE = 2 * SIDE  # painted at twice the size, then averaged: smooth edges
Array = NDArray[Any]
Layers = dict[str, Array]


def marked(pattern: str, u: Array, v: Array, pitch: float) -> Array:
    """Where a pattern shows its second colour, in the product's own frame (u, v)."""
    if pattern == "striped":
        return np.sin(2.2 * pitch * v) > 0.25
    if pattern == "dotted":
        return np.cos(1.9 * pitch * u) + np.cos(1.9 * pitch * v) > 0.95
    if pattern == "checked":
        return (np.sin(1.5 * pitch * u) > 0) ^ (np.sin(1.5 * pitch * v) > 0)
    if pattern == "zigzag":
        return np.sin(2.2 * pitch * (v + 0.35 * np.abs((2 * u) % 1 - 0.5))) > 0.25
    return np.zeros(u.shape, bool)


def textures(product: Product, u: Array, v: Array, hsv: list[float], rng: np.random.Generator) -> Layers:
    """Colour every pixel for each role a shape can have."""
    hue, saturation, value = hsv
    value = float(np.clip(value + rng.normal(0, 0.04), 0, 1))
    base = np.array(colorsys.hsv_to_rgb((hue + rng.normal(0, 0.008)) % 1, saturation, value))
    contrast = base * 0.45 if value > 0.9 else base * 0.3 + 0.7
    main = np.where(marked(product.pattern, u, v, rng.uniform(4.0, 5.5))[..., None], contrast, base)
    shade = 1 - 0.18 * u**2
    if product.finish == "gloss":
        streak = np.exp(-(((u + 0.3 + 0.15 * v) / 0.09) ** 2))
        main = main + 0.75 * streak[..., None] * (1 - main)
    elif product.finish == "metal":
        main = main * 0.75 + 0.12
        shade = shade + 0.3 * np.cos(9 * u + 1)
    elif product.finish == "wood":
        main = main * 0.7 + np.array([0.20, 0.11, 0.03])
        shade = shade + 0.13 * np.sin(26 * v + 4 * np.sin(3 * u))
    elif product.finish == "woven":
        shade = shade + 0.16 * np.sin(48 * u) * np.sin(48 * v)
    layers = {
        "trim": base * 0.35 + np.array([0.22, 0.18, 0.15]),
        "dark": np.full(3, 0.13),
        "light": np.full(3, 0.93),
    }
    return {"main": main * shade[..., None]} | {r: np.broadcast_to(c, main.shape) for r, c in layers.items()}


def outline(numbers: list[float], kind: str) -> Array:
    """Turn a shape of the catalogue into the corners of a polygon, shape (n, 2)."""
    if kind == "poly":
        return np.reshape(numbers, (-1, 2))
    if kind == "line":
        ends, width = np.reshape(numbers[:4], (2, 2)), numbers[4]
        along = (ends[1] - ends[0]) / np.hypot(*(ends[1] - ends[0]))
        across = np.array([-along[1], along[0]]) * width / 2
        return np.array([ends[0] - across, ends[0] + across, ends[1] + across, ends[1] - across])
    x, y, half_width, half_height, power = numbers
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return [x, y] + [half_width, half_height] * np.sign(circle) * np.abs(circle) ** (2 / power)


def rim(inside: Array) -> Array:
    """The pixels of a shape that touch its outside."""
    core = inside.copy()
    core[1:] &= inside[:-1]
    core[:-1] &= inside[1:]
    core[:, 1:] &= inside[:, :-1]
    core[:, :-1] &= inside[:, 1:]
    return inside & ~core


def paint(canvas: Array, shapes: list[Any], layers: Layers, matrix: Array, shift: Array) -> None:
    """Paint the shapes in order, each with the layer of its role and a darker rim that keeps parts apart."""
    for role, kind, *numbers in shapes:
        corners = ((outline(numbers, kind) @ matrix.T + shift + 1) / 2 * FINE - 0.5).T
        inside = np.zeros((FINE, FINE), bool)
        inside[polygon(corners[1], corners[0], inside.shape)] = True
        canvas[inside] = layers[role][inside]
        if role != "hole":
            canvas[rim(inside)] *= 0.65


def develop(canvas: Array, grain: float, rng: np.random.Generator) -> Array:
    """Average down to SIDE x SIDE, add the camera's grain, and round to uint8."""
    small = canvas.reshape(SIDE, 2, SIDE, 2, 3).mean(axis=(1, 3))
    return np.clip(np.rint(255 * small + rng.normal(0, grain, small.shape)), 0, 255).astype(np.uint8)


def take_picture(product: Product, words: Words) -> Array:
    """Photograph a product: background, shadow, product, light, grain. uint8, shape (SIDE, SIDE, 3)."""
    rng = product.rng(2)
    matrix = np.reshape(words["viewpoint"][product.viewpoint], (2, 2)) * product.size
    shift = rng.uniform(-0.08, 0.08, 2)
    y, x = (np.mgrid[:FINE, :FINE] + 0.5) / FINE * 2 - 1
    u, v = np.tensordot(np.linalg.inv(matrix), np.stack([x - shift[0], y - shift[1]]), axes=1)
    wall, floor = np.array(words["background"][product.background]) * rng.uniform(0.94, 1.03)
    canvas = np.where((y > rng.uniform(0.25, 0.45))[..., None], floor, wall)
    bottom = shift[1] + 0.92 * abs(matrix[1, 1])
    across, down = (x - shift[0]) / (0.9 * product.size), (y - bottom) / 0.10
    shadow = np.exp(-((across * across) ** 2) - down * down)
    canvas = canvas * (1 - 0.35 * shadow[..., None])
    layers = textures(product, u, v, words["colour"][product.colour]["hsv"], rng)
    layers["hole"] = canvas.copy()
    paint(canvas, words["category"][product.category]["shapes"], layers, matrix, shift)
    slope = words["light"][product.light]
    canvas = canvas * (rng.uniform(0.93, 1.05) + slope[0] * x + slope[1] * y)[..., None]
    return develop(canvas, 2.0, rng)


def placeholder_picture(words: Words) -> Array:
    """The picture that stands for no picture."""
    canvas = np.full((FINE, FINE, 3), 0.80)
    layers = {"light": np.full_like(canvas, 0.92), "dark": np.full_like(canvas, 0.6)}
    paint(canvas, words["placeholder"]["shapes"], layers, np.eye(2), np.zeros(2))
    return develop(canvas, 0.0, np.random.default_rng(0))


def contact_sheet(pictures: list[Array], titles: list[str], columns: int = 6) -> Image.Image:
    """Lay pictures out at twice their size, each above its title, in a palette of 256 colours."""
    cell, gap, caption = 2 * SIDE, 14, 44
    rows = -(-len(pictures) // columns)
    size = (columns * (cell + gap) + gap, rows * (cell + caption) + gap)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left = gap + place % columns * (cell + gap)
        top = gap + place // columns * (cell + caption)
        sheet.paste(Image.fromarray(picture).resize((cell, cell), Image.Resampling.NEAREST), (left, top))
        lines = [""]
        for word in title.split():
            fits = draw.textlength(f"{lines[-1]} {word}", font) <= cell + 6
            lines = [*lines[:-1], f"{lines[-1]} {word}".strip()] if fits else [*lines, word]
        caption_at = (left, top + cell + 3)
        draw.multiline_text(caption_at, "\n".join(lines[:3]), fill=(40, 40, 40), font=font, spacing=2)
    return sheet.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
