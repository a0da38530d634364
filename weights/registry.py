"""From the name of a model to a verified file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from msgspec import Struct

from vultus.weights.disk import locked, matches, sha256_of, write_atomically
from vultus.weights.errors import FetchFailed, ModelMissing, ModelRefused
from vultus.weights.fetch import Fetcher
from vultus.weights.manifest import Entry, Family, Kind, Manifest, Triple, shipped

Progress = Callable[[str, str, float], None]
"""Called with a name, what is happening in words, and which share of that is done, 0..1."""


class Model(Struct, frozen=True, kw_only=True):
    """A model whose file was just compared with the manifest."""

    name: str
    kind: Kind
    path: Path
    """The runtime file."""
    fingerprint: str
    """Name and the first twelve digits of the runtime file's SHA-256. Vectors of embedders with different fingerprints
    are not comparable; a gallery keeps the one that made it."""
    licence: str
    commercial: bool
    input_size: tuple[int, int]
    """Height, width."""
    colour: Literal["rgb", "bgr"]
    mean: Triple
    std: Triple
    dim: int | None
    threshold: float | None
    alignment: str | None
    family: Family | None
    """Of a detector."""
    needs: tuple[str, ...]
    """Models that it does not work without."""


class Status(Struct, frozen=True, kw_only=True):
    """A row of `vultus models list`."""

    name: str
    kind: Kind
    state: Literal["ok", "missing", "wrong"]
    licence: str
    commercial: bool
    dim: int | None
    threshold: float | None
    about: str
    origin: str


class Check(Struct, frozen=True, kw_only=True):
    """A row of `vultus models verify`."""

    name: str
    state: Literal["ok", "missing", "wrong"]
    detail: str


class Registry:
    """The models of the manifest, kept in `data / "models"`; touches the disk when asked, not when made."""

    def __init__(self, data: Path, manifest: Manifest | None = None) -> None:
        self._folder = data / "models"
        self._manifest = manifest or shipped()

    def names(self) -> tuple[str, ...]:
        """Every model of the manifest, in its order."""
        return tuple(self._manifest.models)

    def entry(self, name: str) -> Entry:
        """What the manifest says of a model; UnknownModel (a LookupError) names the nearest one."""
        return self._manifest.entry(name)

    def resolve(self, name: str, kind: Kind | None = None) -> Model:
        """The model of that name, its file hashed anew (30 ms for 38 MB), so that nothing else ever runs.

        Raises UnknownModel, ModelMissing if it was never pulled, ModelRefused if the file is not the manifest's or the
        model is of another `kind` than the one wanted.
        """
        entry = self.entry(name)
        if kind is not None and entry.kind != kind:
            raise ModelRefused(f"{name} is of the kind {entry.kind}, not {kind}")
        check = self._check(name)
        if check.state == "missing":
            raise _missing(name)
        if check.state == "wrong":
            raise ModelRefused(f"{check.detail}; `vultus models pull {name}` fetches the right one")
        return self._model(name)

    def need(self, *names: str) -> None:
        """Raise ModelMissing, which names all that were never pulled of these models and what they need; UnknownModel as
        `resolve`."""
        absent = [name for name in self._with_needed(names) if not self._path(name).exists()]
        if absent:
            raise _missing(*absent)

    def pull(self, names: Sequence[str], from_dir: Path | None = None, progress: Progress | None = None) -> list[Model]:
        """Make models, and what they need, ready to run: fetch, check, convert, check again, keep. What is there and right
        stays.

        With `from_dir` nothing goes over the network; the folder holds the source file, the archive with it in, or the
        runtime file of another machine. Processes that pull at the same time wait for each other. Raises UnknownModel
        before anything is fetched, FetchFailed if no source has the file, ModelRefused if the conversion does not give
        the manifest's bytes.
        """
        entries = self._with_needed(names)
        with locked(self._folder), Fetcher(self._manifest.archives, from_dir) as fetcher:
            for name, entry in entries.items():
                if self._check(name).state != "ok":
                    data = self._make(name, entry, fetcher, from_dir, progress)
                    write_atomically(self._path(name), data)
                if progress is not None:
                    progress(name, "ready", 1.0)
        return [self._model(name) for name in entries]

    def verify(self, names: Sequence[str] | None = None) -> list[Check]:
        """Compare files with the manifest: of these models, or of all."""
        return [self._check(name) for name in (self.names() if names is None else names)]

    def status(self) -> list[Status]:
        """All models and whether each is ready here."""
        return [
            Status(
                name=name,
                kind=entry.kind,
                state=self._check(name).state,
                licence=entry.licence,
                commercial=entry.commercial,
                dim=entry.dim,
                threshold=entry.threshold,
                about=entry.title,
                origin=entry.origin,
            )
            for name, entry in self._manifest.models.items()
        ]

    def _with_needed(self, names: Sequence[str]) -> dict[str, Entry]:
        """These models, each once, and behind each what it needs."""
        entries: dict[str, Entry] = {}
        for name in names:
            for one in (name, *self.entry(name).needs):
                entries[one] = self.entry(one)
        return entries

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.onnx"

    def _check(self, name: str) -> Check:
        wanted, path = self.entry(name).runtime, self._path(name)
        try:
            size = path.stat().st_size
            if size != wanted.bytes:
                return Check(name=name, state="wrong", detail=f"{path} has {size} bytes, not {wanted.bytes}")
            found = sha256_of(path)
        except FileNotFoundError:
            return Check(name=name, state="missing", detail=f"`vultus models pull {name}` fetches it")
        if found != wanted.sha256:
            detail = f"{path} has SHA-256 {found[:12]}…, the manifest says {wanted.sha256[:12]}…"
            return Check(name=name, state="wrong", detail=detail)
        return Check(name=name, state="ok", detail=str(path))

    def _make(
        self, name: str, entry: Entry, fetcher: Fetcher, from_dir: Path | None, progress: Progress | None
    ) -> bytes:
        """The bytes of the runtime file, checked."""

        def report(step: str, share: float) -> None:
            if progress is not None:
                progress(name, step, share)

        if from_dir is not None:
            finished = from_dir / f"{name}.onnx"
            if finished.is_file() and matches(finished, entry.runtime.sha256, entry.runtime.bytes):
                return _same(finished.read_bytes(), name, entry, f"{finished} changed while it was read")
        try:
            source = fetcher.get(name, entry.sources, entry.source, report)
        except FetchFailed as error:
            files = " or ".join(dict.fromkeys(source.filename for source in entry.sources))
            hint = f"With {files} in a folder DIR: `vultus models pull {name} --from DIR`"
            raise FetchFailed(f"{error}. {hint}" if from_dir is None else str(error)) from error
        from vultus.weights.importers import (
            convert,
        )  # `onnx` is for this moment only, and this module for every process

        report("converting", 0.0)
        data = convert(name, entry, source)
        return _same(data, name, entry, f"onnx {version('onnx')} converts it to other bytes than the manifest's")

    def _model(self, name: str) -> Model:
        entry = self.entry(name)
        return Model(
            name=name,
            kind=entry.kind,
            path=self._path(name),
            fingerprint=f"{name}-{entry.runtime.sha256[:12]}",
            licence=entry.licence,
            commercial=entry.commercial,
            input_size=entry.input_size,
            colour=entry.colour,
            mean=entry.mean,
            std=entry.std,
            dim=entry.dim,
            threshold=entry.threshold,
            alignment=entry.alignment,
            family=entry.family,
            needs=entry.needs,
        )


def _missing(*names: str) -> ModelMissing:
    verb, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return ModelMissing(
        f"{' and '.join(names)} {verb} not on this machine; `vultus models pull {' '.join(names)}` fetches {them}"
    )


def _same(data: bytes, name: str, entry: Entry, otherwise: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != entry.runtime.sha256:
        raise ModelRefused(f"{name}: {otherwise}")
    return data
