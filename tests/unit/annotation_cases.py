"""What the tests of annotation formats share: images to annotate, and labels that an import has made."""

import csv

import numpy as np
import tifffile
from PIL import Image

from napari_segnet.annotations import ImportOptions
from napari_segnet.annotations.convert import import_annotations
from napari_segnet.annotations.raster import covered


def make_images(folder, *names, size=(20, 30)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(folder / name)
    return folder


def imported(path, images, out, **options):
    """Import annotations; returns the labels of each stem, and what was said."""
    made = import_annotations(path, images, out, ImportOptions(**options))
    return {file.stem: tifffile.imread(file) for file in made.files}, made


def rows(made):
    """Return the table of problems as sentences."""
    return [f"{problem.file} | {problem.problem} | {problem.done}" for problem in made.problems]


def classes(made):
    return {c.name: (c.value, c.colour) for c in made.classes}


def objects(folder):
    with (folder / "objects.csv").open() as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def drawn(shape, size, **options):
    (down, along), inside = covered(shape, size, **options)
    mask = np.zeros(size, bool)
    mask[down, along] = inside
    return mask


def box(size, top, left, bottom, right):
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask
