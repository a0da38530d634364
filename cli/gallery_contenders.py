"""Who finds people how fast: the gallery and its peers, on the same vectors, in turns."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.cli.console import say
from vultus.index import Gallery, codes, kinds

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

PACKAGES = {"faiss": "faiss-cpu", "hnswlib": "hnswlib", "usearch": "usearch"}
"""What must be installed for each peer."""
_COMMIT = 1000
_BLOCK = 20_000
_GROWN = 5000
"""Faces that a graph takes in at a time."""
_SAID_EVERY_S = 10.0
_KEPT_EVERY_S = 300.0
_IN_MEMORY = 1 << 30
_HNSW = {"M": 16, "ef_construction": 200}
_EFS = (64, 256)
"""How many candidates the graphs keep while they search: a quick and a careful setting."""


class Faces(Struct, frozen=True, kw_only=True):
    """What everybody searches: vectors `(n, dim)` of length 1 with their people, and probes with theirs."""

    rows: Floats
    people: Numbers
    probes: Floats
    wanted: Numbers


class Found(Struct, frozen=True, kw_only=True):
    """A contender that has taken the vectors in."""

    name: str
    seconds: float
    """Taking them in, all of it."""
    bytes_per_vector: float
    """In memory, as the contender says of itself."""
    first: Callable[[Floats], Numbers]
    """The person of the best match of each probe, -1 for none; asks for k matches."""


class Result(Struct, frozen=True, kw_only=True):
    """One contender's figures."""

    contender: str
    as_exact: float
    """Share of probes whose first person is that of an exact search."""
    right: float
    """Share of probes whose first person is the one that was meant."""
    p50: float
    """Milliseconds of a single search."""
    p99: float
    batch_ms: float
    """Milliseconds of a probe in batches; the median."""
    bytes_per_vector: float
    build_s: float


