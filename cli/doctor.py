"""`vultus doctor`."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
from msgspec import Struct

from vultus.cli.console import line, print_json
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.configs.address import DatabaseUrl, Place, redact
from vultus.configs.loader import data_folder
from vultus.configs.schema import Config
from vultus.index import GalleryError, GalleryNotFound
from vultus.index.configured import open_gallery
from vultus.native import cpu_features
from vultus.stages.landmarks import landmark_models
from vultus.stages.photo import HEIC
from vultus.stages.probing import probe
from vultus.stages.sources import Unusable, find
from vultus.weights import Registry

_LOW_DISK_GB = 5.0
_ADDRESSES = "cameras are addressed as rtsp://HOST/PATH, http://HOST/PATH or webcam:0"
_STYLES = {"ok": None, "note": "yellow", "bad": "bold red"}


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was checked: `state` is `ok`, `note` (works, could be better) or `bad` (something will fail)."""

    check: str
    state: str
    detail: str
    remedy: str = ""


@click.command()
@click.argument("urls", nargs=-1, metavar="[URL]...")
@gallery_option
@config_option
@json_option
@click.pass_context
def doctor(
    ctx: click.Context, urls: tuple[str, ...], gallery_dir: Place | None, config_file: Path | None, as_json: bool
) -> None:
    """Check processor, build, models, gallery, and whether each camera URL answers; say the remedy where one is needed.

    Exit code 1 if something will not work as it is.
    """
    config, folder = configured(config_file, gallery_dir)
    addresses = urls or tuple(source.address for source in config.sources)
    findings = [
        *_machine(),
        *_models(config),
        _gallery(config, folder),
        *(_camera(address, config) for address in addresses),
    ]
    if as_json:
        print_json(findings)
    else:
        for one in findings:
            line(f"{one.state:<5} {one.check}: {one.detail}", _STYLES[one.state])
            if one.remedy:
                line(f"      → {one.remedy}")
    ctx.exit(1 if any(one.state == "bad" for one in findings) else 0)


def _machine() -> Iterator[Finding]:
    features = cpu_features()
    usable = len(os.sched_getaffinity(0))
    yield Finding(check="processor", state="ok", detail=f"{platform.machine()}, {usable} usable")
    fast = [isa for isa, state in features["isas"].items() if state == "usable" and isa != "scalar"]
    if fast:
        yield Finding(check="engine", state="ok", detail=f"runs with {fast[-1]}")
    else:
        remedy = "use a processor with AVX2 and FMA (any since 2015), or let the virtual machine pass them through"
        yield Finding(check="engine", state="note", detail="plain C only, several times slower", remedy=remedy)
    packages = ("vultus", "numpy", "faiss-cpu", "av", "opencv-python-headless", "pyzmq")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    yield Finding(check="build", state="ok", detail=f"Python {platform.python_version()}, {versions}")
    if HEIC:
        yield Finding(check="HEIC photos", state="ok", detail="pillow-heif is installed")
    else:
        remedy = "pip install 'vultus[heic]'"
        yield Finding(check="HEIC photos", state="note", detail="would be refused", remedy=remedy)


def _models(config: Config) -> Iterator[Finding]:
    registry = Registry(data_folder())
    names = (config.models.detector, config.models.embedder)
    needed = [part for name in names for part in registry.entry(name).needs]
    for check in registry.verify(tuple(dict.fromkeys((*names, *needed, *landmark_models(config))))):
        if check.state == "ok":
            yield Finding(check=check.name, state="ok", detail=check.detail)
        else:
            remedy = f"vultus models pull {check.name}"
            yield Finding(check=check.name, state="bad", detail=f"{check.state}: {check.detail}", remedy=remedy)


def _fingerprint(config: Config) -> str | None:
    """Of the embedder, to compare with the gallery's; none if it is not here, which is told elsewhere."""
    try:
        return Registry(data_folder()).resolve(config.models.embedder, "embedder").fingerprint
    except (LookupError, ValueError, OSError):
        return None


def _gallery(config: Config, place: Place) -> Finding:
    return _database(config, place) if isinstance(place, DatabaseUrl) else _folder(config, place)


def _database(config: Config, url: DatabaseUrl) -> Finding:
    try:
        with open_gallery(config, _fingerprint(config)) as gallery:
            stats = gallery.stats()
    except GalleryNotFound as error:
        remedy = "vultus index PATH, or vultus people enrol NAME PHOTO, makes it in a database that is there"
        return Finding(check="gallery", state="note", detail=str(error), remedy=remedy)
    except (GalleryError, OSError, ValueError, ImportError) as error:
        return Finding(check="gallery", state="bad", detail=str(error), remedy="docs/gallery.md says what it needs")
    return Finding(check="gallery", state="ok", detail=f"{url}: {stats.identities} people, {stats.faces} faces")


def _folder(config: Config, folder: Path) -> Finding:
    if not folder.exists():
        remedy = "vultus index PATH, or vultus people enrol NAME PHOTO, makes it"
        return Finding(check="gallery", state="note", detail=f"{folder}: not made yet", remedy=remedy)
    free = shutil.disk_usage(folder).free / 1e9
    try:
        with open_gallery(config, _fingerprint(config)) as gallery:
            stats = gallery.stats()
    except (GalleryError, OSError) as error:
        return Finding(check="gallery", state="bad", detail=str(error), remedy="vultus gallery verify says more")
    detail = f"{folder}: {stats.identities} people, {stats.faces} faces, {free:.0f} GB free"
    if free < _LOW_DISK_GB:
        return Finding(check="gallery", state="note", detail=detail, remedy="free some space on this disk")
    return Finding(check="gallery", state="ok", detail=detail)


def _camera(address: str, config: Config) -> Finding:
    (found,) = itertools.islice(find([address]), 1)
    name = redact(address)
    if isinstance(found, Unusable):
        return Finding(check=name, state="bad", detail=found.reason, remedy=_ADDRESSES)
    if found.kind == "webcam":
        device = Path(f"/dev/video{found.address.partition(':')[2]}")
        if os.access(device, os.R_OK):
            return Finding(check=name, state="ok", detail=f"{device} is there and may be read")
        remedy = "plug it in, or add yourself to the group `video`"
        return Finding(check=name, state="bad", detail=f"{device} is not there, or may not be read", remedy=remedy)
    if found.kind != "camera":
        return Finding(check=name, state="bad", detail="a file, not a camera", remedy=_ADDRESSES)
    found_out = probe(address, config, count=False)
    if not found_out.works:
        return Finding(check=name, state="bad", detail=found_out.reason, remedy=found_out.remedy)
    return Finding(check=name, state="ok", detail="answers and sends pictures")
