"""`vultus models add`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import click
from msgspec.structs import replace

from vultus.cli.console import print_json, say, table
from vultus.cli.licence import accept_licence_option, agree, confirm
from vultus.cli.model_facts import normalisation
from vultus.cli.options import json_option
from vultus.configs.loader import data_folder
from vultus.configs.schema import Config
from vultus.native import ModelFormatError
from vultus.stages.detector import open_detector
from vultus.stages.detector_trial import Found, detector_trial
from vultus.stages.trial import SampleFaces, Trial, embedder_trial, sample_faces
from vultus.weights import Embedder, Registry, Samples, open_embedder
from vultus.weights.declaration import record
from vultus.weights.manifest import Digest, Entry, Importer, Source, Triple

_FREE = ("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "CC0-1.0", "CC-BY-4.0", "Unlicense")
"""Licences of which it is known that they allow commercial use."""
_WIDTHS = (112, 96)
_CONTRACTS: tuple[tuple[float, float], ...] = ((127.5, 127.5), (127.5, 128.0), (0.0, 1.0), (0.0, 255.0))
"""(mean, std) that embedders are trained with as a rule."""


@click.command("add")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE")
@click.option(
    "--kind", type=click.Choice(["embedder", "detector"]), default="embedder", show_default=True, help="What it is."
)
@click.option(
    "--family", type=click.Choice(["yunet", "scrfd"]), help="Of a detector: whose heads it has, with five landmarks."
)
@click.option(
    "--size", default="112x112", show_default=True, help="Pixels it takes, height x width: 112x112 or 112x96."
)
@click.option("--colour", type=click.Choice(["rgb", "bgr"]), help="Order of its channels.")
@click.option("--mean", help="It takes (pixel - mean) / std: one number, or three separated by commas.")
@click.option("--std", help="The same.")
@click.option("--name", help="How it is to be called.  [default: the file's name]")
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Cosine from which on two faces are one person.")
@click.option(
    "--magnitude",
    metavar="LOW,HIGH",
    help="Of a MagFace model: lengths of embeddings that are quality 0 and 1 (10,40).",
)
@click.option("--title", help="What it is, in a line.")
@click.option("--licence", default="not stated", show_default=True, help="SPDX identifier, or in words.")
@click.option("--commercial/--no-commercial", default=None, help="Whether the licence allows commercial use.")
@accept_licence_option
@json_option
def add(
    file: Path,
    kind: Literal["embedder", "detector"],
    family: Literal["yunet", "scrfd"] | None,
    size: str,
    colour: Literal["rgb", "bgr"] | None,
    mean: str | None,
    std: str | None,
    name: str | None,
    threshold: float | None,
    magnitude: str | None,
    title: str | None,
    licence: str,
    commercial: bool | None,
    accept_licence: bool,
    as_json: bool,
) -> None:
    """Let vultus know a model of your own by name. FILE is an embedder (ONNX or EFM3) or a detector (ONNX).

    It is tried first on the sample photographs: every face of somebody who is there twice has to be nearer to the other one
    of theirs than to anybody else's. If it fails, other colours and normalisations are tried, and the one that would do is
    named. A detector, which takes pictures of any size, has to find there what the default one finds, landmarks included.
    FILE is copied; a checkpoint is made a file that runs by `vultus models export` first. A FILE that vultus knows (`vultus
    models list`) needs no options.

    \b
    vultus models add r50.onnx --colour rgb --mean 127.5 --std 127.5 --licence MIT
    vultus models add w600k_r50.onnx --accept-licence
    vultus models add mine.onnx --kind detector --family scrfd --colour rgb --mean 127.5 --std 128 --licence MIT
    """
    registry = Registry(data_folder())
    with file.open("rb") as opened:
        digest = Digest(sha256=hashlib.file_digest(opened, "sha256").hexdigest(), bytes=max(1, file.stat().st_size))
    known = registry.known(digest.sha256)
    if known is not None:
        if registry.state(known).own:
            raise click.ClickException(
                f"{file}: is {known} already; `vultus models remove {known}` before you add it anew"
            )
        if any((colour, mean, std, magnitude, name)) or threshold is not None:
            raise click.UsageError(f"{file}: is {known}, of which all is known; leave the options out")
        agree(registry, known, accept_licence)
        (model,) = registry.pull([known], from_dir=_as(file, registry.entry(known).sources[-1].filename))
        say(f"{file} is {known}; ready, {model.path}")
        if as_json:
            print_json({"name": known, "fingerprint": model.fingerprint, "path": str(model.path)})
        return
    if (kind == "detector") != (family is not None) or (kind == "detector" and (threshold or magnitude)):
        raise click.UsageError(
            "--family is for detectors and due for them; --threshold and --magnitude are for embedders"
        )
    embeds = kind == "embedder"
    entry = Entry(
        title=title or f"added from {file.name}",
        kind=kind,
        licence=licence,
        commercial=licence in _FREE if commercial is None else commercial,
        origin=f"added from {file.name}",
        input_size=_size(size) if embeds else (640, 640),
        colour=colour or "rgb",
        mean=_three("--mean", mean, 0.0),
        std=_three("--std", std, 1.0),
        dim=1 if embeds else None,
        alignment="arcface_112" if embeds else None,
        family=family,
        threshold=threshold,
        magnitude=_ends(magnitude),
        importer=_importer(file, given=(colour, mean, std)),
        source=digest,
        sources=(Source(local=str(file.absolute())),),
    )
    called = name or re.sub(r"[^a-z0-9_.-]+", "_", file.stem.lower()).strip("_.-")[:64]
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", called):
        raise click.UsageError(f"{called!r} is no name; give one with --name (letters a-z, digits, . _ -)")
    if not entry.commercial:
        if commercial is None:
            say(
                f"{called}: `--licence MIT`, or what it is, or `--commercial` if it allows that, says otherwise",
                "yellow",
            )
        confirm(called, entry.licence, "ask whoever gave you the file", accept_licence)
    tried: object
    if embeds:
        entry, tried = _tried(file, called, entry, as_json=as_json)
    else:
        tried = _detects(file, called, entry, as_json=as_json)
    model = registry.add(called, entry, file)
    if not entry.commercial:
        registry.accept(called)
    if as_json:
        print_json({"name": called, "fingerprint": model.fingerprint, "path": str(model.path), "trial": tried})
        return
    say(f"{called}: ready, {f'{model.dim} numbers, ' if embeds else ''}{model.path}")
    if embeds and threshold is None:
        say(f"{called}: threshold {model.threshold}, half way between one person and two; a dozen faces say little,")
        say("so calibrate it on yours: `vultus calibrate`")


def _tried(file: Path, name: str, entry: Entry, *, as_json: bool) -> tuple[Entry, Trial]:
    """The entry with what the file says itself, and how it did; ClickException for a model that does not tell people apart."""
    faces = sample_faces(data_folder(), Samples(data_folder()).pull())
    with _opened(file, entry) as embedder:
        if embedder.input_size != entry.input_size:
            takes = "x".join(map(str, embedder.input_size))
            raise click.ClickException(f"{file}: takes pictures of {takes}; give --size {takes}")
        says = embedder.normalisation
        entry = replace(entry, dim=embedder.dim, colour=says["colour"], mean=says["mean"], std=says["std"])
        tried = embedder_trial(embedder, faces)
    if not as_json:
        table(
            f"{name} on the sample photographs",
            ("face", "face", "who", ">cosine"),
            (
                (one.first, one.second, "one person" if one.same else "two people", f"{one.cosine:.3f}")
                for one in tried.pairs
            ),
        )
    if tried.wrong is not None:
        raise click.ClickException(f"{file}: {tried.wrong}{_better(file, entry, faces)}")
    return (entry if entry.threshold is not None else replace(entry, threshold=tried.threshold)), tried


def _detects(file: Path, name: str, entry: Entry, *, as_json: bool) -> list[Found]:
    """How a detector did; ClickException for one that does not find what the default one finds."""
    data, config = data_folder(), Config()
    with TemporaryDirectory() as folder:
        trial = Registry(Path(folder))
        trial.add(name, replace(entry, commercial=True), file)
        try:
            mine = open_detector(replace(config, models=replace(config.models, detector=name)), Path(folder))
            rows, wrong = detector_trial(mine, open_detector(config, data), data, Samples(data).pull())
        except ValueError as error:
            raise click.ClickException(f"{file}: {error}") from error
    if not as_json:
        table(
            f"{name} on the sample photographs",
            ("photograph", ">faces", ">found", ">as they are"),
            ((row.file, row.expected, row.found, row.same) for row in rows),
        )
    if wrong is not None:
        raise click.ClickException(f"{file}: {wrong}")
    return rows


def _better(file: Path, entry: Entry, faces: SampleFaces) -> str:
    """Which colours and normalisation would do, if any of the common ones does."""
    if entry.importer != "declared":
        return ""
    good: list[tuple[float, Entry]] = []
    colours: tuple[Literal["rgb", "bgr"], ...] = ("rgb", "bgr")
    for colour in colours:
        for mean, std in _CONTRACTS:
            other = replace(entry, colour=colour, mean=(mean,) * 3, std=(std,) * 3)
            with _opened(file, other) as embedder:
                tried = embedder_trial(embedder, faces)
            if tried.wrong is None:
                good.append((tried.same - tried.other, other))
    if not good:
        return "; so it does with every common normalisation: is it a face embedder, for faces aligned as ArcFace's?"
    best = max(good, key=lambda one: one[0])[1]
    return (
        f"; with --colour {best.colour} --mean {best.mean[0]:g} --std {best.std[0]:g} it does not, while it was "
        f"told {entry.colour.upper()}, {normalisation(entry.mean, entry.std)}"
    )


@contextmanager
def _opened(file: Path, entry: Entry) -> Iterator[Embedder]:
    """The network with the entry's normalisation behind its file."""
    if entry.importer != "declared":
        yield open_embedder(file)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trial.onnx"
        names = {"vultus.colour": entry.colour, "vultus.mean": _listed(entry.mean), "vultus.std": _listed(entry.std)}
        path.write_bytes(file.read_bytes() + record(names))
        yield open_embedder(path)


