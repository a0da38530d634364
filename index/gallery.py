"""The gallery: people, their faces, and who a face belongs to. What the rest of vultus sees of this folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import ArrayLike

from vultus.configs import DatabaseUrl, Place
from vultus.configs.schema import Audit as Rules
from vultus.configs.schema import Retention
from vultus.index import archive, denials, export, figures, intake, kinds, people, retention
from vultus.index.audit import Actor, Audit
from vultus.index.backend import open_backend, restore
from vultus.index.binding import bind_dim, bind_model
from vultus.index.calibrating import Calibrating
from vultus.index.contract import Backend
from vultus.index.directory import Directory
from vultus.index.loading import bound_to
from vultus.index.migration import Migration
from vultus.index.names import clean_name
from vultus.index.ownership import Ownership
from vultus.index.searching import Searcher
from vultus.index.seeing import Seeing
from vultus.index.types import (
    Denial,
    FaceRecord,
    FileFaces,
    FileRecord,
    FileState,
    FileStatus,
    KnownFile,
    Match,
    NearFace,
    Report,
    Stats,
    StoredFace,
    Where,
)
from vultus.index.unknowns import Unknowns

_log = logging.getLogger("vultus.index")


class Gallery(Directory, Ownership, Seeing):
    """A durable gallery in a folder; made by `open`, used as a context manager or closed by `close`.

    Every method that changes something has changed it on the disk when it returns, all of it or (with an exception)
    nothing. Every search sees what was committed before it began, by this or any other process.

    Vectors are `(n, dim)` of anything that becomes float32; the gallery scales them to length 1. `dim` is that of the
    first ones it gets. All methods may be called from several threads; a gallery opened before a fork must be opened
    again in the child.

    Methods raise `ValueError` for impossible arguments and, beyond what each says, `GalleryBusy` if another process
    writes for longer than the time limit, `StorageError` (an `OSError`) if the disk is full or failing,
    `GalleryCorrupt` if the database is damaged, and `GalleryClosed` after `close`.
    """

    def __init__(self, backend: Backend, rules: Rules | None = None, actor: str | None = None) -> None:
        self._backend = backend
        self._store = backend.storage
        self.unknowns = Unknowns(backend)
        """The unknown people: who they are, who they turn out to be, and how they come to be."""
        self.audit = Audit(backend.storage, rules or Rules(), actor)
        """Who did what, if that is recorded."""
        self._searcher = Searcher(backend)
        self.calibration = Calibrating(backend.storage, self._searcher)
        """How similar strangers are here, and the threshold that follows."""
        self.migration = Migration(backend)
        """The way to another embedding model."""

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | DatabaseUrl,
        model: str | None = None,
        create: bool = True,
        *,
        busy_timeout: float = 10.0,
        audit: Rules | None = None,
        actor: str | None = None,
        key: bytes | None = None,
    ) -> Self:
        """Open the gallery in the folder `path`.

        `model` is the fingerprint of the embedding model whose vectors come in; a gallery takes it over when it has
        none yet, and refuses another one ever after. None opens whatever is there. `busy_timeout` is how many seconds
        a write waits for other processes. With `audit.enabled` it is recorded who searches and who changes what: the
        `actor`, or the operating system's user. `key`, 32 bytes, is that of an encrypted gallery; one that is made with
        it is encrypted.

        Raises GalleryNotFound (a FileNotFoundError) if there is none and `create` is false, UnknownFormat for a file
        or folder that is something else or of a newer format (it is left alone), ModelMismatch for another model,
        WrongKey (a PermissionError) for a wrong or missing key.
        """
        backend = open_backend(path, create=create, busy_timeout=busy_timeout, key=key)
        try:
            if model is not None:
                bind_model(backend.storage, model)
            return cls(backend, audit, actor)
        except BaseException:
            backend.storage.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Place:
        """Folder of the gallery, or address of its database."""
        return self._store.place

    @property
    def model(self) -> str | None:
        """Fingerprint of the model that made the vectors; none if nobody has said."""
        with self._store.read() as connection:
            return bound_to(connection)[1]

    @property
    def dim(self) -> int | None:
        """Numbers in a vector; none before the first."""
        with self._store.read() as connection:
            return bound_to(connection)[2]

    # People and faces

    def enrol(self, name: str, vectors: ArrayLike, faces: Sequence[FaceRecord] | None = None) -> int:
        """Add faces to the person called `name`, who is made if not there; return the person's number.

        Names are compared exactly, after Unicode NFC and with space at the ends taken off: 1 to 200 characters
        without control characters. `faces` has one record a vector.
        """
        clean = clean_name(name)
        rows, records = intake.checked(vectors, faces, self.dim)
        if not len(rows):
            raise ValueError(f"{clean!r} cannot be enrolled without a vector")
        with self._store.write() as connection:
            bind_dim(connection, rows)
            person = people.ensure(connection, [clean])[clean]
            people.add_faces(connection, self._store.writer, rows, records, [person] * len(rows))
        return person

    def enrol_many(
        self, names: Sequence[str], vectors: ArrayLike, faces: Sequence[FaceRecord] | None = None
    ) -> list[int]:
        """Add one face to each named person, in one commit; return the people's numbers, one a name."""
        known = {name: clean_name(name) for name in dict.fromkeys(names)}
        clean = [known[name] for name in names]
        rows, records = intake.checked(vectors, faces, self.dim)
        if len(clean) != len(rows):
            raise ValueError(f"{len(clean)} names were given for {len(rows)} vectors; each needs one")
        with self._store.write() as connection:
            bind_dim(connection, rows)
            numbers = people.ensure(connection, clean)
            owners = [numbers[name] for name in clean]
            people.add_faces(connection, self._store.writer, rows, records, owners)
        return owners

    def add_faces(
        self, vectors: ArrayLike, faces: Sequence[FaceRecord] | None = None, identity: int | str | None = None
    ) -> list[int]:
        """Add faces, of a person who is there or of nobody; return the numbers of the faces.

        Raises UnknownIdentity.
        """
        rows, records = intake.checked(vectors, faces, self.dim)
        with self._store.write() as connection:
            owner = None if identity is None else people.find(connection, identity)[0]
            bind_dim(connection, rows)
            return people.add_faces(connection, self._store.writer, rows, records, [owner] * len(rows))

    def remove_identity(self, identity: int | str) -> None:
        """Delete a person, by number or name, with all faces, vectors, chips and sightings. Raises UnknownIdentity."""
        with self._store.write(scrub=True) as connection:
            people.remove(connection, self._store.writer, identity)

    def remove_faces(self, faces: Sequence[int]) -> None:
        """Delete faces by number; a person without faces stays. If one is not there: UnknownFace, and none goes."""
        with self._store.write(scrub=True) as connection:
            people.remove_faces(connection, self._store.writer, faces)

    def face(self, face_id: int) -> StoredFace:
        """Return a face with its vector and chip. Raises UnknownFace."""
        with self._store.read() as connection:
            return people.face(connection, face_id)

    def export(self, identity: int | str, out: str | os.PathLike[str] | BinaryIO) -> export.Exported:
        """Write all that is held about a person into the new zip file `out`, or to a file open for writing.

        Read from one state of the gallery, row by row, so a person of any number of faces takes little memory.
        Raises UnknownIdentity, StorageError.
        """
        exported = export.export(self._store, identity, _target(out))
        self.audit.note("export", [exported.identity])
        return exported

    # Search

    def load(self) -> None:
        """Read the index into memory now, so that the first search does not wait for it."""
        with self._store.read() as connection, self._backend.looking(connection, None):
            pass

    def search(
        self,
        vectors: ArrayLike,
        k: int,
        threshold: float | None = None,
        where: Where | None = None,
        *,
        faces: int = 1,
    ) -> list[list[Match]]:
        """Return for each probe up to `k` matches, best first.

        A person is one match, by the best of the person's faces; a face of nobody is a match of its own. Similarities
        below `threshold` are left out; `where` restricts the faces that are looked at. Similarities are exact, and so is
        the search unless the index is of a kind that scans codes (`vultus.index.kinds`). Of equally similar faces the
        older comes first. A person with a negative example (`deny`) that is at least as similar to the probe as the
        best of the person's faces is no answer. `faces`, 1 to 100, is how many of a person's speak for the match: more
        than the best one are read from the database.
        """
        answers = self._searcher.people(vectors, k, threshold, where, faces)
        self.audit.searched([(answers, self.audit.actor())], k, threshold)
        return answers

    def search_face(
        self, face_id: int, k: int, threshold: float | None = None, where: Where | None = None, *, faces: int = 1
    ) -> list[Match]:
        """Return up to `k` matches of a stored face, best first, as `search` does of its vector; the face itself is none.

        So its own person is an answer if another face of that one speaks for it. Raises UnknownFace, and ValueError for
        a face that has no vector since the gallery moved to another model.
        """
        (found,) = self.search_by_faces([face_id], k, threshold, where, faces=faces)
        if found is None:
            self.face(face_id)
            raise ValueError(
                f"face {face_id} has no vector of the model {self.model}, so nothing can be compared to it"
            )
        return found

    def search_by_faces(
        self,
        face_ids: Sequence[int],
        k: int,
        threshold: float | None = None,
        where: Where | None = None,
        *,
        faces: int = 1,
        actors: Sequence[Actor] | None = None,
    ) -> list[list[Match] | None]:
        """Do what `search_face` does for several stored faces; none in place of those without a vector, or not there.

        `actors`: as whose search each is recorded (`Audit.actor` tells), if they are several people's.
        """
        stored = self._searcher.stored(face_ids)
        there = [face for face in face_ids if face in stored]
        if not there:
            return [None] * len(face_ids)
        rows = np.stack([stored[face] for face in there])
        answers = iter(self._searcher.people(rows, k, threshold, where, faces, besides=there))
        found = [next(answers) if face in stored else None for face in face_ids]
        askers = [self.audit.actor()] * len(face_ids) if actors is None else actors
        self.audit.searched(
            [([one], by) for one, by in zip(found, askers, strict=True) if one is not None], k, threshold
        )
        return found

    def search_faces(
        self, vectors: ArrayLike, k: int, threshold: float | None = None, where: Where | None = None
    ) -> list[list[NearFace]]:
        """Return for each probe the `k` most similar faces, best first, whose ever they are.

        Faces of people who are no answer of `search` because of a negative example are left out.
        """
        answers = self._searcher.faces(vectors, k, threshold, where)
        self.audit.searched([(answers, self.audit.actor())], k, threshold)
        return answers

    # Negative examples

    def deny(self, identity: int | str, *, face: int | None = None, other: int | str | None = None) -> None:
        """Say that a person is not on a `face`, or is not the same as an `other` person.

        `search` says what follows for searches; no clustering gives the face to the person or makes the two one. The
        newest word holds: `allow` takes it back, and so does moving the face to the person, or a merge. Raises
        UnknownIdentity, UnknownFace, and Denied for one of the person's own faces.
        """
        with self._store.write() as connection:
            denials.deny(connection, self._store.writer, identity, face, other)

    def allow(self, identity: int | str, *, face: int | None = None, other: int | str | None = None) -> None:
        """Take back what `deny` was told. Raises UnknownDenial (a KeyError) if it was not."""
        with self._store.write() as connection:
            denials.allow(connection, self._store.writer, identity, face, other)

    def denials(self, identity: int | str | None = None) -> list[Denial]:
        """Return the negative examples that concern a person, or all, oldest first. Raises UnknownIdentity."""
        with self._store.read() as connection:
            connection.steady()
            return denials.listed(connection, identity)

    # Archive

    def commit_file(
        self,
        record: FileRecord,
        vectors: ArrayLike,
        faces: Sequence[FaceRecord] | None = None,
        label: str | None = None,
        labelled: Sequence[int] | None = None,
    ) -> int:
        """Store the faces of a file and mark it done, in one transaction; return how many faces it has.

        Faces that an earlier commit of the same source stored are replaced. With `label`, all of them are enrolled
        under this name, or those at the positions `labelled`. Records without a source get the file's.
        """
        file = FileFaces(record=record, vectors=vectors, faces=faces, label=label, labelled=labelled)
        return self.commit_files([file])[0]

    def refuse_file(self, record: FileRecord, reason: str) -> None:
        """Remember that a file cannot be used, and why; faces that it had before it changed are deleted."""
        self.commit_files([FileFaces(record=record, refused=reason)])

    def commit_files(self, files: Sequence[FileFaces]) -> list[int]:
        """Do what `commit_file` and `refuse_file` do for several files, in one transaction: for all of them or none.

        Returns how many faces each has. What a commit costs is mostly the wait for the disk, which is one for all.
        """
        dim = self.dim
        checked = [intake.checked_file(file, dim) for file in files]
        with self._store.write() as connection:
            for file, (rows, records, owned) in zip(files, checked, strict=True):
                archive.forget_faces(connection, self._store.writer, file.record.source)
                status: FileStatus = "done" if file.refused is None else "refused"
                number = archive.mark_file(connection, file.record, status, file.refused, len(rows))
                if len(rows):
                    bind_dim(connection, rows)
                    numbers = people.ensure(connection, {name for name in owned if name is not None})
                    owners = [None if name is None else numbers[name] for name in owned]
                    people.add_faces(connection, self._store.writer, rows, records, owners, number)
        return [len(rows) for rows, _, _ in checked]

    def file_state(self, source: str, size: int, mtime_ns: int, digest: bytes | None = None) -> FileState:
        """Compare a file with what is remembered of it.

        Digests decide where both sides have one; otherwise size and time of change must both be the same.
        """
        with self._store.read() as connection:
            return archive.state(connection, source, size, mtime_ns, digest)

    def known_files(self, below: str = "") -> dict[str, KnownFile]:
        """Return all remembered files whose source begins with `below`, by source; made for hundreds of thousands."""
        with self._store.read() as connection:
            return archive.known(connection, below)

    # Care

    def stats(self) -> Stats:
        """Return the gallery's figures."""
        return figures.stats(self._backend)

    def prune(self, rules: Retention, now: float | None = None) -> retention.Pruned:
        """Delete what is older than `rules` allow, at `now` (none: this moment); numbers are not used again."""
        with self._store.write(scrub=True) as connection:
            return retention.prune(connection, self._store.writer, rules, time.time() if now is None else now)

    def verify(self) -> Report:
        """Check everything that can be checked; see `Report`. Other processes wait only while the index is summed."""
        return self._backend.verify()

    def convert(self, index: str = kinds.AUTO, memory: int | None = None, recall: float | None = None) -> str:
        """Give the gallery another kind of index, now and for every later opening; return the kind that it has now.

        `index` is one of `kinds.KINDS`, or "auto": by number of faces and `memory`, the bytes that the index may take
        (none: no bound). `recall` is of the kinds with lists: the share of faces, at least 0.5 and below 1 (none: 0.995),
        whose nearest person has a face in the lists that a search reads; it is measured when the index is made, and decides
        how many those are. Where it is stated, "auto" takes lists above 6,291,456 faces of 512 numbers, else never.
        A gallery of fewer than 1024 faces is flat meanwhile. The vectors stay as they are; the index is made from the
        database, which takes about a minute for a million faces, and a snapshot written. Other processes go on with the
        index that they have, and take the new one when they open the gallery again. In a database the kinds are "flat",
        "hnsw" and "auto" (`docs/gallery.md`). Raises UnknownKind.
        """
        if memory is not None and memory < 1:
            raise ValueError(f"memory is how many bytes the index may take, at least 1, not {memory}")
        self.audit.note("convert")
        return self._backend.convert(index, memory, recall)

    def set_key(self, key: bytes | None) -> None:
        """Encrypt the gallery with this key of 32 bytes, give an encrypted one another key, or decrypt it (none).

        Encrypting and decrypting write every vector and picture anew, in one transaction (a kill changes nothing), and a
        snapshot; another key is a matter of milliseconds. Other processes have to open the gallery again (WrongKey).
        """
        self._backend.set_key(key)
        self.audit.note("key")

    def backup(self, path: str | os.PathLike[str]) -> int:
        """Copy the gallery at one moment into the new file `path`; return its bytes. StorageError, also if it is there."""
        self.audit.note("backup")
        return self._backend.backup(Path(path).absolute())

    @staticmethod
    def restore(backup: str | os.PathLike[str], path: str | os.PathLike[str] | DatabaseUrl) -> None:
        """Make a gallery of what `Gallery.backup` wrote, once it is checked, wherever the gallery was.

        `path` is a folder, new or empty, or the address of a database without a gallery. Raises GalleryNotFound,
        UnknownFormat or GalleryCorrupt for no whole backup, StorageError if there is something already, and for a database
        NotInDatabase if the backup is encrypted, UnknownFormat if it is of an older format.
        """
        restore(Path(backup).absolute(), path)

    def compact(self) -> int:
        """Give the space of deleted faces back to the disk, and write a snapshot; return how many bytes that is.

        Takes memory of about the database's size; others' writes wait. If one reads, space comes at our next write or close.
        """
        return self._backend.compact()

    def snapshot(self) -> None:
        """Write a snapshot, so that the next opening is quick; none of a gallery that never had a face.

        Raises StorageError; nothing depends on it but the time that opening takes.
        """
        self._backend.snapshot()

    def close(self, *, snapshot: bool | None = None) -> None:
        """Give everything back; a second call does nothing.

        `snapshot`: write one first, do not, or (none) if that spares the next opening noticeable work or the one on the
        disk still holds deleted faces. A snapshot that cannot be written now is logged: nothing is lost with it.
        """
        if not self._store.usable:
            return
        self.audit.close()
        self._backend.close(snapshot=snapshot)


def _target(out: str | os.PathLike[str] | BinaryIO) -> Path | BinaryIO:
    return Path(out).absolute() if isinstance(out, str | os.PathLike) else out
