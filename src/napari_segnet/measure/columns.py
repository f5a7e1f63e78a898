"""What the columns of the tables mean, and in which unit they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column: its unit, and what it means.

    `unit` may have the word ``unit`` in it, for that of the row: ``unit^2`` is µm² where the column ``unit`` says
    micrometer.
    """

    name: str
    unit: str
    meaning: str


_PLANE, _BODY = "unit^2", "unit^3"
COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("image", "", "Name of the label file, without its ending."),
        Column("t", "", "Time point, from 0 on."),
        Column("z", "", "Plane, from 0 on."),
        Column("unit", "", "Unit of lengths in this row; pixel where the size of a pixel isn't known."),
        Column("label", "", "Number of the object in the label image."),
        Column("class", "", "Value of the class; numbered objects are 1."),
        Column("class_name", "", "Name of the class."),
        Column("pixels", "pixels", "Number of pixels (voxels)."),
        *(Column(f"centroid_{a}", "unit", f"Mean {a} of the pixel centres; the first pixel's is 0.") for a in "zyx"),
        *(Column(f"{a}_start", "pixels", f"First pixel of the bounding box along {a}, from 0 on.") for a in "zyx"),
        *(Column(f"{a}_stop", "pixels", f"First pixel after the bounding box along {a}.") for a in "zyx"),
        Column("touches_border", "", "Whether the object reaches the edge of the image, and may go on beyond it."),
        Column("area", _PLANE, "Area."),
        Column("volume", _BODY, "Volume."),
        Column("perimeter", "unit", "Length of the boundary, holes included (Crofton's formula)."),
        Column("surface_area", _PLANE, "Area of the surface, cavities included (Crofton's formula)."),
        Column("equivalent_diameter", "unit", "Diameter of the disc (ball) of the same size."),
        Column("axis_major", "unit", "Longest axis of the ellipse (ellipsoid) with the same second moments."),
        Column("axis_middle", "unit", "Its middle axis."),
        Column("axis_minor", "unit", "Its shortest axis."),
        Column("aspect_ratio", "", "Longest over shortest axis."),
        Column("eccentricity", "", "Of the ellipse: 0 for a circle, nearly 1 for a line."),
        Column("orientation", "degrees", "Longest axis against X, counter-clockwise as seen on the screen, 0 to 180."),
        *(Column(f"direction_{a}", "", f"Part along {a} of the longest axis' direction (length 1).") for a in "zyx"),
        Column("feret_max", "unit", "Largest distance of two points (corners of pixels)."),
        Column("feret_min", "unit", "Least width between two parallel lines."),
        Column("circularity", "", "4 pi area / perimeter^2: 1 for a disc, less for anything else."),
        Column("sphericity", "", "Surface of the ball of the same volume over the surface: 1 for a ball."),
        Column("extent", "", "Part of the bounding box that the object fills."),
        Column("solidity", "", "Part of the convex hull that the object fills."),
        Column("euler_number", "", "Pieces minus holes; in volumes pieces minus tunnels plus cavities."),
        Column("mean_probability", "", "Mean probability of the class: over the object, or what counts."),
        Column("objects", "", "Number of objects of the class."),
        Column(
            "density", "1/unit^2 or 1/unit^3", "Objects per area (volume) of the image, or of what counts in a region."
        ),
        *(
            Column(f"{word}_{size}", unit, f"{words} of the objects.")
            for size, unit in (("area", _PLANE), ("volume", _BODY))
            for word, words in (
                ("mean", f"Mean {size}"),
                ("median", f"Median {size}"),
                ("sd", f"Standard deviation of the {size}"),
                ("total", f"Sum of the {size}"),
            )
        ),
        Column("fraction", "", "Part of what counts that the class covers."),
        Column("remaining", "", "One minus fraction: of sky, the vegetation density."),
        Column("counted_pixels", "pixels", "Pixels that count."),
        Column("ignored_pixels", "pixels", "Pixels of values that don't count, such as unlabelled ones."),
        Column("zenith_start", "degrees", "Inner edge of the ring, as an angle from the zenith."),
        Column("zenith_stop", "degrees", "Its outer edge."),
        Column("region", "", "Number of the region."),
        Column("region_name", "", "Its name."),
        Column("region_area", _PLANE, "Its area within the image."),
        Column("region_volume", _BODY, "Its volume within the image."),
    )
}
_INTENSITIES = {
    "mean": "Mean intensity.",
    "sd": "Standard deviation of the intensity over the pixels.",
    "min": "Lowest intensity.",
    "max": "Highest intensity.",
    "median": "Median intensity.",
    "sum": "Sum of the intensity.",
    "above_background": "Mean intensity less the median of the pixels that belong to no object.",
}


def describe(names: Iterable[str]) -> list[Column]:
    """Return what columns mean, in their order; those of intensities are known by their endings."""
    return [COLUMNS.get(name) or _intensity(name) for name in names]


def _intensity(name: str) -> Column:
    ending = next((ending for ending in _INTENSITIES if name.endswith(f"_{ending}")), "")
    words = _INTENSITIES.get(ending, "")
    return Column(name, "of the image", f"{words} Image or channel: {name[: -len(ending) - 1]}." if words else "")
