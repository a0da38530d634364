"""`vultus doctor`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
from msgspec import Struct

from vultus.cli.console import print_json, table
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.configs.loader import data_folder
from vultus.configs.schema import Config
from vultus.index import Gallery, GalleryError
from vultus.native import cpu_features
from vultus.weights import Registry


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
def doctor(ctx: click.Context, urls: tuple[str, ...], gallery_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Check processor, build, models, gallery, and whether each camera URL answers; say the remedy where one is needed.

    Exit code 1 if something will not work as it is.
    """
    config, folder = configured(config_file, gallery_dir)
    addresses = urls or tuple(source.address for source in config.sources)
    findings = [
        *_machine(),
        *_models(config),
        _gallery(folder),
        *(_camera(address, config) for address in addresses),
    ]
    if as_json:
        print_json(findings)
    else:
        table("", ("check", "", "found", "remedy"), ((one.check, one.state, one.detail, one.remedy) for one in findings))
    ctx.exit(1 if any(one.state == "bad" for one in findings) else 0)


def _machine() -> Iterator[Finding]:
    features = cpu_features()
    usable = len(os.sched_getaffinity(0))
    yield Finding(check="processor", state="ok", detail=f"{platform.machine()}, {usable} usable processors")
    yield Finding(check="engine", state="ok", detail=str(features))
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("vultus", "numpy", "faiss-cpu", "av", "onnxruntime", "opencv-python-headless", "pyzmq")
    )
    yield Finding(check="build", state="ok", detail=f"Python {platform.python_version()}, {versions}")
