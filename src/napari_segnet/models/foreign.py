"""A network that another runtime runs, as a module of torch that our predictor can use."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from napari_segnet.axes import times
from napari_segnet.devices import is_out_of_memory
from napari_segnet.errors import ModelFileError, SegNetError
from napari_segnet.models.packages.processing import Affine, Cast, Clip, Sigmoid, Step, Threshold
from napari_segnet.models.packages.recipe import Foreign, Sides
from napari_segnet.predict.tiles import reflected

_LEAST = 1e-7
"""Probability that stands for none: its logit is finite."""
_MOST_RATIO = 200
_OUTER = re.compile(r"\.\s*(?:save|from_file|rpc_\w+)\b|\btorch\s*\.\s*classes\b|\bops\s*\.\s*(?!aten\b|prim\b)\w+")
"""What a TorchScript program could reach files, other machines and other libraries with."""
_EXTERNAL_DATA = b"\x0a\x08location"
"""How a tensor in an ONNX file says that its numbers are in another file."""


class ForeignNetwork(nn.Module):
    """The network of a package: images in, logits out.

    Parameters
    ----------
    foreign : Foreign

    Raises
    ------
    ModelFileError
        If its weights are damaged, or could do more than compute.
    SegNetError
        If what runs them is missing.
    """

    def __init__(self, foreign: Foreign) -> None:
        super().__init__()
        self.recipe = foreign.recipe
        self.path = foreign.archive.path
        content = foreign.archive.read(self.recipe.source, sha256=self.recipe.sha256)
        name = Path(self.recipe.source).name
        self._run = _OnnxRuntime(content, name) if self.recipe.runtime == "onnx" else _TorchScript(content, name)
        self.eval()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move what is held besides modules, too: predictors look into modules, which these are not."""
        self._run.apply(fn)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, C, [Z], Y, X) of any size to logits (B, K, [Z], Y, X), whose softmax is the answer."""
        with torch.autocast(image.device.type, enabled=False):
            image = image.float()
            for step in self.recipe.before:
                image = apply_step(step, image)
            answer = self._windows(image)
            for step in self.recipe.after:
                answer = apply_step(step, answer)
            return to_logits(answer, self.recipe.overlapping)

    def _windows(self, image: Tensor) -> Tensor:
        """Show the network an image in windows that it takes: one, or several along axes of fixed size."""
        shape, sides = image.shape[2:], self.recipe.sides
        margins = self.recipe.margin or (0,) * len(sides)
        along = [_cuts(*one) for one in zip(shape, sides, margins, strict=True)]
        answer: Tensor | None = None
        for place in np.ndindex(*(len(cuts) for cuts in along)):
            chosen = [cuts[n] for cuts, n in zip(along, place, strict=True)]
            window = image
            for axis, (start, stop, _, _) in enumerate(chosen, start=2):
                if (start, stop) != (0, image.shape[axis]):
                    lines = torch.tensor(reflected(start, stop, image.shape[axis]), device=image.device)
                    window = window.index_select(axis, lines)
            found = self._ask(window)
            if answer is None:
                answer = found.new_empty((*found.shape[:2], *shape))
            here = tuple(slice(first, last) for _, _, first, last in chosen)
            kept = tuple(slice(first - start, last - start) for start, _, first, last in chosen)
            everything = (slice(None), slice(None))
            answer[(*everything, *here)] = found[(*everything, *kept)]
        assert answer is not None
        return answer

    def _ask(self, window: Tensor) -> Tensor:
        """Run the network on images (B, C, [Z], Y, X) of a size that it takes; returns (B, K, [Z], Y, X) float32."""
        ours = "bczyx" if window.ndim == 5 else "bcyx"
        batches = [one[None] for one in window] if self.recipe.single else [window]
        found = []
        for batch in batches:
            try:
                answer = self._run(_to_dtype(_turn(batch, ours, self.recipe.input_axes), self.recipe.dtype))
            except Exception as error:  # a runtime may raise anything
                if is_out_of_memory(error):
                    raise
                said = " ".join(str(error).split())[:200]
                size = times(window.shape[2:])
                raise ModelFileError(f"The network of {self.path} failed on {size} pixels: {said}") from error
            found.append(self._turn_back(answer.to(window.device).float(), ours, len(batch)))
        return torch.cat(found)

    def _turn_back(self, answer: Tensor, ours: str, count: int) -> Tensor:
        theirs = self.recipe.output_axes
        if answer.ndim != len(theirs):
            raise ModelFileError(f"The network of {self.path} answers with {answer.ndim} axes, not {len(theirs)}.")
        for letter in ours:
            if letter not in theirs:
                answer, theirs = answer[None], letter + theirs
        answer = answer.permute([theirs.index(letter) for letter in ours])
        if len(answer) != count:
            raise ModelFileError(f"The network of {self.path} gives {len(answer)} answers for {count} images.")
        return answer


def _cuts(length: int, sides: Sides, margin: int) -> list[tuple[int, int, int, int]]:
    """Return the windows along an axis: where each starts and stops, and the first and last of what is kept of it."""
    side = sides.fitting(length)
    if length <= side:
        return [(0, side, 0, length)]
    step = max(1, side - 2 * margin)
    count = -(-(length - 2 * margin) // step)
    starts = [min(n * step, length - side) for n in range(count)]
    borders = [0, *(start + margin for start in starts[1:]), length]
    return [(start, start + side, borders[n], borders[n + 1]) for n, start in enumerate(starts)]


def _turn(batch: Tensor, ours: str, theirs: str) -> Tensor:
    """Bring the axes into the order of the network; those that it lacks are of length one."""
    for axis in reversed(range(len(ours))):
        if ours[axis] not in theirs:
            batch = batch.squeeze(axis)
    kept = [letter for letter in ours if letter in theirs]
    return batch.permute([kept.index(letter) for letter in theirs]).contiguous()


def _to_dtype(x: Tensor, name: str) -> Tensor:
    try:
        dtype = torch.from_numpy(np.empty(0, np.dtype(name))).dtype
    except TypeError:
        raise ModelFileError(f"The network takes numbers of type {name}, which can't be made here.") from None
    return x.to(dtype)


def apply_step(step: Step, x: Tensor) -> Tensor:
    """Do one step of processing to (B, C, [Z], Y, X) float32."""
    along = (1, -1) + (1,) * (x.ndim - 2)
    if isinstance(step, Affine):
        gain, offset = (torch.tensor(v, dtype=torch.float32, device=x.device) for v in (step.gain, step.offset))
        return x * gain.reshape(along) + offset.reshape(along)
    if isinstance(step, Clip):
        return x.clamp(step.low, step.high) if (step.low, step.high) != (None, None) else x
    if isinstance(step, Cast):
        return _to_dtype(x, step.dtype).float()
    if isinstance(step, Threshold):
        return (x > step.value).float()
    return x.sigmoid() if isinstance(step, Sigmoid) else x.softmax(dim=1)


def to_logits(answer: Tensor, overlapping: bool) -> Tensor:
    """Return logits of classes.

    Parameters
    ----------
    answer : (B, K, [Z], Y, X) float32
        Probabilities.
    overlapping : bool
        False: they add up to 1, and the softmax of the logits is what they are. True: each is one by itself. Then a
        background is added, whose logit is 0: the likeliest class is the one of the largest probability, where that
        is above one half. For a single channel the softmax is that probability.

    Returns
    -------
    (B, K or K + 1, [Z], Y, X) float32
    """
    if not overlapping:
        return answer.clamp(_LEAST, 1).log()
    logits = answer.clamp(_LEAST, 1 - _LEAST).logit()
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


class _OnnxRuntime:
    """Runs an ONNX file."""

    def __init__(self, content: bytes, name: str) -> None:
        self._session = open_session(content, name)
        self._input = self._session.get_inputs()[0].name

    def apply(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Stay where it is: onnxruntime chose the device."""

    def __call__(self, x: Tensor) -> Tensor:
        answer = np.asarray(self._session.run(None, {self._input: x.cpu().numpy()})[0])
        return torch.from_numpy(answer if answer.dtype != np.float16 else answer.astype(np.float32))


