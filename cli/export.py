"""`vultus models export`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

import click

from vultus.cli.console import line, print_json
from vultus.cli.options import json_option
from vultus.weights.disk import write_atomically

if TYPE_CHECKING:
    from vultus.weights.verify import Verdict

_SUFFIXES = (".bin", ".onnx")


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CHECKPOINT")
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The new file: NAME.bin for EFM3, NAME.onnx for ONNX.",
)
@click.option("--mean", help="Of an iResNet or Keras: it takes (pixel - mean) / std.  [default: 0]")
@click.option("--std", help="The same; one number, or three separated by commas.  [default: 255]")
@click.option(
    "--colour", type=click.Choice(["rgb", "bgr"]), help="The same: order of its channels.  [default: bgr; Keras: rgb]"
)
@json_option
def export(file: Path, target: Path, mean: str | None, std: str | None, colour: str | None, as_json: bool) -> None:
    """Make a file that the engine runs of a CHECKPOINT. It is of PyTorch or Keras, or a MobileFaceNet in ONNX or EFM3.

    CHECKPOINT is a state dict (`torch.save(model.state_dict(), ...)`) of a MobileFaceNet, an iResNet (MagFace, InsightFace),
    a slim Ultra-Light detector, or MTCNN's P-, R- or O-Net; whatever else is in the file, a prefix of the names or the
    classifier of the training does not matter.

    Or it is the .h5 file of a MobileFaceNet that Keras saved, whole or weights alone (`vultus[keras]`). PyTorch and
    Keras are not needed, and nothing in the file is run. The new file is computed once by the engine and by an
    independent implementation, which is given the graph that the new file was made of; it is not kept if they differ.

    \b
    vultus models export mobilefacenet.pth --to mobilefacenet.bin
    vultus models export magface_iresnet100.pth --to magface.onnx
    vultus models export MobileFaceNet.h5 --to mobilefacenet.onnx
    vultus models export arcface_r50.pth --to r50.onnx --colour rgb --mean 127.5 --std 127.5
    vultus models export mobilefacenet.bin --to mobilefacenet.onnx
    """
    from vultus.weights.convert import Suffix, convert  # `onnx` is for this command only

    if target.suffix not in _SUFFIXES:
        raise click.UsageError(f"--to {target}: name it .bin for EFM3 or .onnx for ONNX")
    made = convert(file, cast(Suffix, target.suffix), mean=mean, std=std, colour=colour)
    trial = target.with_name(f".{target.name}")
    write_atomically(trial, made.data)
    try:
        verdict = _compared(trial, made.graph)
        if not verdict.holds:
            raise click.ClickException(
                f"{file}: the engine computes the new file otherwise than others do; please report it"
            )
        trial.replace(target)
    finally:
        trial.unlink(missing_ok=True)
    worst = max((one.largest for one in verdict.differences), default=0.0)
    if as_json:
        print_json({"file": str(target), "family": made.family, "bytes": len(made.data), "largest": worst})
    else:
        line(
            f"{target}: {made.family}, {len(made.data):,} bytes; largest difference to an independent computation {worst:.2g}"
        )


def _compared(made: Path, graph: bytes | None) -> Verdict:
    """What the engine computes of the new file, beside the graph that it was made of, or beside itself."""
    from vultus.weights.verify import verify

    if graph is None:
        return verify(made, samples=1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(graph)
        return verify(made, against=path, samples=1)
