"""Undoing: the last acts, read backwards, as changes like any other."""

from __future__ import annotations

import json
import time

import msgspec

from vultus.index import acts, journal, owners, people
from vultus.index.acts import Detail, Hide, Merge, Move, Name, Rename, Runs, Show, Split, unpacked
from vultus.index.errors import CannotUndo
from vultus.index.storage import Connection, Writer
from vultus.index.types import Act


def undo(connection: Connection, writer: Writer, count: int) -> list[Act]:
    """Undo the last `count` acts that are not undone; return them, the newest first.

    Raises CannotUndo, changing nothing, if there are fewer or one of them cannot be.
    """
    done: list[Act] = []
    while len(done) < count:
        last = next(((act, detail) for act, detail in acts.recorded(connection) if act.undone is None), None)
        if last is None:
            raise CannotUndo(
                f"{len(done)} acts can be undone, not {count}" if done else "there is no act that could be undone"
            )
        done.append(_done(connection, writer, *last))
    return done


def undo_act(connection: Connection, writer: Writer, number: int) -> Act:
    """Undo one act, whatever was done after it. Raises CannotUndo, changing nothing."""
    for act, detail in acts.recorded(connection):
        if act.id == number:
            if act.undone is not None:
                raise CannotUndo(f"act {number} ({act.kind}: {act.summary}) is undone already")
            return _done(connection, writer, act, detail)
    raise CannotUndo(f"there is no act {number}; it is too old, or it was about somebody who has been deleted")


def _done(connection: Connection, writer: Writer, act: Act, detail: Detail) -> Act:
    lost = _undo(connection, writer, act, detail)
    return msgspec.structs.replace(act, undone=acts.mark_undone(connection, act), lost=lost)


def _undo(connection: Connection, writer: Writer, act: Act, detail: Detail) -> int:
    """Undo one act; return how many of its faces could not be brought back, since they are gone or another's now."""
    here = {number for number in detail.people() if _is_there(connection, number)}
    if not isinstance(detail, Merge | Move) and here != detail.people():
        raise _impossible(act, "the person is not in the gallery any more")
    match detail:
        case Merge():
            return _unmerge(connection, writer, act, detail)
        case Split():
            owners.absorb(connection, writer, detail.identity, detail.other)
        case Move():
            return _move_back(connection, writer, act, detail, here)
        case Name():
            owners.call(connection, writer, detail.identity, None)
        case Rename():
            _free(connection, act, detail.before)
            owners.call(connection, writer, detail.identity, detail.before)
        case Hide() | Show():
            owners.conceal(connection, writer, detail.identity, hidden=isinstance(detail, Show))
    return 0


def _unmerge(connection: Connection, writer: Writer, act: Act, detail: Merge) -> int:
    if not _is_there(connection, detail.identity):
        raise _impossible(act, f"person {detail.identity} is not in the gallery any more")
    if detail.name is not None:
        _free(connection, act, detail.name)
    again = owners.make(connection, detail.name, detail.created)
    owners.conceal(connection, writer, again, hidden=detail.hidden)
    lost = _bring_back(connection, writer, detail.faces, detail.identity, again)
    _bring_back_sightings(connection, detail.sightings, detail.identity, again)
    _deny_again(connection, writer, detail, again)
    acts.renumber(connection, detail.other, again)
    return lost


def _deny_again(connection: Connection, writer: Writer, detail: Merge, again: int) -> None:
    """Part the denials of two people again, and note that they are two if else they could become one by themselves."""
    faces = json.dumps(unpacked(detail.given_faces))
    connection.execute(
        "DELETE FROM denials WHERE identity = ? AND face IN (SELECT value FROM json_each(?))", (detail.identity, faces)
    )
    for other in detail.given_people:
        connection.execute(
            "DELETE FROM denials WHERE (identity, other) IN ((?1, ?2), (?2, ?1))", (detail.identity, other)
        )
    left = {other for other in detail.denied_people if _is_there(connection, other)}
    if detail.name is None or people.find(connection, detail.identity)[1] is None:
        left.add(detail.identity)
    owners.deny(connection, again, _there(connection, unpacked(detail.denied_faces)), sorted(left))
    _deny_struck(connection, detail.identity, detail.struck_faces)
    journal.append(connection, writer, "denied", again, again, 0)


