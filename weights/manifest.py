"""The manifest as types: every model and sample photograph, where it comes from and what it must hash to.

`manifest.toml` beside this file is part of the program, so its own mistakes are programming errors; it is still read
strictly (unknown keys refused, hashes and sizes checked for form) because it is edited by hand. The models that a user
added are in a second one of the same form, beside the models themselves (`weights/own.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from vultus.weights.errors import UnknownModel

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, Meta(ge=1, le=2_000_000_000)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Triple = tuple[float, float, float]
Kind = Literal["detector", "embedder", "part"]
"""A part is a network that detectors work with and that does nothing on its own."""
Family = Literal["yunet", "ultra-light", "mtcnn", "scrfd"]
"""How a detector's outputs become faces (`stages/detector.py`)."""
Importer = Literal["onnx-fold", "ultra-light", "mtcnn", "declared", "onnx", "efm3"]
"""What turns the file as published into the file that runs: a conversion (`weights/importers.py`); the same bytes with the
normalisation written behind them (`weights/declaration.py`); or nothing, for a file in ONNX or EFM3 that says all itself."""
_AS_PUBLISHED = ("declared", "onnx", "efm3")


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
    """One place that holds a file: a member of an archive, an https address, or a local file. Exactly one is given."""

    archive: str | None = None
    """Key of `[archives]`."""
    member: str | None = None
    """Path inside the archive, without the top folder that a source distribution has."""
    url: str | None = None
    local: Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None
    """Where the user had it; or, of a file that its makers let nobody pass on, the name under which the user has it."""

    def __post_init__(self) -> None:
        given = sum(place is not None for place in (self.archive, self.url, self.local))
        if given != 1 or (self.archive is None) != (self.member is None):
            raise ValueError("a source has either `archive` and `member`, or `url`, or `local`")
        if self.url is not None and not self.url.startswith("https://"):
            raise ValueError("a source's `url` is https")

    @property
    def filename(self) -> str:
        """Last part of the member's path, of the address or of the local path."""
        return (self.member or self.url or self.local or "").rpartition("/")[2]

    def told(self, archives: Mapping[str, Package]) -> str:
        """How a person is told about it."""
        if self.archive is not None:
            return f"{archives[self.archive].label}, {self.member}"
        return self.url or f"local file {self.local}"


class Digest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file must be."""

    sha256: Sha256
    bytes: Bytes


class Measured(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this project's own tables say of a model; docs/models.md says how each figure came about."""

    accuracy: Annotated[float, Meta(ge=0.0, le=1.0)]
    protocol: Text
    """What of: data set and protocol."""
    milliseconds: Annotated[float, Meta(gt=0.0)]
    """Of one face (embedders) or photograph (detectors)."""
    machine: Text


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A model: what it is, where it comes from, and how pictures must be put to it."""

    title: Text
    kind: Kind
    licence: Text
    """SPDX expression, or in words."""
    commercial: bool
    """Whether the licence allows commercial use; if not, nothing runs before the user accepted it."""
    origin: Text
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
    """Cosine at or above which two faces are the same person, as its makers suggest; none for others, and where they
    suggest none: a threshold is then configured, or calibrated."""
    magnitude: tuple[float, float] | None = None
    """Of embedders whose vectors are the longer the better the face (MagFace): the lengths that are quality 0 and 1."""
    family: Family | None = None
    """Of a detector; none for others."""
    needs: tuple[Name, ...] = ()
    """Further models that it does not work without, which are pulled with it."""
    importer: Importer
    """What turns the source file into the runtime file (`weights/importers.py`)."""
    source: Digest
    """The file as published; every source has these bytes, since other bytes would be another model."""
    runtime: Digest | None = None
    """The file that runs, as a conversion makes it; where there is none it follows from `source`."""
    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    """Tried in order."""
    measured: Measured | None = None
    """None: not in the tables yet."""

    def __post_init__(self) -> None:
        if (self.runtime is None) != (self.importer in _AS_PUBLISHED):
            raise ValueError(f"`runtime` is given except with the importers {', '.join(_AS_PUBLISHED)}")
        if min(self.std) <= 0:
            raise ValueError("`std` is positive")
        embeds = self.kind == "embedder"
        if any((value is not None) != embeds for value in (self.dim, self.alignment)):
            raise ValueError("`dim` and `alignment` are given for embedders, and only for them")
        if not embeds and (self.threshold is not None or self.magnitude is not None):
            raise ValueError("`threshold` and `magnitude` are given for embedders only")
        if self.magnitude is not None and not 0 <= self.magnitude[0] < self.magnitude[1]:
            raise ValueError("`magnitude` is two lengths, the smaller one first")
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


class Acceptance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That the user read a licence which forbids commercial use, and goes by it."""

    licence: Text
    """As it was shown; another one has to be accepted anew."""
    at: Text
    """When, ISO 8601 in UTC."""


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole of a manifest."""

    format: Literal[1]
    archives: dict[Name, Package] = {}
    models: dict[Name, Entry] = {}
    samples: dict[Name, Photo] = {}
    accepted: dict[Name, Acceptance] = {}
    """By model; only in the user's own."""

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