def open_session(content: bytes, name: str) -> Any:
    """Return an ``onnxruntime.InferenceSession``.

    Parameters
    ----------
    content : bytes
        An ONNX file that holds its weights.
    name : str
        Of the file, for errors.

    Raises
    ------
    SegNetError
        If onnxruntime is not installed.
    ModelFileError
        If the file is damaged, needs other files, or more than one input.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise SegNetError(
            f"{name} is run by onnxruntime, which is not installed.", 'pip install "napari-segnet[export]"'
        ) from error
    if _EXTERNAL_DATA in content:
        raise ModelFileError(f"{name} has its weights in another file, which isn't supported.", "Write it as one file.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    options.intra_op_num_threads = torch.get_num_threads()
    known = onnxruntime.get_available_providers()
    wanted = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in known]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=wanted)
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise ModelFileError(f"{name} is no ONNX file that can be run, or is damaged.", "Get it again.") from error
    if len(session.get_inputs()) != 1 or not session.get_outputs():
        raise ModelFileError(f"{name} has {len(session.get_inputs())} inputs, but one is needed.")
    return session


class _TorchScript:
    """Runs a TorchScript file."""

    def __init__(self, content: bytes, name: str) -> None:
        check_torchscript(content, name)
        self._device = torch.device("cpu")
        try:
            self._module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelFileError(f"{name} is no TorchScript file that can be run, or is damaged.") from error

    def apply(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Move its weights to where a tensor is moved."""
        self._device = fn(torch.zeros(1)).device
        self._module.to(self._device)

    def __call__(self, x: Tensor) -> Tensor:
        answer: Any = self._module(x.to(self._device))
        answer = answer[0] if isinstance(answer, Sequence) and answer else answer
        if not isinstance(answer, Tensor):
            raise TypeError(f"its answer is a {type(answer).__name__}")
        return answer


def check_torchscript(content: bytes, name: str) -> None:
    """Look into a TorchScript file before it is loaded.

    It is a program for PyTorch's own interpreter, without Python. What is left to do harm are operators that write
    files or talk to other machines; networks need none of them.

    Raises
    ------
    ModelFileError
        If it uses one of them, swells when it is unpacked, or is no such file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            entries = file.infolist()
            swollen = sum(entry.file_size for entry in entries) > _MOST_RATIO * len(content)
            code = [] if swollen else [file.read(entry) for entry in entries if entry.filename.endswith(".py")]
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, EOFError) as error:
        raise ModelFileError(f"{name} is no TorchScript file, or is damaged.", "Get it again.") from error
    if swollen:
        raise ModelFileError(f"{name} swells when it is unpacked: it is damaged, or hostile.")
    for text in code:
        # A comment or a continued line could stand between the words that are looked for.
        plain = re.sub(r"#[^\n]*|\\\r?\n", " ", text.decode("utf-8", errors="replace"))
        found = _OUTER.search(plain)
        if found:
            raise ModelFileError(
                f"{name} is a program that does more than compute: it asks for {found.group().strip(' .')!r}.",
                "Don't use it, unless you know why it does; then run it with PyTorch.",
            )
