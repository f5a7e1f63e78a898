"""Numbers about what was segmented: objects, counts, cover and regions as tables; cut-outs; and classical methods.

Knows neither torch nor napari: the shell, Python and the viewer use the same functions. Lengths are in units of the
image, along Z, Y and X each with its own size of a pixel.
"""

from napari_segnet.measure.counts import count_objects
from napari_segnet.measure.cover import cover_fractions
from napari_segnet.measure.cutting import cut_out
from napari_segnet.measure.cutting_files import cut_out_files
from napari_segnet.measure.files import Measured, measure_files
from napari_segnet.measure.objects import Objects, measure_objects
from napari_segnet.measure.options import CircleOptions, CutOutOptions, MeasureOptions, ObjectOptions
from napari_segnet.measure.pre_annotation import METHODS, pre_annotate
from napari_segnet.measure.pre_annotation_files import pre_annotate_files
from napari_segnet.measure.regions import measure_regions, region_of
from napari_segnet.measure.tables import layer_features, write_table

__all__ = [
    "METHODS",
    "CircleOptions",
    "CutOutOptions",
    "MeasureOptions",
    "Measured",
    "ObjectOptions",
    "Objects",
    "count_objects",
    "cover_fractions",
    "cut_out",
    "cut_out_files",
    "layer_features",
    "measure_files",
    "measure_objects",
    "measure_regions",
    "pre_annotate",
    "pre_annotate_files",
    "region_of",
    "write_table",
]
