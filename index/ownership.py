"""The part of a gallery that says whose a face is, and takes it back."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.index import acts, owners, people, undo
from vultus.index.names import clean_name
from vultus.index.storage import Storage
from vultus.index.types import Act


class Ownership:
    """What `Gallery` does about people and faces that are there: acts, which can be undone."""

    _store: Storage

    def rename(self, identity: int | str, name: str) -> None:
        """Give a person another name, or an unknown one the first.

        Raises NameTaken if somebody else has it, and UnknownIdentity.
        """
        with self._store.write() as connection:
            owners.rename(connection, self._store.writer, identity, name)

    def merge(self, into: int | str, other: int | str) -> None:
        """Give all faces and sightings of `other` to `into`; `other` is gone then. Raises UnknownIdentity."""
        with self._store.write() as connection:
            owners.merge(connection, self._store.writer, into, other)

    def split(self, identity: int | str, faces: Sequence[int], name: str | None = None) -> int:
        """Make another person of some faces of `identity`, unknown or with a name; return the number.

        Clustering never joins the two again. Raises UnknownIdentity, UnknownFace for a face that is not that person's,
        NameTaken.
        """
        clean = None if name is None else clean_name(name)
        with self._store.write() as connection:
            return owners.split(connection, self._store.writer, identity, faces, clean)

    def move_faces(self, faces: Sequence[int], to: int | str | None) -> None:
        """Give faces, and the sightings of the same looks, to a person who is there, or to nobody.

        Raises UnknownIdentity, and UnknownFace, moving none, if one is not there.
        """
        with self._store.write() as connection:
            owners.move(connection, self._store.writer, faces, to)

    def name_faces(self, faces: Sequence[int], name: str) -> int:
        """Give faces, whose ever or nobody's, to the person called `name`, who is made if not there; return the number.

        One act, as `move_faces`: undoing it gives the faces back. A person who was made by it goes with them, if nothing was
        added since. Raises UnknownFace, making nobody, if one is not there.
        """
        clean = clean_name(name)
        with self._store.write() as connection:
            made = people.named(connection, clean) is None
            person = people.ensure(connection, [clean])[clean]
            owners.move(connection, self._store.writer, faces, person, made=made)
            return person

    def hide(self, identity: int | str, hidden: bool = True) -> None:
        """Leave a person out of searches and lists that do not ask for such, or no longer. Raises UnknownIdentity."""
        with self._store.write() as connection:
            owners.hide(connection, self._store.writer, identity, hidden=hidden)

    def acts(self, limit: int | None = None, *, kind: str | None = None) -> list[Act]:
        """Return the last acts, the newest first: up to `limit`, or all that are remembered, the last thousand.

        `kind` is one of merge, split, move, name, rename, hide and show, if only those are wanted.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit is how many acts to return, at least 1, not {limit}")
        with self._store.read() as connection:
            connection.steady()
            return [act for act, _ in acts.recorded(connection, limit, kind)]

    def undo(self, count: int = 1, *, act: int | None = None) -> list[Act]:
        """Undo the last `count` acts that are not undone yet, or the one numbered `act`; return them, the newest first.

        Each is a new change: somebody who was merged comes back with name, faces and sightings under a new number. What
        was deleted since stays deleted (`Act.lost`). Raises CannotUndo, and undoes nothing, if there are not so many,
        or if a name has been given to somebody else.
        """
        if count < 1:
            raise ValueError(f"count is how many acts to undo, at least 1, not {count}")
        with self._store.write() as connection:
            if act is not None:
                return [undo.undo_act(connection, self._store.writer, act)]
            return undo.undo(connection, self._store.writer, count)

    def forget_acts(self) -> None:
        """Strike out all acts, with the names that they took away; nothing can be undone then."""
        with self._store.write(scrub=True) as connection:
            connection.execute("DELETE FROM acts")