def _importer(file: Path, given: tuple[str | None, ...]) -> Importer:
    """How the file becomes one that runs, from what it is; UsageError where it says too little or too much is said."""
    from vultus.weights import onnx_check  # `onnx` is for this command only

    with file.open("rb") as opened:
        begin = opened.read(8)
    if begin[:4] == b"EFM3":
        if any(given):
            raise click.UsageError(f"{file}: an EFM3 network always takes RGB, (pixel - 127.5) / 128; leave that out")
        return "efm3"
    if begin[:2] == b"PK" or begin[:1] == b"\x80" or begin == b"\x89HDF\r\n\x1a\n":
        raise click.UsageError(f"{file}: a checkpoint; `vultus models export {file} --to NEW.onnx` first")
    model = onnx_check.parse(onnx_check.read(file), str(file))
    if {"vultus.mean", "vultus.std", "vultus.colour"} & {one.key for one in model.metadata_props}:
        if any(given):
            raise click.UsageError(f"{file}: says its normalisation itself; leave --colour, --mean and --std out")
        return "onnx"
    if not all(given):
        raise click.UsageError(f"{file}: does not say how it wants its pixels; give --colour, --mean and --std")
    return "declared"


def _as(file: Path, name: str) -> Path:
    """The file's folder, if it is called as its source is."""
    if file.name != name:
        raise ModelFormatError(f"{file}: is the model's {name}; rename it so")
    return file.absolute().parent


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4})[xX×](\d{1,4})", text)
    if found is None or int(found[1]) != 112 or int(found[2]) not in _WIDTHS:
        raise click.UsageError(f"--size {text}: faces are aligned to 112x112, or 112x96 (height x width)")
    return int(found[1]), int(found[2])


def _three(option: str, text: str | None, otherwise: float) -> Triple:
    try:
        values = [float(value) for value in text.split(",")] if text is not None else [otherwise]
    except ValueError:
        values = []
    if len(values) not in (1, 3) or not all(abs(value) < 1e6 for value in values):
        raise click.UsageError(f"{option} {text}: one number, or three separated by commas")
    return values[0], values[len(values) // 2], values[-1]


def _ends(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(value) for value in text.split(","))
    except ValueError:
        raise click.UsageError(f"--magnitude {text}: two lengths, for instance 10,40") from None
    return low, high


def _listed(values: Triple) -> str:
    return ",".join(f"{value:g}" for value in values)
