"""kill -9 during any operation, in any kind of index: it happened wholly or not at all, and the answers are the same.

A child does one random operation after another and says what it is about to do, and then that it is done. The parent
kills it at a random moment and follows what was said on a model of the gallery: what is there must be what the model
has, with or without the one operation that was under way. Each face carries in `track` the number its vector was made
from, so the answers of the reopened gallery are compared with a full sort over the model's own vectors.
"""

import json
import signal
import time

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, GalleryError

DIM, BASE = 16, 1100

CHILD = """
import json, sys
import numpy as np
from vultus.index import FaceRecord, FileRecord, Gallery
folder, copies, kinds, seed = sys.argv[1], sys.argv[2], sys.argv[3].split(","), int(sys.argv[4])
rand = np.random.default_rng(seed)
gallery = Gallery.open(folder, model="m")
last = max([0, *(face.track for face in gallery.faces(None))])
last = max([last, *(face.track for one in gallery.identities() for face in gallery.faces(one.id))])

def made(numbers):
    return np.stack([np.random.default_rng(number).standard_normal(16) for number in numbers])

def some():
    global last
    numbers = list(range(last + 1, last + 1 + int(rand.integers(1, 25))))
    last = numbers[-1]
    return numbers, made(numbers), [FaceRecord(track=number, chip=bytes(100)) for number in numbers]

def say(what, *details):
    print(json.dumps([what, *details]), flush=True)

say("open")
while True:
    names = [one.name for one in gallery.identities()]
    what = str(rand.choice(["enrol", "add", "file", "drop", "rename", "merge", "faces", "snapshot", "convert", "compact",
                            "backup", "restore", "search"]))
    if what == "enrol":
        numbers, vectors, records = some()
        name = f"p{rand.integers(12)}"
        say(what, name, numbers)
        gallery.enrol(name, vectors, records)
    elif what == "add":
        numbers, vectors, records = some()
        say(what, numbers)
        gallery.add_faces(vectors, records)
    elif what == "file":
        numbers, vectors, records = some()
        source, label = f"f{rand.integers(4)}", f"p{rand.integers(12)}"
        before = [face.track for one in gallery.identities() for face in gallery.faces(one.id) if face.source == source]
        records = [FaceRecord(track=record.track) for record in records]
        say(what, label, before, numbers)
        gallery.commit_file(FileRecord(source=source, size=1, mtime_ns=1), vectors, records, label=label)
    elif what == "drop" and names:
        name = str(rand.choice(names))
        say(what, name)
        gallery.remove_identity(name)
    elif what == "rename" and names:
        name, new = str(rand.choice(names)), f"q{rand.integers(1 << 30)}"
        say(what, name, new)
        gallery.rename(name, new)
    elif what == "merge" and len(names) > 1:
        into, other = map(str, rand.choice(names, 2, replace=False))
        say(what, into, other)
        gallery.merge(into, other)
    elif what == "faces":
        faces = gallery.faces(None)[:: int(rand.integers(40, 200))]
        say(what, [face.track for face in faces])
        gallery.remove_faces([face.id for face in faces])
    elif what == "convert":
        say(what)
        gallery.convert(str(rand.choice(kinds)))
    elif what == "backup":
        copy = f"{copies}/{seed}-{rand.integers(1 << 30)}"
        say(what, copy)
        gallery.backup(copy)
    elif what == "restore":
        copy = f"{copies}/{seed}-{rand.integers(1 << 30)}"
        say(what, copy, copy + ".gallery")
        gallery.backup(copy)
        Gallery.restore(copy, copy + ".gallery")
    elif what in ("snapshot", "compact"):
        say(what)
        getattr(gallery, what)()
    elif what == "search":
        say(what)
        gallery.search(rand.standard_normal((2, 16)), 3)
    else:
        continue
    say("done")
"""


def vector(number):
    row = np.random.default_rng(number).standard_normal(DIM).astype(np.float32)
    return (row / np.sqrt((row.astype(np.float64) ** 2).sum())).astype(np.float32)


def after(state, what, *details):
    """The state, a tuple of names and numbers of vectors, after an operation."""
    people = {name: set(numbers) for name, numbers in state}
    if what in ("enrol", "file"):
        name, *former, numbers = details
        for others in people.values():
            others.difference_update(*former)
        people.setdefault(name, set()).update(numbers)
    elif what == "add":
        people[None].update(details[0])
    elif what == "drop":
        del people[details[0]]
    elif what == "rename":
        people[details[1]] = people.pop(details[0])
    elif what == "merge":
        people[details[0]] |= people.pop(details[1])
    elif what == "faces":
        people[None].difference_update(details[0])
    return frozen(people)


