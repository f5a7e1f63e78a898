"""Make the bundled sample images, strokes and reference mask.

The images are those that scikit-image ships in its wheel. The strokes are painted by hand: the points below
were read off the screen, and a round brush is drawn along a smooth curve through them. The reference mask of
the coins comes from a watershed and was checked by eye; the strokes were painted without it.

Usage: ``python sample_images/make.py``.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline
from skimage import data
from skimage.filters import gaussian, sato, sobel
from skimage.graph import route_through_array
from skimage.segmentation import watershed
from skimage.transform import downscale_local_mean

OUT = Path(__file__).resolve().parent.parent / "src" / "napari_segnet" / "sample_images"

# Points are (x, y) as the viewer shows them, a stroke a line; classes by number.
COINS = {
    1: [
        [(10, 9), (32, 12), (58, 9)],
        [(110, 20), (140, 16), (170, 21)],
        [(236, 12), (256, 18), (290, 20)],
        [(12, 82), (36, 86), (60, 81)],
        [(330, 84), (350, 90), (372, 80)],
        [(232, 108), (236, 125), (232, 141)],
        [(74, 112), (76, 130), (72, 148)],
        [(170, 158), (196, 154), (226, 160)],
        [(302, 170), (306, 188), (303, 206)],
        [(84, 224), (104, 230), (130, 228)],
        [(83, 244), (82, 262), (86, 281)],
        [(126, 37), (124, 50), (126, 64)],
        [(160, 295), (180, 297), (200, 294)],
        [(378, 130), (374, 142), (377, 156)],
        [(381, 212), (380, 226), (381, 240)],
        [(377, 291), (381, 298)],
    ],
    2: [
        [(31, 46), (38, 52), (42, 63)],
        [(140, 44), (150, 36), (163, 38)],
        [(196, 46), (204, 54), (214, 58)],
        [(263, 58), (274, 66), (285, 63)],
        [(326, 22), (330, 38), (326, 54)],
        [(34, 116), (44, 124), (54, 134)],
        [(262, 99), (276, 102), (288, 112)],
        [(326, 113), (330, 120), (334, 132)],
        [(203, 178), (212, 182), (222, 197)],
        [(322, 196), (319, 184), (324, 170)],
        [(28, 248), (23, 262), (30, 275)],
        [(290, 281), (303, 282), (316, 272)],
        [(344, 259), (350, 266), (352, 276)],
    ],
}
CELL = {
    1: [
        [(40, 60), (90, 80), (140, 70)],
        [(260, 30), (300, 24), (340, 36)],
        [(450, 60), (490, 90), (520, 130)],
        [(60, 240), (110, 260), (150, 230)],
        [(250, 200), (300, 212), (350, 198)],
        [(345, 330), (338, 370), (350, 410)],
        [(390, 292), (440, 288), (480, 304)],
        [(505, 340), (512, 380), (503, 420)],
        [(380, 440), (420, 455), (470, 446)],
        [(180, 420), (200, 440), (190, 470)],
        [(60, 560), (110, 580), (170, 560)],
        [(330, 560), (390, 580), (460, 560)],
    ],
    2: [
        [(385, 345), (400, 330), (420, 322)],
        [(450, 325), (470, 340), (480, 360)],
        [(372, 365), (376, 390), (388, 412)],
        [(405, 380), (420, 392), (440, 390)],
        [(440, 350), (450, 365), (455, 385)],
        [(410, 425), (430, 430), (452, 422)],
        [(470, 410), (480, 395), (484, 375)],
    ],
}
IMMUNOHISTOCHEMISTRY = {
    1: [
        [(10, 290), (24, 312), (40, 336)],
        [(10, 380), (25, 420), (20, 460)],
        [(296, 42), (312, 76), (330, 100)],
        [(340, 120), (352, 142), (368, 172)],
        [(455, 40), (462, 80), (470, 120)],
        [(490, 60), (492, 110), (480, 160)],
        [(110, 232), (140, 244), (160, 264)],
        [(180, 275), (215, 285), (240, 270)],
        [(278, 190), (290, 220), (310, 250)],
        [(165, 320), (190, 350), (215, 380)],
        [(180, 420), (200, 450), (235, 470)],
        [(225, 340), (236, 380), (246, 430)],
        [(392, 330), (410, 370), (405, 420)],
        [(450, 290), (440, 330), (460, 380)],
        [(440, 420), (455, 450), (430, 490)],
        [(320, 288), (350, 298), (380, 320)],
    ],
    2: [
        [(20, 60), (40, 90), (44, 130)],
        [(90, 40), (96, 80), (90, 120)],
        [(120, 120), (140, 160), (136, 200)],
        [(190, 60), (220, 100), (240, 140)],
        [(180, 160), (200, 200), (190, 240)],
        [(240, 30), (255, 70), (268, 120)],
        [(290, 110), (310, 140), (316, 180)],
        [(320, 30), (350, 50), (390, 44)],
        [(380, 100), (410, 120), (440, 112)],
        [(350, 210), (370, 240), (400, 270)],
        [(400, 200), (420, 215), (436, 200)],
        [(20, 220), (50, 260), (80, 270)],
        [(80, 320), (110, 340), (130, 370)],
        [(70, 400), (90, 440), (120, 470)],
        [(280, 330), (320, 350), (350, 380)],
        [(280, 400), (310, 430), (350, 470)],
    ],
}
RETINA = {
    1: [
        [(30, 20), (60, 30), (20, 60)],
        [(640, 40), (680, 80), (690, 120)],
        [(20, 650), (50, 680)],
        [(230, 40), (250, 60), (260, 66)],
        [(400, 100), (430, 120), (440, 140)],
        [(280, 190), (320, 195), (350, 200)],
        [(210, 280), (250, 300), (290, 320)],
        [(340, 330), (360, 350), (350, 370)],
        [(480, 300), (520, 330), (560, 340)],
        [(620, 300), (650, 330), (670, 350)],
        [(200, 420), (230, 440), (260, 460)],
        [(350, 480), (390, 500), (420, 490)],
        [(240, 540), (300, 560), (350, 570)],
        [(500, 520), (540, 540), (580, 530)],
        [(300, 650), (320, 660)],
        [(180, 600), (200, 620), (210, 640)],
        [(40, 280), (46, 300)],
        [(28, 360), (56, 380)],
        [(170, 300), (176, 320), (174, 350)],
    ],
    2: [
        [(300, 80), (345, 81), (400, 77)],
        [(420, 80), (466, 95), (510, 90)],
        [(210, 165), (235, 160), (280, 167)],
        [(320, 171), (352, 180), (395, 209)],
        [(460, 217), (500, 213), (545, 190)],
        [(150, 208), (125, 240), (108, 262)],
        [(35, 220), (50, 255), (70, 287)],
        [(210, 480), (250, 484), (290, 480)],
        [(405, 440), (450, 433), (510, 436)],
        [(150, 530), (200, 560), (240, 585)],
        [(300, 612), (350, 617), (400, 609)],
        [(400, 606), (430, 560), (450, 505)],
        [(600, 225), (592, 270), (592, 290)],
        [(270, 235), (300, 215), (330, 225)],
        [(92, 400), (110, 440), (130, 490)],
        [(560, 595), (590, 582), (615, 570)],
    ],
    3: [
        [(76, 300), (72, 320), (78, 340)],
        [(118, 282), (132, 300), (145, 320)],
        [(120, 345), (135, 355), (145, 345)],
    ],
}


def paint(
    shape: tuple[int, int], strokes: dict[int, list[list[tuple[float, float]]]], brush: float
) -> NDArray[np.uint8]:
    """Draw strokes with a round brush of a diameter in pixels, along a smooth curve through the points."""
    labels = np.zeros(shape, np.uint8)
    rng = np.random.default_rng(0)
    for value, lines in strokes.items():
        for line in lines:
            points = np.array(line, float)
            spline = CubicSpline(np.arange(len(points)), points)
            curve = spline(np.linspace(0, len(points) - 1, 400))
            # A hand is never quite steady: about half a pixel.
            curve += ndimage.gaussian_filter1d(rng.normal(0, 6, curve.shape), 40, axis=0)
            _draw(labels, value, curve[:, ::-1], brush)
    return labels


def follow(image: NDArray[np.uint8], lines: list[list[tuple[float, float]]]) -> list[NDArray[np.float64]]:
    """Trace vessels as a hand does that follows them: the darkest way from point to point."""
    green = gaussian(image[..., 1] / 255, 1)
    vesselness = sato(green, sigmas=(1.5, 2.5, 3.5), black_ridges=True)
    cost = 1 / (0.003 + vesselness)
    routes = []
    for line in lines:
        corners = [_snap(vesselness, y, x) for x, y in line]
        parts = [route_through_array(cost, a, b, geometric=True)[0] for a, b in pairwise(corners)]
        routes.append(np.array([point for part in parts for point in part], float))
    return routes


def _snap(vesselness: NDArray[np.float64], y: float, x: float, reach: int = 5) -> tuple[int, int]:
    y0, x0 = max(0, int(y) - reach), max(0, int(x) - reach)
    window = vesselness[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1]
    dy, dx = np.unravel_index(window.argmax(), window.shape)
    return int(y0 + dy), int(x0 + dx)


def _draw(labels: NDArray[np.uint8], value: int, curve: NDArray[np.float64], brush: float) -> None:
    y, x = np.indices(labels.shape)
    for cy, cx in curve[:: max(1, len(curve) // 200)]:
        reach = int(brush) + 1
        window = np.s_[max(0, int(cy) - reach) : int(cy) + reach + 1, max(0, int(cx) - reach) : int(cx) + reach + 1]
        inside = np.hypot(y[window] - cy, x[window] - cx) <= brush / 2
        labels[window][inside] = value


def coins_reference(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Outline the 24 coins: a watershed of the gradient between surely dark and surely bright pixels.

    Returns
    -------
    (Y, X) uint8
        1: background, 2: coin.
    """
    gradient = sobel(gaussian(image, 1, preserve_range=True))
    smooth = ndimage.gaussian_filter(image.astype(float), 1)
    seeds = np.select([smooth < 30, smooth > 150], [1, 2], 0)
    coins = ndimage.binary_fill_holes(watershed(gradient, seeds) == 2)
    disk = np.hypot(*np.mgrid[-2:3, -2:3]) <= 2.3
    coins = ndimage.median_filter(coins.astype(np.uint8), footprint=disk) > 0
    number = ndimage.label(coins)[1]
    if number != 24:
        raise RuntimeError(f"There are 24 coins, and {number} were found: scikit-image has changed.")
    return np.where(coins, 2, 1).astype(np.uint8)


