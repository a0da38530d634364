"""Who waits for the same at the same time is answered together, each with the own answer or the own error."""

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vultus.configs.schema import Audit
from vultus.index import FaceRecord, Gallery, Where
from vultus.index.combining import Combiner


class Row(deque):
    """A row that says when somebody has joined it."""

    def __init__(self, joined):
        super().__init__()
        self._joined = joined

    def append(self, one):
        super().append(one)
        self._joined.release()


class Asked:
    """Callers of a combiner, of whom the first is kept busy until the others wait."""

    def __init__(self, at_once=1, most=100):
        self.combiner = Combiner(at_once, most)
        self.joined, self.go = threading.Semaphore(0), threading.Event()
        self.combiner._waiting = Row(self.joined)
        self.calls = []
        self.pool = ThreadPoolExecutor(20)
        self.begun = threading.Event()
        self.first = self.ask("first", "f")
        assert self.begun.wait(30)

    def ask(self, key, given):
        return self.pool.submit(self.combiner.ask, key, given, self.answer)

    def answer(self, several):
        self.calls.append(several)
        if several == ["f"]:
            self.begun.set()
            assert self.go.wait(30)
        if "bad" in several:
            raise ValueError("bad is wrong")
        return [f"<{one}>" for one in several]

    def wait(self, *asked):
        """Ask in this order; then let the first one go, and return what all got."""
        answers = []
        for key, given in asked:
            answers.append(self.ask(key, given))
            assert self.joined.acquire(timeout=30)
        self.go.set()
        assert self.first.result(30) == "<f>"
        return answers


def test_who_is_alone_is_answered_at_once():
    combiner = Combiner(1, 10)
    for given in ("a", "b"):
        assert combiner.ask("key", given, lambda several: [one + "!" for one in several]) == given + "!"
    with pytest.raises(ZeroDivisionError):
        combiner.ask("key", "a", lambda _: 1 / 0)
    assert combiner.ask("key", "a", lambda several: several) == "a"


def test_those_who_wait_for_the_same_are_answered_together():
    asked = Asked()
    answers = asked.wait(("x", "a"), ("y", "b"), ("x", "c"), ("x", "d"))
    assert [one.result(30) for one in answers] == ["<a>", "<b>", "<c>", "<d>"]
    assert asked.calls == [["f"], ["a", "c", "d"], ["b"]]


def test_no_more_than_so_much_together():
    asked = Asked(most=4)
    answers = asked.wait(("x", "aa"), ("x", "bbb"), ("x", "c"), ("x", "dddddd"))
    assert [one.result(30) for one in answers] == ["<aa>", "<bbb>", "<c>", "<dddddd>"]
    assert asked.calls == [["f"], ["aa", "c"], ["bbb"], ["dddddd"]]


def test_an_error_is_that_of_whoever_gave_the_cause():
    asked = Asked()
    good, bad, other = asked.wait(("x", "a"), ("x", "bad"), ("x", "c"))
    assert (good.result(30), other.result(30)) == ("<a>", "<c>")
    with pytest.raises(ValueError, match="bad is wrong"):
        bad.result(30)
    assert asked.calls[1] == ["a", "bad", "c"]
    assert sorted(asked.calls[2:]) == [["a"], ["bad"], ["c"]]
    assert asked.ask("x", "z").result(30) == "<z>", "nothing is left behind"


def test_each_gets_the_own_answer():
    combiner = Combiner(2, 8)
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(
            lambda at: combiner.ask(at % 3, [at], lambda many: [[2 * one[0]] for one in many]), range(2000)
        )
    assert list(found) == [[2 * at] for at in range(2000)]


@pytest.mark.parametrize("kind", ["flat", "pq-sq8"])
def test_a_gallery_answers_many_as_it_answers_one(folder, rand, kind):
    """Probes, numbers of matches, thresholds and filters of all sorts at the same time, with changes in between."""
    people = rand.standard_normal((400, 32))
    faces = np.repeat(people, 4, axis=0) + 0.3 * rand.standard_normal((1600, 32))
    records = [FaceRecord(source=f"{at % 3}") for at in range(1600)]
    options = [{"k": 3}, {"k": 1, "threshold": 0.5}, {"k": 3, "where": Where(source="1")}, {"k": 2, "faces": 3}]
    with Gallery.open(folder, audit=Audit(enabled=True)) as gallery:
        gallery.enrol_many([f"p{at // 4}" for at in range(1600)], faces, records)
        gallery.convert(kind)
        probes = people[:60] + 0.3 * rand.standard_normal((60, 32))
        asked = [(probes[at : at + 1 + at % 3], options[at % 4], f"user {at % 5}") for at in range(57)]
        expected = [gallery.search(probe, **given) for probe, given, _ in asked]

        def ask(one):
            probe, given, actor = one
            with gallery.audit.acting(actor):
                if actor == "user 0":
                    gallery.add_faces(-probes[:1])
                return gallery.search(probe, **given)

        with ThreadPoolExecutor(24) as pool:
            assert list(pool.map(ask, asked)) == expected
            by_face = pool.map(lambda face: gallery.search_face(face, 3, faces=2), range(1, 41))
            mixed = pool.map(lambda at: gallery.search(probes[at : at + 1], 3, faces=2)[0], range(40))
            assert [[match.face_id for match in row] for row in by_face] == [
                [match.face_id for match in gallery.search_face(face, 3, faces=2)] for face in range(1, 41)
            ]
            assert list(mixed) == gallery.search(probes[:40], 3, faces=2)
            with pytest.raises(ValueError, match="this gallery's have 32"):
                list(pool.map(lambda dim: gallery.search(np.ones((1, dim)), 3), [32, 32, 31, 32]))
        searches = [entry.actor for entry in gallery.audit.entries() if entry.operation == "search"]
        assert sorted(searches[len(asked) : 2 * len(asked)]) == sorted(actor for _, _, actor in asked)
