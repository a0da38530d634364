"""`vultus models quantize`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import numpy.typing as npt

from vultus.cli.console import line, print_json, progress, say
from vultus.cli.options import json_option
from vultus.cli.photographs import photographs
from vultus.configs.loader import data_folder
from vultus.native import Engine
from vultus.pipeline.errors import RefusedInput
from vultus.stages.finder import FaceFinder
from vultus.stages.sources import Unusable
from vultus.weights import Samples
from vultus.weights.disk import write_atomically

Chips = npt.NDArray[np.uint8]

_MOST_CHIPS = 256
"""More change nothing any more."""


@click.command("quantize")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE")
@click.option(
    "--calibrate",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Photographs whose faces say how large the network's inner values become.  [default: the sample photographs]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the INT8 file goes.  [default: NAME.int8.SUFFIX beside FILE]",
)
@click.option("--mean", help="What FILE, an ONNX graph, does not say itself: pixels become (pixel - mean) / std.")
@click.option("--std", help="The same; one number, or three separated by commas.")
@click.option(
    "--cosine",
    "goal",
    type=click.FloatRange(0, 1),
    default=0,
    help="To FP32, that the worst of these faces is to have: layers that move the answers most stay in floats until it has, "
    "up to half of the arithmetic. Slower then: 0.997 makes of 1.65 times FP32 1.28 for SFace.  [default: all in bytes]",
)
@json_option
def quantize(
    file: Path, folder: Path | None, out: Path | None, mean: str | None, std: str | None, goal: float, as_json: bool
) -> None:
    """Make an INT8 file of an FP32 embedder, EFM3 or ONNX.

    FOLDER should hold a few dozen people or more; with the few sample photographs alone, other faces may fall outside
    the ranges that they show. The new file's answers are compared with the old one's on the same faces.

    \b
    vultus models quantize mobilefacenet.bin --calibrate photos
    vultus models quantize r50.onnx --calibrate photos --mean 127.5 --std 127.5 --out r50_int8.onnx
    """
    from vultus.weights.quantise import declared, quantise  # `onnx` is for this command only

    engine = Engine(file)
    if engine.precision == "int8":
        raise click.ClickException(f"{file}: is INT8 already; make it of the FP32 file")
    data = declared(file.read_bytes(), mean=mean, std=std)
    if engine.input_size != (112, 112):
        raise click.ClickException(
            f"{file}: the network takes {engine.input_size} pixels; faces are aligned to 112 x 112"
        )
    chips = _chips(folder, visible=not as_json)
    with progress(visible=not as_json) as bar:
        task = bar.add_task(file.name, total=1.0)
        made = quantise(data, chips, lambda step, share: bar.update(task, description=step, completed=share), goal=goal)
    target = out or file.with_suffix(f".int8{file.suffix}")
    write_atomically(target, made)
    floats, convolutions = _in_floats(target)
    cosines = _cosines(data, made, chips)
    result = {
        "file": str(target),
        "bytes": len(made),
        "bytes_before": len(data),
        "chips": len(chips),
        "convolutions": convolutions,
        "convolutions_in_floats": floats,
        "cosine_least": float(cosines.min()),
        "cosine_mean": float(cosines.mean()),
    }
    if as_json:
        print_json(result)
        return
    line(f"{target}: {len(made):,} bytes instead of {len(data):,}")
    line(f"{floats} of {convolutions} convolutions are computed in floats, the others in bytes")
    line(f"cosine to FP32 on {len(chips)} faces: {cosines.mean():.4f} on average, {cosines.min():.4f} at least")


def _chips(folder: Path | None, *, visible: bool) -> Chips:
    """Aligned faces of photographs and their mirror images, (n, 112, 112, 3) uint8 BGR."""
    data = data_folder()
    photos = list(photographs([folder or Samples(data).pull()]))
    found: list[Chips] = []
    with FaceFinder(data=data) as finder, progress(visible=visible) as bar:
        for photo in bar.track(photos, description="faces"):
            if isinstance(photo, Unusable):
                say(f"{photo.source}: {photo.reason}; left out")
                continue
            try:
                found += [face.chip for face in finder.find(photo)]
            except RefusedInput as error:
                say(f"{photo}: {error}; left out")
    if not found:
        raise click.ClickException(f"{folder}: no face on any of {len(photos)} photographs")
    chips = np.stack(found)
    chips = np.concatenate([chips, chips[:, :, ::-1]])
    every = -(-len(chips) // _MOST_CHIPS)
    return np.ascontiguousarray(chips[::every])


def _in_floats(path: Path) -> tuple[int, int]:
    """Convolutions of a file that are computed in floats, and all."""
    layers = [
        text for text in Engine(path).layers if "MMAC" in text and not text.startswith(("quantize", "dequantize"))
    ]
    return sum("int8" not in text for text in layers), len(layers)


def _cosines(before: bytes, after: bytes, chips: Chips) -> npt.NDArray[np.float32]:
    """Of each face, between the answers of two model files."""
    with TemporaryDirectory() as folder:
        answers = []
        for name, data in (("before", before), ("after", after)):
            path = Path(folder) / name
            path.write_bytes(data)
            answers.append(Engine(path).embed_chips(chips))
    cosines: npt.NDArray[np.float32] = (answers[0] * answers[1]).sum(1)
    return cosines