def frozen(people):
    return tuple(sorted(((name, tuple(sorted(numbers))) for name, numbers in people.items()), key=str))


def state_of(gallery):
    people = {one.name: {face.track for face in gallery.faces(one.id)} for one in gallery.identities()}
    return frozen(people | {None: {face.track for face in gallery.faces(None)}})


def check_answers(gallery, state, rand):
    """The best five people, as a full sort of all vectors of the state finds them."""
    probes = np.stack([vector(int(number)) for number in rand.integers(1 << 30, size=3)])
    numbers, names = zip(*((number, name) for name, of in state for number in of), strict=True)
    table = np.stack([vector(number) for number in numbers]).astype(np.float64)
    for probe, matches in zip(probes, gallery.search(probes, 5), strict=True):
        expected, seen = [], set()
        similarities = table @ probe.astype(np.float64)
        for at in np.argsort(-similarities):
            if names[at] is None or names[at] not in seen:
                seen.add(names[at])
                expected.append((names[at], pytest.approx(float(similarities[at]), abs=1e-6)))
        assert [(match.name, match.similarity) for match in matches] == expected[:5]


def read_through(child):
    """What the child was about to do last, if it did not say that it is done, and all that it has done."""
    pending, done = None, []
    for line in child.stdout.read().split("\n")[:-1]:
        operation = json.loads(line)
        if operation == ["done"]:
            done.append(pending)
            pending = None
        else:
            pending = operation
    return pending, done


def run(folder, tmp_path, python, rand, kinds, rounds):
    copies = tmp_path / "copies"
    copies.mkdir()
    with Gallery.open(folder, model="m") as gallery:
        rows = np.stack([np.random.default_rng(number).standard_normal(DIM) for number in range(1, BASE + 1)])
        gallery.add_faces(rows, [FaceRecord(track=number) for number in range(1, BASE + 1)])
        gallery.convert(kinds[0])
        state = state_of(gallery)
    killed_at = set()
    for number in range(rounds):
        child = python(CHILD, folder, copies, ",".join(kinds), int(rand.integers(1 << 31)))
        assert child.stdout.readline() == '["open"]\n'
        time.sleep(rand.uniform(0.0, 0.6))  # not a wait for anything: the random moment
        child.send_signal(signal.SIGKILL)
        pending, done = read_through(child)
        child.wait()
        possible = {}  # states that a copy may have, by its path
        for operation in done:
            state = after(state, *operation)
            possible |= dict.fromkeys(operation[1:] if operation[0] in ("backup", "restore") else (), state)
        unharmed = {state} if pending is None else {state, after(state, *pending)}
        with Gallery.open(folder, create=False) as gallery:
            state = state_of(gallery)
            assert state in unharmed, (number, pending)
            check_answers(gallery, state, rand)
            assert gallery.verify().problems == (), (number, pending)
            gallery.close(snapshot=bool(rand.integers(2)))
        if pending is not None:
            killed_at.add(pending[0])
            if pending[0] in ("backup", "restore"):
                check_copies(pending[1:], state, tmp_path / f"restored {number}")
        for copy, expected in possible.items():
            check_copies([copy], expected, tmp_path / f"restored {number}", whole=True)
        with Gallery.open(folder, create=False) as gallery:  # whatever became of the snapshot, the answers are the same
            check_answers(gallery, state, rand)
            gallery.close(snapshot=False)
    return killed_at


def check_copies(paths, state, place, *, whole=False):
    """Each is the whole gallery, or it is not there, or it is refused in words."""
    for path in paths:
        target = path if path.endswith(".gallery") else f"{place}-{path.rsplit('/')[-1]}"
        try:
            if target != path:
                Gallery.restore(path, target)
            with Gallery.open(target, create=False) as gallery:
                assert state_of(gallery) == state
                assert gallery.verify().problems == ()
        except GalleryError:
            assert not whole


def test_kill_during_any_operation(folder, tmp_path, python, rand):
    run(folder, tmp_path, python, rand, ("pq-sq8", "flat"), 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "kinds",
    [("flat", "fp16"), ("pq-sq8", "flat"), ("rabitq-sq8", "pq-exact"), ("sq8", "pq-fp16", "rabitq-exact")],
    ids=lambda kinds: kinds[0],
)
def test_kill_during_any_operation_many_times(folder, tmp_path, python, rand, kinds, request):
    """`--rounds` for more of them, over a night for instance."""
    rounds = request.config.getoption("--rounds")
    assert len(run(folder, tmp_path, python, rand, kinds, rounds)) >= min(6, rounds // 3)
