"""`vultus bench gallery`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
import numpy as np
from msgspec import Struct

from vultus.cli import gallery_contenders as contenders
from vultus.cli.console import line, print_json, say, table
from vultus.cli.contenders import installed
from vultus.cli.gallery_contenders import Faces, Floats, Found, Numbers, Result
from vultus.cli.options import json_option
from vultus.index import Gallery, UnknownKind, kinds
from vultus.index.codes import set_threads

_COMMIT = 1000
_DELETED = 50
_PROCESS = """
import pathlib, re, sys
import numpy as np
from vultus.index import Gallery
with Gallery.open(sys.argv[1]) as gallery:
    gallery.search(np.ones((1, int(sys.argv[2]))), 1)
    print(re.search(r"VmHWM:\\s*(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
    gallery.close(snapshot=False)
"""
"""What another process does, so that its memory is that of the gallery alone."""


class Care(Struct, frozen=True, kw_only=True):
    """What the gallery does beside searching."""

    added_per_s: float
    """Acknowledged, on the disk, in batches of 1,000."""
    added_while_searched_per_s: float
    """The same while one other thread searches without a pause."""
    searches_meanwhile_per_s: float
    """How many answers that thread gets."""
    searches_meanwhile_p50: float
    """Milliseconds of those searches."""
    open_s: float
    """From the snapshot to the first answer."""
    process_mb: float
    """Megabytes that a process which opens it and searches has taken at most, Python and libraries included."""
    delete_p50: float
    """Milliseconds until a face is deleted."""
    delete_p99: float
    search_after_delete_p50: float


def _kinds(_ctx: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
    found = text.replace(",", " ").split()
    for kind in found:
        try:
            kinds.check(kind)
        except UnknownKind as error:
            raise click.BadParameter(str(error)) from error
    return list(dict.fromkeys(found)) or [kinds.AUTO]


@click.command()
@click.option("--faces", type=click.IntRange(2000, 100_000_000), default=100_000, show_default=True)
@click.option("--dim", type=click.IntRange(8, 4096), default=512, show_default=True, help="Numbers in a vector.")
@click.option("--each", type=click.IntRange(1, 1000), default=10, show_default=True, help="Faces of a person.")
@click.option(
    "--noise", type=click.FloatRange(0, 10), default=0.8, show_default=True, help="Spread of a person's faces."
)
@click.option(
    "--like",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Widen the faces of this gallery by mixing, instead of --dim and --noise.",
)
@click.option("--index", "kind_names", callback=_kinds, default="flat,auto", show_default=True, metavar="KIND,...")
@click.option(
    "--peers",
    default="auto",
    show_default=True,
    metavar="auto|none|NAME,...",
    help=f"Who searches the same: {', '.join(contenders.PACKAGES)}; auto: those that are installed.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the peers' graphs here, and take them from here; a run that was ended goes on with them.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--k", type=click.IntRange(1, 100), default=5, show_default=True, help="Matches asked for.")
@click.option("--batch", type=click.IntRange(2, 1000), default=32, show_default=True, help="Probes of a batch.")
@click.option("--calls", type=click.IntRange(5, 100_000), default=200, show_default=True, help="Single searches each.")
@click.option("--probes", type=click.IntRange(32, 100_000), default=1000, show_default=True, help="For the accuracy.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True)
@json_option
def gallery(
    faces: int,
    dim: int,
    each: int,
    noise: float,
    like: Path | None,
    kind_names: list[str],
    peers: str,
    keep: Path | None,
    threads: int,
    k: int,
    batch: int,
    calls: int,
    probes: int,
    seed: int,
    as_json: bool,
) -> None:
    """How fast and how surely the gallery finds people. Bare FAISS, hnswlib and USearch search beside it.

    People are random directions with faces around them, or (--like) mixtures of the people of a gallery, and the probes
    are further faces of theirs. All contenders search for the same probes in turns. `as exact` is the share of probes
    whose first person is that of comparing all vectors, `right` the share where it is the person meant. Bytes are of
    memory, as each says of itself. FAISS alone finds faces; the gallery finds k people, with names.

    A graph of a million faces takes an hour to build where two processors are busy: --keep saves it every five minutes.

    Files lie in a temporary folder (TMPDIR chooses the disk), 2.4 KB a face of 512 numbers and the snapshot; where the
    vectors are more than 1 GB, so do they.
    """
    rand = np.random.default_rng(seed)
    chosen, missing = _peers(peers)
    say(f"making {faces} faces")
    if like is None:
        made = contenders.spread(faces, dim, each, probes, noise, rand)
    else:
        made = contenders.widened(*_known(like), faces, each, probes, rand)
    set_threads(threads)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary) / "gallery"
        found, rate = _build(made, kind_names, chosen, folder, k, threads, keep, stack)
        say("searching")
        results = contenders.contest(made, found, batch=batch, calls=calls, threads=threads)
        say("adding, opening and deleting")
        care = _care(made, folder, rate)
    conditions = {
        "faces": faces, "dim": made.rows.shape[1], "each": each, "vectors": "spread" if like is None else "widened",
        "noise": noise if like is None else None, "k": k, "batch": batch, "threads": threads, "seed": seed,
        "versions": {peer: installed(contenders.PACKAGES[peer]) for peer in chosen},
    }  # fmt: skip
    if as_json:
        print_json({"conditions": conditions, "missing": missing, "results": results, "gallery": care})
        return
    _tell(conditions, missing, results, care)


def _peers(text: str) -> tuple[list[str], dict[str, str]]:
    wanted = list(contenders.PACKAGES) if text == "auto" else [] if text == "none" else text.replace(",", " ").split()
    unknown = [peer for peer in wanted if peer not in contenders.PACKAGES]
    if unknown:
        raise click.BadParameter(f"no peer is called {unknown[0]!r}; there are: {', '.join(contenders.PACKAGES)}")
    absent = {
        peer: "not installed; `pip install 'vultus[bench]'`"
        for peer in wanted
        if not installed(contenders.PACKAGES[peer])
    }
    return [peer for peer in wanted if peer not in absent], absent


def _known(folder: Path) -> tuple[Floats, Numbers]:
    """The vectors of a gallery's named faces, and their people."""
    rows, people = [], []
    with Gallery.open(folder, create=False) as opened:
        for person in opened.identities():
            for face in opened.faces(person.id):
                vector = opened.face(face.id).vector
                if vector is not None:
                    rows.append(vector)
                    people.append(person.id)
    if not rows:
        raise ValueError(f"{folder} has no named faces")
    return np.stack(rows), np.array(people)


def _build(
    made: Faces,
    kind_names: Sequence[str],
    peers: Sequence[str],
    folder: Path,
    k: int,
    threads: int,
    keep: Path | None,
    stack: ExitStack,
) -> tuple[list[Found], float]:
    """All contenders, and how many faces a second the gallery took in."""
    say("filling the gallery")
    found: list[Found] = []
    rate = 0.0
    for kind in kind_names:
        if not found:
            opened, first, rate = contenders.gallery(made, kind, folder, k)
            found.append(first)
        else:  # of a gallery that is open several times, each keeps the index that it has
            opened = Gallery.open(folder)
            found.append(contenders.converted(opened, kind, k))
        stack.callback(opened.close, snapshot=False)
    if "faiss" in peers:
        say("filling FAISS")
        for kind in dict.fromkeys(one.name.removeprefix("vultus ") for one in found):
            bare = contenders.faiss(made, kind, k)
            found += [] if bare is None else [bare]
    if "hnswlib" in peers:
        say("building hnswlib's graph")
        found += contenders.hnswlib(made, k, threads, keep)
    if "usearch" in peers:
        say("building USearch's graph")
        found += contenders.usearch(made, k, threads, keep)
    return found, rate


def _care(made: Faces, folder: Path, rate: float) -> Care:
    """Open, add and delete in the gallery as it stands."""
    probe = made.probes[:1]
    taken = subprocess.run(
        [sys.executable, "-c", _PROCESS, str(folder), str(probe.shape[1])], check=True, capture_output=True, text=True
    ).stdout
    begun = time.perf_counter()
    with Gallery.open(folder) as opened:
        opened.search(probe, 1)
        opening = time.perf_counter() - begun
        deleting, after = [], []
        for face in range(1, _DELETED + 1):
            deleting.append(_timed(partial(opened.remove_faces, [face])))
            after.append(_timed(lambda: opened.search(probe, 1)))
        done, searching = threading.Event(), list[float]()

        def search() -> None:
            while not done.is_set():
                searching.append(_timed(lambda: opened.search(probe, 1)))

        searcher = threading.Thread(target=search)
        batches = [made.rows[start : start + _COMMIT] for start in range(0, min(len(made.rows), 20_000), _COMMIT)]
        searcher.start()
        begun = time.perf_counter()
        for number, rows in enumerate(batches):
            opened.enrol_many([f"new {number}, {at // 10}" for at in range(len(rows))], rows)
        adding = time.perf_counter() - begun
        done.set()
        searcher.join()
        opened.close(snapshot=False)
    return Care(
        added_per_s=rate,
        added_while_searched_per_s=sum(map(len, batches)) / adding,
        searches_meanwhile_per_s=len(searching) / adding,
        searches_meanwhile_p50=statistics.median(searching),
        open_s=opening,
        process_mb=int(taken) / 1024,
        delete_p50=statistics.median(deleting),
        delete_p99=float(np.quantile(deleting, 0.99)),
        search_after_delete_p50=statistics.median(after),
    )


def _timed(call: Callable[[], object]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e3


def _tell(conditions: dict[str, object], missing: dict[str, str], results: Sequence[Result], care: Care) -> None:
    for key, value in conditions.items():
        line(f"{key}: {value}")
    for peer, reason in missing.items():
        line(f"left out: {peer}: {reason}", "yellow")
    table(
        "",
        ("contender", ">as exact", ">right", ">ms p50", ">p99", ">ms in batch", ">bytes", ">build s"),
        (
            (
                row.contender,
                f"{row.as_exact:.2%}",
                f"{row.right:.2%}",
                f"{row.p50:.2f}",
                f"{row.p99:.2f}",
                f"{row.batch_ms:.2f}",
                f"{row.bytes_per_vector:.0f}",
                f"{row.build_s:.1f}",
            )
            for row in results
        ),
    )
    line(f"adding by {_COMMIT}: {care.added_per_s:,.0f} faces/s, while searched {care.added_while_searched_per_s:,.0f}")
    line(
        f"searches meanwhile: {care.searches_meanwhile_per_s:.0f}/s by one thread, {care.searches_meanwhile_p50:.2f} ms p50"
    )
    line(
        f"opening to the first answer: {care.open_s:.2f} s; a process that has it open: {care.process_mb:,.0f} MB at most"
    )
    line(f"deleting a face: {care.delete_p50:.2f} ms p50, {care.delete_p99:.2f} ms p99")
    line(f"search after a deletion: {care.search_after_delete_p50:.2f} ms p50")
