"""`vultus models export`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from vultus.cli.console import line, print_json
from vultus.cli.options import json_option
from vultus.weights.disk import write_atomically

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
@click.option("--mean", help="Of an iResNet: it takes (pixel - mean) / std.  [default: 0]")
@click.option("--std", help="The same; one number, or three separated by commas.  [default: 255]")
@click.option("--colour", type=click.Choice(["rgb", "bgr"]), help="Order of an iResNet's channels.  [default: bgr]")
@json_option
def export(file: Path, target: Path, mean: str | None, std: str | None, colour: str | None, as_json: bool) -> None:
    """Make a file that the engine runs of a PyTorch CHECKPOINT, or EFM3 of a MobileFaceNet in ONNX.

    CHECKPOINT is a state dict (`torch.save(model.state_dict(), ...)`) of a MobileFaceNet, an iResNet (MagFace, InsightFace)
    or a slim Ultra-Light detector; whatever else is in the file, a prefix of the names or the classifier of the training
    does not matter. PyTorch is not needed, and nothing in the file is run. The new file is computed once by the engine and
    by an independent implementation, and not kept if they differ.

    \b
    vultus models export mobilefacenet.pth --to mobilefacenet.bin
    vultus models export magface_iresnet100.pth --to magface.onnx
    vultus models export arcface_r50.pth --to r50.onnx --colour rgb --mean 127.5 --std 127.5
    """
    from vultus.weights.convert import Suffix, convert  # `onnx` is for this command only
    from vultus.weights.verify import verify

    if target.suffix not in _SUFFIXES:
        raise click.UsageError(f"--to {target}: name it .bin for EFM3 or .onnx for ONNX")
    made = convert(file, cast(Suffix, target.suffix), mean=mean, std=std, colour=colour)
    trial = target.with_name(f".{target.name}")
    write_atomically(trial, made.data)
    try:
        verdict = verify(trial, samples=1)
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
