"""From the name of a model to a verified file."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from vultus.weights.declaration import metadata, record
from vultus.weights.disk import locked, matches, settle, sha256_of, write_atomically
from vultus.weights.errors import FetchFailed, LicenceNotAccepted, ModelMissing, ModelRefused
from vultus.weights.manifest import Digest, Entry, Family, Kind, Manifest, Measured, Triple, shipped
from vultus.weights.own import Own

if TYPE_CHECKING:
    from vultus.weights.fetch import Fetcher

Progress = Callable[[str, str, float], None]
"""Called with a name, what is happening in words, and which share of that is done, 0..1."""


class Model(Struct, frozen=True, kw_only=True):
    """A model whose file was just compared with the manifest."""

    name: str
    kind: Kind
    path: Path
    """The runtime file."""
    fingerprint: str
    """Name and twelve digits of a hash over the runtime file and how pictures are put to it. Vectors of embedders with
    different fingerprints are not comparable; a gallery keeps the one that made it."""
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
    magnitude: tuple[float, float] | None
    """Lengths of its vectors that are quality 0 and 1; none if they say nothing of quality."""
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
    accepted: bool
    """Whether it may run: the licence allows commercial use, or the user accepted that it does not."""
    own: bool
    """Whether the user added it."""
    bytes: int | None
    """Of the file here; none if there is none."""
    download: int
    """Bytes of the file as published."""
    sources: tuple[str, ...]
    """In words, in the order in which they are tried."""
    dim: int | None
    threshold: float | None
    measured: Measured | None
    about: str
    origin: str


class Check(Struct, frozen=True, kw_only=True):
    """A row of `vultus models verify`."""

    name: str
    state: Literal["ok", "missing", "wrong"]
    detail: str


class Registry:
    """The models of the manifest and of the user's own, kept in `data / "models"`; touches the disk when asked, not when
    made."""

    def __init__(self, data: Path, manifest: Manifest | None = None) -> None:
        self._folder = data / "models"
        self._manifest = manifest or shipped()
        self._own = Own(self._folder)

    def names(self) -> tuple[str, ...]:
        """Every model of the manifest, in its order, and of the user's own."""
        return tuple(self._both().models)

    def entry(self, name: str) -> Entry:
        """What the manifests say of a model, the user's own before the other; UnknownModel (a LookupError) names the
        nearest one."""
        return self._both().entry(name)

    def _both(self) -> Manifest:
        """The manifest with the user's own models in it."""
        return msgspec.structs.replace(self._manifest, models={**self._manifest.models, **self._own.read().models})

    def _with_needed(self, names: Sequence[str]) -> dict[str, Entry]:
        """These models, each once, and behind each what it needs."""
        entries: dict[str, Entry] = {}
        for name in names:
            for one in (name, *self.entry(name).needs):
                entries[one] = self.entry(one)
        return entries

    def path(self, name: str) -> Path:
        """Where a model's file is, or will be; UnknownModel as `entry`."""
        return self._path(name, self.entry(name))

    def known(self, sha256: str) -> str | None:
        """The name of the model whose published file has that hash, none if no manifest knows it."""
        return next((name for name, entry in self._both().models.items() if entry.source.sha256 == sha256), None)

    def add(self, name: str, entry: Entry, file: Path) -> Model:
        """A model of the user's own: its published file, as `entry` describes it, is copied here.

        Raises ModelRefused for a name that is taken, for a file of other bytes than `entry.source`, and for an importer
        that needs more than the file.
        """
        if entry.importer == "onnx-fold":
            raise ModelRefused(f"{name}: files of users are run as they are, and not folded")
        with locked(self._folder):
            if name in self.names():
                raise ModelRefused(f"a model is called {name} already; give yours another `--name`, or remove that one")
            self._keep(name, entry, file)
            self._own.add(name, entry)
        return self._model(name)

    def remove(self, name: str) -> None:
        """Delete a model's file; one of the user's own is forgotten as well. UnknownModel as `entry`."""
        entry = self.entry(name)
        with locked(self._folder):
            self._path(name, entry).unlink(missing_ok=True)
            self._own.remove(name)

    def accept(self, name: str) -> None:
        """Record that the user accepted the model's licence as it is now."""
        licence = self.entry(name).licence
        with locked(self._folder):
            self._own.accept(name, licence)

    def accepted(self, name: str) -> bool:
        """Whether the model may run: its licence allows commercial use, or was accepted."""
        entry = self.entry(name)
        found = self._own.read().accepted.get(name)
        return entry.commercial or (found is not None and found.licence == entry.licence)

    def _allowed(self, name: str) -> None:
        if not self.accepted(name):
            entry = self.entry(name)
            raise LicenceNotAccepted(
                f"{name}: {entry.licence} ({entry.origin}): not for commercial use; "
                f"`vultus models pull {name} --accept-licence` records that you go by it"
            )

    def resolve(self, name: str, kind: Kind | None = None) -> Model:
        """The model of that name, its file hashed anew (30 ms for 38 MB), so that nothing else ever runs.

        Raises UnknownModel, ModelMissing if it was never pulled, ModelRefused if the file is not the manifest's or the
        model is of another `kind` than the one wanted, LicenceNotAccepted (a PermissionError).
        """
        entry = self.entry(name)
        if kind is not None and entry.kind != kind:
            raise ModelRefused(f"{name} is of the kind {entry.kind}, not {kind}")
        check = self._check(name)
        if check.state == "missing":
            raise _missing(name)
        if check.state == "wrong":
            raise ModelRefused(f"{check.detail}; `vultus models pull {name}` fetches the right one")
        self._allowed(name)
        return self._model(name)

    def need(self, *names: str) -> None:
        """Raise ModelMissing, which names all that were never pulled of these models and what they need; UnknownModel as
        `resolve`."""
        absent = [name for name, entry in self._with_needed(names).items() if not self._path(name, entry).exists()]
        if absent:
            raise _missing(*absent)

    def pull(self, names: Sequence[str], from_dir: Path | None = None, progress: Progress | None = None) -> list[Model]:
        """Make models, and what they need, ready to run: fetch, check, convert, check again, keep. What is there and right
        stays.

        With `from_dir` nothing goes over the network; the folder holds the source file, the archive with it in, or the
        runtime file of another machine. Processes that pull at the same time wait for each other. Raises UnknownModel
        before anything is fetched, as LicenceNotAccepted; FetchFailed if no source has the file, ModelRefused if the
        conversion does not give the manifest's bytes.
        """
        entries = self._with_needed(names)
        for name in entries:
            self._allowed(name)
        # HTTP and archives are for this moment only, and this module for every process.
        from vultus.weights.fetch import Fetcher

        with locked(self._folder), Fetcher(self._manifest.archives, from_dir) as fetcher:
            for name, entry in entries.items():
                if self._check(name).state != "ok":
                    data = self._make(name, entry, fetcher, from_dir, progress)
                    write_atomically(self._path(name, entry), data)
                if progress is not None:
                    progress(name, "ready", 1.0)
        return [self._model(name) for name in entries]

    def verify(self, names: Sequence[str] | None = None) -> list[Check]:
        """Compare files with the manifest: of these models, or of all."""
        return [self._check(name) for name in (self.names() if names is None else names)]

    def status(self) -> list[Status]:
        """All models and whether each is ready here."""
        return [self._status(name) for name in self.names()]

    def state(self, name: str) -> Status:
        """One of them; UnknownModel as `entry`."""
        return self._status(name)

    def _status(self, name: str) -> Status:
        entry, check = self.entry(name), self._check(name)
        return Status(
            name=name,
            kind=entry.kind,
            state=check.state,
            licence=entry.licence,
            commercial=entry.commercial,
            accepted=self.accepted(name),
            own=name in self._own.read().models,
            bytes=None if check.state == "missing" else self._path(name, entry).stat().st_size,
            download=entry.source.bytes,
            sources=tuple(source.told(self._manifest.archives) for source in entry.sources),
            dim=entry.dim,
            threshold=entry.threshold,
            measured=entry.measured,
            about=entry.title,
            origin=entry.origin,
        )

    def _path(self, name: str, entry: Entry) -> Path:
        return self._folder / f"{name}{'.bin' if entry.importer == 'efm3' else '.onnx'}"

    def _check(self, name: str) -> Check:
        entry = self.entry(name)
        path, wanted, tail = self._path(name, entry), entry.runtime or entry.source, _tail(name, entry)
        try:
            size = path.stat().st_size
            if size != wanted.bytes + len(tail):
                detail = f"{path} has {size} bytes, not {wanted.bytes + len(tail)}"
                return Check(name=name, state="wrong", detail=detail)
            found, rest = sha256_of(path, wanted.bytes)
        except FileNotFoundError:
            return Check(name=name, state="missing", detail=f"`vultus models pull {name}` fetches it")
        if found != wanted.sha256:
            detail = f"{path} has SHA-256 {found[:12]}…, the manifest says {wanted.sha256[:12]}…"
            return Check(name=name, state="wrong", detail=detail)
        if rest != tail:
            return Check(name=name, state="wrong", detail=f"{path} declares another normalisation than the manifest")
        return Check(name=name, state="ok", detail=str(path))

    def _keep(self, name: str, entry: Entry, file: Path) -> None:
        """Copy a published file of gigabytes to its place, without all of it in memory."""
        path = self._path(name, entry)
        part = path.with_name(f".{path.name}.part")
        try:
            with file.open("rb") as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.write(_tail(name, entry))
                target.flush()
                os.fsync(target.fileno())
            if sha256_of(part, entry.source.bytes)[0] != entry.source.sha256:
                raise ModelRefused(f"{file} changed while it was read")
            settle(part, path)
        finally:
            part.unlink(missing_ok=True)

    def _make(
        self, name: str, entry: Entry, fetcher: Fetcher, from_dir: Path | None, progress: Progress | None
    ) -> bytes:
        """The bytes of the runtime file, checked."""

        def report(step: str, share: float) -> None:
            if progress is not None:
                progress(name, step, share)

        if from_dir is not None:
            finished = from_dir / self._path(name, entry).name
            runtime = entry.runtime
            if runtime and finished.is_file() and matches(finished, runtime.sha256, runtime.bytes):
                return _same(finished.read_bytes(), name, runtime, f"{finished} changed while it was read")
        try:
            source = fetcher.get(name, entry.sources, entry.source, report)
        except FetchFailed as error:
            files = " or ".join(dict.fromkeys(source.filename for source in entry.sources))
            hint = f"With {files} in a folder DIR: `vultus models pull {name} --from DIR`"
            raise FetchFailed(f"{error}. {hint}" if from_dir is None else str(error)) from error
        if entry.runtime is None:
            return source + _tail(name, entry)
        from importlib.metadata import version  # these, and `onnx`, are for this moment only as well

        from vultus.weights import importers

        report("converting", 0.0)
        data = importers.convert(name, entry, source)
        return _same(
            data, name, entry.runtime, f"onnx {version('onnx')} converts it to other bytes than the manifest's"
        )

    def _model(self, name: str) -> Model:
        entry = self.entry(name)
        return Model(
            name=name,
            kind=entry.kind,
            path=self._path(name, entry),
            fingerprint=f"{name}-{_hash(name, entry)[:12]}",
            licence=entry.licence,
            commercial=entry.commercial,
            input_size=entry.input_size,
            colour=entry.colour,
            mean=entry.mean,
            std=entry.std,
            dim=entry.dim,
            threshold=entry.threshold,
            alignment=entry.alignment,
            magnitude=entry.magnitude,
            family=entry.family,
            needs=entry.needs,
        )


def _missing(*names: str) -> ModelMissing:
    verb, them = ("is", "it") if len(names) == 1 else ("are", "them")
    listed = " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
    return ModelMissing(f"{listed} {verb} not on this machine; `vultus models pull {' '.join(names)}` fetches {them}")


def _tail(name: str, entry: Entry) -> bytes:
    """What stands behind the published file in the runtime file."""
    return record(metadata(name, entry)) if entry.importer == "declared" else b""


def _hash(name: str, entry: Entry) -> str:
    """Of the runtime file; if that is the published one, of its hash and of what is declared behind it."""
    if entry.runtime is not None:
        return entry.runtime.sha256
    tail = _tail(name, entry)
    return hashlib.sha256(bytes.fromhex(entry.source.sha256) + tail).hexdigest() if tail else entry.source.sha256


def _same(data: bytes, name: str, runtime: Digest, otherwise: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != runtime.sha256:
        raise ModelRefused(f"{name}: {otherwise}")
    return data
