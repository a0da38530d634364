"""Requests that wait for the same are answered in one go, in the order in which they came, each with the own answer."""

import asyncio
import threading

import pytest

from vultus.server.together import Together


class Answers:
    """What is asked for, in threads; the first ones wait until they are let go."""

    def __init__(self, held: int) -> None:
        self.calls: list[list[str]] = []
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self._held = held

    def __call__(self, several: list[str]) -> list[str | Exception]:
        self.calls.append(several)
        if len(self.calls) <= self._held:
            self.begun.release()
            assert self.go.wait(30)
        if "bad" in several:
            raise ValueError("bad is wrong")
        return [KeyError(one) if one == "gone" else f"<{one}>" for one in several]


def asked(*keyed: tuple[str, str], at_once: int = 1, most: int = 100) -> tuple[list[str | BaseException], Answers]:
    """Ask so many that all threads are busy, then the others, and let go: what these got, and who was asked for together."""
    answers = Answers(at_once)

    async def scene() -> list[str | BaseException]:
        with Together[str, str](at_once, most) as together:
            first = [asyncio.create_task(together.ask("first", str(at), answers)) for at in range(at_once)]
            for _ in first:
                await asyncio.to_thread(answers.begun.acquire)
            others = [asyncio.create_task(together.ask(key, given, answers)) for key, given in keyed]
            await asyncio.sleep(0)
            answers.go.set()
            assert await asyncio.gather(*first) == [f"<{at}>" for at in range(at_once)]
            return await asyncio.gather(*others, return_exceptions=True)

    return asyncio.run(scene()), answers


def test_those_who_wait_for_the_same_are_answered_together() -> None:
    found, answers = asked(("x", "a"), ("y", "b"), ("x", "c"), ("x", "d"))
    assert found == ["<a>", "<b>", "<c>", "<d>"]
    assert answers.calls == [["0"], ["a", "c", "d"], ["b"]]


def test_no_more_than_so_many_and_in_order() -> None:
    found, answers = asked(*(("x", name) for name in "abcde"), most=2)
    assert found == ["<a>", "<b>", "<c>", "<d>", "<e>"]
    assert answers.calls == [["0"], ["a", "b"], ["c", "d"], ["e"]]


def test_everybody_has_the_own_error() -> None:
    found, answers = asked(("x", "a"), ("x", "gone"), ("x", "b"))
    assert (found[0], found[2]) == ("<a>", "<b>")
    assert isinstance(found[1], KeyError)
    assert answers.calls == [["0"], ["a", "gone", "b"]]
    found, answers = asked(("x", "a"), ("x", "bad"), ("x", "b"))
    assert (found[0], found[2]) == ("<a>", "<b>")
    assert isinstance(found[1], ValueError)
    assert answers.calls[1:] == [["a", "bad", "b"], ["a"], ["bad"], ["b"]], "each alone"


def test_who_gave_up_keeps_nobody_waiting() -> None:
    answers = Answers(1)

    async def scene() -> None:
        with Together[str, str](1, 9) as together:
            first, gone, last = (asyncio.create_task(together.ask("x", name, answers)) for name in "abc")
            await asyncio.to_thread(answers.begun.acquire)
            gone.cancel()
            answers.go.set()
            assert (await first, await last) == ("<a>", "<c>")
            with pytest.raises(asyncio.CancelledError):
                await gone

    asyncio.run(scene())


def test_those_who_come_in_the_same_turn_are_heard_first() -> None:
    answers = Answers(0)

    async def scene() -> list[str]:
        with Together[str, str](2, 9) as together:
            return await asyncio.gather(*(together.ask("x", name, answers) for name in "abcd"))

    assert asyncio.run(scene()) == ["<a>", "<b>", "<c>", "<d>"]
    assert sorted(answers.calls) == [["a", "b"], ["c", "d"]], "a share for each thread"