def _deny_struck(connection: Connection, person: int, struck: Runs) -> None:
    """Say again that the person is not on these faces, where they are there and somebody else's."""
    rows = connection.execute(
        "SELECT id FROM faces WHERE id IN (SELECT value FROM json_each(?)) AND identity IS NOT ?",
        (json.dumps(unpacked(struck)), person),
    )
    owners.deny(connection, person, [face for (face,) in rows.fetchall()], ())


def _move_back(connection: Connection, writer: Writer, act: Act, detail: Move, here: set[int]) -> int:
    """Give moved faces back to those of their former owners who are there, the rest stay."""
    if not here and detail.people() - {detail.identity}:
        raise _impossible(act, "nobody whom it was about is in the gallery any more")
    target = detail.identity or None
    lost = 0
    for owner, runs in detail.sightings.items():  # first: faces would take those of their looks with them
        if not owner or owner in here:
            _bring_back_sightings(connection, runs, target, owner or None)
    for owner, runs in detail.faces.items():
        if owner and owner not in here:
            lost += len(unpacked(runs))
        else:
            lost += _bring_back(connection, writer, runs, target, owner or None)
    if target is not None and target in here and detail.struck_faces:
        _deny_struck(connection, target, detail.struck_faces)
        journal.append(connection, writer, "denied", target, target, 0)
    if target is not None and detail.made:
        _unmake(connection, writer, target, act)
    return lost


def _unmake(connection: Connection, writer: Writer, person: int, act: Act) -> None:
    """Let somebody go whom an act made, and who has given the faces back, if nothing was added or said since."""
    held = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM faces WHERE identity = ?1) OR EXISTS (SELECT 1 FROM sightings WHERE identity = ?1) "
        "OR EXISTS (SELECT 1 FROM denials WHERE identity = ?1 OR other = ?1) "
        "OR NOT EXISTS (SELECT 1 FROM identities WHERE id = ?1)",
        (person,),
    ).fetchone()
    others = [one for one, detail in acts.recorded(connection) if one.id != act.id and person in detail.people()]
    if held[0] or any(one.undone is None for one in others):
        return
    connection.executemany("DELETE FROM acts WHERE id = ?", [(one.id,) for one in others])  # they may hold names
    connection.execute("DELETE FROM identities WHERE id = ?", (person,))
    journal.append(connection, writer, "dropped", person, person, 0)


def _bring_back(connection: Connection, writer: Writer, runs: Runs, holder: int | None, to: int | None) -> int:
    """Give `to` those of the faces that `holder` still has; return how many others there were."""
    faces = unpacked(runs)
    still = connection.execute(
        "SELECT id FROM faces WHERE id IN (SELECT value FROM json_each(?)) AND identity IS NOT DISTINCT FROM ?",
        (json.dumps(faces), holder),
    ).fetchall()
    owners.hand_over(connection, writer, [face for (face,) in still], to)
    return len(faces) - len(still)


def _bring_back_sightings(connection: Connection, runs: Runs, holder: int | None, to: int | None) -> None:
    connection.execute(
        "UPDATE sightings SET identity = ? WHERE id IN (SELECT value FROM json_each(?)) "
        "AND identity IS NOT DISTINCT FROM ?",
        (to, json.dumps(unpacked(runs)), holder),
    )


def _free(connection: Connection, act: Act, name: str) -> None:
    taken = people.named(connection, name)
    if taken is not None:
        raise _impossible(
            act, f"the name {name!r} belongs to person {taken} now; rename that one, then undo act {act.id}"
        )


def _is_there(connection: Connection, person: int) -> bool:
    return connection.execute("SELECT 1 FROM identities WHERE id = ?", (person,)).fetchone() is not None


def _there(connection: Connection, faces: list[int]) -> list[int]:
    query = "SELECT id FROM faces WHERE id IN (SELECT value FROM json_each(?))"
    return [face for (face,) in connection.execute(query, (json.dumps(faces),))]


def _impossible(act: Act, why: str) -> CannotUndo:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(act.at))
    return CannotUndo(f"the {act.kind} of {when} ({act.summary}) cannot be undone: {why}")
