"""Packages that others could have made: written with bioimageio.spec's own classes, without our exporter."""

import io

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from napari_segnet.export.libraries import import_extra

spec = import_extra("bioimageio.spec")
v0_5 = import_extra("bioimageio.spec.model.v0_5")
core = import_extra("bioimageio.core")


def onnx_network(inputs, outputs, last=None, ndim=2, channels_last=False, seed=0, copies=False):
    """Return an ONNX file of one convolution of three pixels, and perhaps Sigmoid or Softmax behind it."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 8, (outputs, inputs, *[3] * ndim)).astype(np.float32) / 3**ndim
    bias = rng.normal(0, 0.5, outputs).astype(np.float32)
    if copies:
        weight, bias = np.zeros_like(weight), np.zeros_like(bias)
        weight[(range(outputs), range(outputs), *[1] * ndim)] = 1
    first, turn, back = "x", [], []
    if channels_last:
        turn = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, ndim + 1, *range(1, ndim + 1)])]
        back = [helper.make_node("Transpose", ["z"], ["y"], perm=[0, *range(2, ndim + 2), 1])]
        first = "t"
    end = "z" if channels_last else "y"
    nodes = [*turn, helper.make_node("Conv", [first, "w", "b"], ["c" if last else end], pads=[1] * 2 * ndim)]
    if last:
        nodes.append(helper.make_node(last, ["c"], [end], **({"axis": 1} if last == "Softmax" else {})))
    free = [None] * (ndim + 2)
    graph = helper.make_graph(
        [*nodes, *back],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, free)],
        [helper.make_tensor("w", 1, weight.shape, weight.ravel()), helper.make_tensor("b", 1, [outputs], bias)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def torchscript_network(inputs, outputs):
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.zeros(1, inputs, 8, 8)), file)
    return file.getvalue()


def write_package(
    folder, weights, *, kind="onnx", axes="bcyx", inputs=1, names=("object",), size=None, before=(), after=(),
    halo=None, shape=(32, 40), **more,
):  # fmt: skip
    """Write a package as a zip file.

    `before` and `after` are pairs of an id and its arguments. The test answer is what bioimageio.core says. Returns the
    path, and a function from an image in the package's axes to core's answer.
    """
    folder.mkdir()
    (folder / "weights").write_bytes(weights)
    sizes = dict(zip([a for a in axes if a in "zyx"], shape, strict=True))
    lengths = {"b": 1, "c": inputs, **sizes}
    image = np.random.default_rng(5).normal(50, 20, [lengths[a] for a in axes]).astype(np.float32)
    np.save(folder / "input.npy", image)
    lengths["c"] = len(names)
    np.save(folder / "output.npy", np.ones([lengths[a] for a in axes], np.float32))

    def axis(letter, out):
        if letter == "b":
            return v0_5.BatchAxis()
        if letter == "c":
            return v0_5.ChannelAxis(channel_names=list(names) if out else [f"channel{n}" for n in range(inputs)])
        if not out:
            return v0_5.SpaceInputAxis(id=letter, size=size or v0_5.ParameterizedSize(min=8, step=8))
        if isinstance(size, int):
            return v0_5.SpaceOutputAxis(id=letter, size=size)
        reference = v0_5.SizeReference(tensor_id="raw", axis_id=letter)
        if halo:
            return v0_5.SpaceOutputAxisWithHalo(id=letter, size=reference, halo=halo)
        return v0_5.SpaceOutputAxis(id=letter, size=reference)

    def describe(part=None):
        entry = {
            "onnx": lambda source: v0_5.OnnxWeightsDescr(source=source, opset_version=17),
            "torchscript": lambda source: v0_5.TorchscriptWeightsDescr(source=source, pytorch_version="2.4"),
        }[kind](folder / "weights")
        return v0_5.ModelDescr(
            name="somebody elses model",
            description="A test.",
            authors=[v0_5.Author(name="Somebody")],
            inputs=[
                v0_5.InputTensorDescr(
                    id="raw", axes=[axis(a, out=False) for a in axes], preprocessing=steps(before),
                    test_tensor=v0_5.FileDescr(source=folder / "input.npy"),
                )
            ],
            outputs=[
                v0_5.OutputTensorDescr(
                    id="answer", axes=[axis(a, out=True) for a in axes], postprocessing=steps(after),
                    test_tensor=v0_5.FileDescr(source=folder / "output.npy"),
                )
            ],
            weights=v0_5.WeightsDescr(**{kind: entry}),
            **more,
        )  # fmt: skip

    def answer(array):
        made = core.predict(model=describe(), inputs={"raw": array})
        return made.members["answer"].data.values

    np.save(folder / "output.npy", answer(image))
    out = folder.with_suffix(".zip")
    spec.save_bioimageio_package(describe(), output_path=out)
    return out, answer


def steps(pairs):
    classes = {
        "scale_range": v0_5.ScaleRangeDescr, "clip": v0_5.ClipDescr, "scale_linear": v0_5.ScaleLinearDescr,
        "zero_mean_unit_variance": v0_5.ZeroMeanUnitVarianceDescr, "sigmoid": v0_5.SigmoidDescr,
        "fixed_zero_mean_unit_variance": v0_5.FixedZeroMeanUnitVarianceDescr, "softmax": v0_5.SoftmaxDescr,
        "binarize": v0_5.BinarizeDescr, "scale_mean_variance": v0_5.ScaleMeanVarianceDescr,
        "ensure_dtype": v0_5.EnsureDtypeDescr,
    }  # fmt: skip
    return [classes[name](**({"kwargs": dict(kwargs)} if kwargs is not None else {})) for name, kwargs in pairs]