def spread(count: int, dim: int, each: int, probes: int, noise: float, rand: np.random.Generator) -> Faces:
    """People in random directions, `each` faces around each: two of a person have a cosine of 1 / (1 + noise²)."""
    centres = rand.standard_normal((-(-count // each), dim), dtype=np.float32)
    return _faces(lambda people: centres[people], lambda n: noise * rand.standard_normal((n, dim), dtype=np.float32),
                  count, dim, each, probes, rand)  # fmt: skip


def widened(known: Floats, owners: Numbers, count: int, each: int, probes: int, rand: np.random.Generator) -> Faces:
    """People between real ones, with real ones' variety.

    A person is a random mixture of three people's means, a face that person plus the mixture of two real faces'
    differences from their means. `known` are `(n, dim)` vectors of length 1, `owners` their people.
    """
    _, owner = np.unique(owners, return_inverse=True)
    sizes = np.bincount(owner)[:, None]
    means = np.zeros((len(sizes), known.shape[1]), np.float32)
    np.add.at(means, owner, known)
    means /= sizes
    several = sizes[owner, 0] > 1
    if len(means) < 3 or not several.any():
        raise ValueError("widening needs at least three people, one of them with two faces")
    share = np.sqrt(sizes[owner] / np.maximum(sizes[owner] - 1, 1))  # a mean of few lies too near to them
    differences = ((known - means[owner]) * share)[several]
    people = -(-count // each)
    weights = rand.dirichlet(np.ones(3), people).astype(np.float32)
    parents = rand.integers(0, len(means), (people, 3))
    length = np.linalg.norm(means, axis=1).mean()

    def centre(wanted: Numbers) -> Floats:
        mixed = np.einsum("nk,nkd->nd", weights[wanted], means[parents[wanted]])
        return np.asarray(mixed * (length / np.linalg.norm(mixed, axis=1, keepdims=True)), np.float32)

    def variety(n: int) -> Floats:
        angle = rand.uniform(0, 2 * np.pi, (n, 1)).astype(np.float32)
        one, other = (differences[rand.integers(0, len(differences), n)] for _ in range(2))
        return np.asarray(np.cos(angle) * one + np.sin(angle) * other, np.float32)

    return _faces(centre, variety, count, known.shape[1], each, probes, rand)


def _faces(
    centre: Callable[[Numbers], Floats],
    variety: Callable[[int], Floats],
    count: int,
    dim: int,
    each: int,
    probes: int,
    rand: np.random.Generator,
) -> Faces:
    def seen(people: Numbers) -> Floats:
        rows = centre(people) + variety(len(people))
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    people = np.arange(count) // each
    rows = _table(count, dim)
    for start in range(0, count, _BLOCK):
        rows[start : start + _BLOCK] = seen(people[start : start + _BLOCK])
    wanted = rand.integers(0, people[-1] + 1, probes)
    return Faces(rows=rows, people=people, probes=seen(wanted), wanted=wanted)


def _table(count: int, dim: int) -> Floats:
    """Room for vectors; where it is more than a gigabyte, in a file without a name, and not in memory."""
    if 4 * count * dim <= _IN_MEMORY:
        return np.empty((count, dim), np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=(count, dim))


def exact(faces: Faces) -> Numbers:
    """The person whose face is nearest to each probe, by comparing all."""
    best = np.full(len(faces.probes), -2.0, np.float32)
    person = np.full(len(faces.probes), -1, np.int64)
    for start in range(0, len(faces.rows), _BLOCK):
        similarities = faces.probes @ faces.rows[start : start + _BLOCK].T
        at = similarities.argmax(axis=1)
        value = similarities[np.arange(len(at)), at]
        better = value > best
        best[better], person[better] = value[better], faces.people[start + at[better]]
    return person


def gallery(faces: Faces, kind: str, folder: Path, k: int) -> tuple[Gallery, Found, float]:
    """The gallery with an index of `kind`, and how many faces a second it acknowledged, by thousands."""
    begun = time.perf_counter()
    opened = Gallery.open(folder, model="benchmark")
    for start in range(0, len(faces.rows), _COMMIT):
        part = slice(start, start + _COMMIT)
        opened.enrol_many([str(person) for person in faces.people[part]], faces.rows[part])
    rate = len(faces.rows) / (time.perf_counter() - begun)
    return opened, converted(opened, kind, k, begun), rate


def converted(opened: Gallery, kind: str, k: int, begun: float | None = None) -> Found:
    """The same gallery with another kind of index."""
    begun = time.perf_counter() if begun is None else begun
    opened.convert(kind)
    stats = opened.stats()

    def first(probes: Floats) -> Numbers:
        return np.array([int(found[0].name or -1) if found else -1 for found in opened.search(probes, k)])

    return Found(
        name=f"vultus {stats.index}",
        seconds=time.perf_counter() - begun,
        bytes_per_vector=stats.bytes_per_vector,
        first=first,
    )


def faiss(faces: Faces, kind: str, k: int) -> Found | None:
    """FAISS alone, with what `kind` is made of; none if FAISS has nothing like it."""
    library: Any = importlib.import_module("faiss")  # a peer here, and loaded like the others
    parts, dim = kinds.KINDS[kind], faces.rows.shape[1]
    store = {"none": "", "flat": "Flat", "fp16": "SQfp16", "sq8": "SQ8"}[parts.store]
    scan = {"none": "", "pq": f"PQ{kinds.subquantisers(dim)}x4fs", "rabitq": "RaBitQfs"}[parts.scan]
    if not store or parts.lists:  # how many lists FAISS would read is for whoever uses it to find out
        return None
    text = f"{scan},Refine({store})" if scan else store
    begun = time.perf_counter()
    index = library.index_factory(dim, text, library.METRIC_INNER_PRODUCT)
    index.train(faces.rows[:: max(1, len(faces.rows) // 16384)])
    for start in range(0, len(faces.rows), _BLOCK):
        index.add(faces.rows[start : start + _BLOCK])
    # As many candidates as the gallery takes.
    settings = library.IndexRefineSearchParameters(k_factor=kinds.CANDIDATES / k) if scan else None

    def first(probes: Floats) -> Numbers:
        rows = index.search(probes, k, params=settings)[1][:, 0]
        return np.where(rows < 0, -1, faces.people[rows])

    return Found(
        name=f"faiss {text}",
        seconds=time.perf_counter() - begun,
        bytes_per_vector=kinds.store_bytes(kind, dim) + kinds.scan_bytes(kind, dim),
        first=first,
    )


class Growing(Struct, frozen=True, kw_only=True):
    """A peer's graph while it takes vectors in."""

    name: str
    begin: Callable[[], object]
    """Comes first, where none was kept."""
    add: Callable[[slice], object]
    """Takes in these rows."""
    count: Callable[[], int]
    """How many it has."""
    save: Callable[[str], object]
    load: Callable[[str], object]


class Kept(Struct, frozen=True, kw_only=True):
    """What is noted of a graph that is kept."""

    file: str
    seconds: float
    """That it took so far."""


def grow(graph: Growing, faces: Faces, keep: Path | None) -> float:
    """Let the graph take in what it lacks, and say how far it is; return the seconds of all of it, in earlier runs too.

    With `keep` it is taken from that folder and put there: every few minutes, so that a run that was ended goes on.
    """
    note = None if keep is None else keep / f"{graph.name}-{_fingerprint(faces)}.json"
    if note is not None and note.exists():
        seconds = _taken_up(graph, note)
    else:
        seconds = 0.0
        graph.begin()
    said = kept = time.perf_counter()
    for start in range(graph.count(), len(faces.rows), _GROWN):
        begun = time.perf_counter()
        graph.add(slice(start, start + _GROWN))
        now = time.perf_counter()
        seconds += now - begun
        if now - said > _SAID_EVERY_S:
            said = now
            say(f"{graph.name}: {graph.count()} of {len(faces.rows)} faces after {seconds:.0f} s")
        if note is not None and (now - kept > _KEPT_EVERY_S or graph.count() == len(faces.rows)):
            kept = now
            _put_down(graph, note, seconds)
    return seconds


def _fingerprint(faces: Faces) -> str:
    """Tells graphs of other vectors, or made otherwise, from those of these."""
    crc = 0
    for start in range(0, len(faces.rows), _BLOCK):
        crc = zlib.crc32(faces.rows[start : start + _BLOCK].data, crc)
    return f"{crc:08x}-{'-'.join(map(str, _HNSW.values()))}"


def _taken_up(graph: Growing, note: Path) -> float:
    """Load the graph that was kept; return the seconds that it took."""
    try:
        kept = msgspec.json.decode(note.read_bytes(), type=Kept)
        file = note.with_name(kept.file)
        graph.load(str(file))
    except (msgspec.MsgspecError, RuntimeError, OSError) as error:
        raise ValueError(
            f"{note} and its graph cannot be read ({error}); delete it to have the graph built anew"
        ) from error
    say(f"{graph.name}: {graph.count()} faces are in {file}")
    return kept.seconds


def _put_down(graph: Growing, note: Path, seconds: float) -> None:
    """Keep the graph as it is; the one that was kept before stays until this one is whole."""
    note.parent.mkdir(parents=True, exist_ok=True)
    file = note.with_name(f"{note.stem}-{graph.count()}.graph")
    graph.save(str(file))
    noting = note.with_suffix(".tmp")
    noting.write_bytes(msgspec.json.encode(Kept(file=file.name, seconds=seconds)))
    noting.replace(note)
    for former in note.parent.glob(f"{note.stem}-*.graph"):
        if former != file:
            former.unlink()


def hnswlib(faces: Faces, k: int, threads: int, keep: Path | None = None) -> list[Found]:
    """hnswlib's graph, 32 bits a number, built by all processors and searched by `threads`."""
    library: Any = importlib.import_module("hnswlib")
    count = len(faces.rows)
    graph = library.Index(space="ip", dim=faces.rows.shape[1])
    growing = Growing(
        name="hnswlib",
        begin=lambda: graph.init_index(max_elements=count, **_HNSW),
        add=lambda rows: graph.add_items(faces.rows[rows], num_threads=os.cpu_count() or 1),
        count=graph.get_current_count,
        save=graph.save_index,
        load=lambda path: graph.load_index(path, max_elements=count),
    )
    seconds = grow(growing, faces, keep)
    graph.set_num_threads(threads)
    size = graph.index_file_size() / count

    def first(probes: Floats, ef: int) -> Numbers:
        graph.set_ef(ef)
        return np.asarray(faces.people[graph.knn_query(probes, k)[0][:, 0].astype(np.int64)])

    return [
        Found(name=f"hnswlib ef {ef}", seconds=seconds, bytes_per_vector=size, first=lambda p, ef=ef: first(p, ef))  # type: ignore[misc]
        for ef in _EFS
    ]


def usearch(faces: Faces, k: int, threads: int, keep: Path | None = None) -> list[Found]:
    """USearch's graph, 8 bits a number, built and searched likewise."""
    library: Any = importlib.import_module("usearch.index")
    graph = library.Index(
        ndim=faces.rows.shape[1],
        metric="cos",
        dtype="i8",
        connectivity=_HNSW["M"],
        expansion_add=_HNSW["ef_construction"],
    )
    numbers = np.arange(len(faces.rows))
    growing = Growing(
        name="usearch",
        begin=lambda: None,
        add=lambda rows: graph.add(numbers[rows], faces.rows[rows], threads=os.cpu_count() or 1),
        count=lambda: len(graph),
        save=graph.save,
        load=graph.load,
    )
    seconds = grow(growing, faces, keep)
    size = graph.memory_usage / len(faces.rows)

    def first(probes: Floats, ef: int) -> Numbers:
        graph.expansion_search = ef
        keys = np.atleast_2d(graph.search(probes, k, threads=threads).keys)[:, 0]
        return np.asarray(faces.people[keys.astype(np.int64)])

    return [
        Found(name=f"usearch i8 ef {ef}", seconds=seconds, bytes_per_vector=size, first=lambda p, ef=ef: first(p, ef))  # type: ignore[misc]
        for ef in _EFS
    ]


def contest(faces: Faces, contenders: Sequence[Found], *, batch: int, calls: int, threads: int) -> list[Result]:
    """Measure all of them, call by call in turns, so that a slow moment hits each.

    In each turn everybody has another probe: what one has just read would lie in the cache for the next with the same graph.
    """
    codes.set_threads(threads)
    truth, probes = exact(faces), faces.probes
    single: list[list[float]] = [[] for _ in contenders]
    batches: list[list[float]] = [[] for _ in contenders]
    for call in range(calls):
        for at, one in enumerate(contenders):
            single[at].append(_timed(one, probes[_turn(call, at, len(contenders), min(calls, len(probes)))][None]))
    starts = range(0, len(probes) - batch + 1, batch)
    rounds = max(3, calls // (2 * batch))
    for call in range(rounds):
        for at, one in enumerate(contenders):
            start = starts[_turn(call, at, len(contenders), min(rounds, len(starts)))]
            batches[at].append(_timed(one, probes[start : start + batch]) / batch)
    results = []
    for one, singles, many in zip(contenders, single, batches, strict=True):
        found = np.concatenate([one.first(probes[start : start + 32]) for start in range(0, len(probes), 32)])
        results.append(
            Result(
                contender=one.name,
                as_exact=float(np.mean(found == truth)),
                right=float(np.mean(found == faces.wanted)),
                p50=float(np.median(singles)),
                p99=float(np.quantile(singles, 0.99)),
                batch_ms=float(np.median(many)),
                bytes_per_vector=one.bytes_per_vector,
                build_s=one.seconds,
            )
        )
    return results


def _turn(call: int, at: int, contenders: int, count: int) -> int:
    """Which of `count` probes contender `at` has in its turn; in `count` calls each has all of them."""
    return (call + at * max(1, count // contenders)) % count


def _timed(one: Found, probes: Floats) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    one.first(probes)
    return (time.perf_counter() - begun) * 1e3