def main() -> None:
    """Write all files."""
    OUT.mkdir(parents=True, exist_ok=True)
    coins, cell, tissue = data.coins(), data.cell(), data.immunohistochemistry()
    retina = data.retina()[:1410, :1410]
    retina = downscale_local_mean(retina, (2, 2, 1)).round().astype(np.uint8)
    vessels = paint(retina.shape[:2], {k: v for k, v in RETINA.items() if k != 2}, 3.5)
    for route in follow(retina, RETINA[2]):
        _draw(vessels, 2, route, 3)
    files = {
        "coins": coins,
        "coins_strokes": paint(coins.shape, COINS, 2.2),
        "coins_reference": coins_reference(coins),
        "cell": cell,
        "cell_strokes": paint(cell.shape, CELL, 4),
        "immunohistochemistry": tissue,
        "immunohistochemistry_strokes": paint(tissue.shape[:2], IMMUNOHISTOCHEMISTRY, 2.2),
        "retina": retina,
        "retina_strokes": vessels,
    }
    for name, array in files.items():
        iio.imwrite(OUT / f"{name}.png", array, optimize=True)
        if name.endswith("_strokes"):
            shares = ", ".join(f"{v}: {(array == v).mean():.2%}" for v in np.unique(array[array > 0]))
            print(f"{name}: {(array > 0).mean():.2%} painted ({shares})")


if __name__ == "__main__":
    main()
