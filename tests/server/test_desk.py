"""Admission: places, queue, patience."""

import asyncio

import pytest

from vultus.configs.serving import Limits
from vultus.server.desk import Desk
from vultus.server.problems import Problem


def test_beyond_places_and_queue_the_answer_is_503() -> None:
    async def scene() -> None:
        desk = Desk(Limits(at_once=1, waiting=1, patience=5.0))
        done = asyncio.Event()

        async def work() -> None:
            async with desk.place():
                await done.wait()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(work())
            tasks.create_task(work())
            while (desk.working, desk.waiting) != (1, 1):
                await asyncio.sleep(0)
            with pytest.raises(Problem, match="wait already") as problem:
                async with desk.place():
                    pass
            assert problem.value.status == 503
            assert problem.value.headers["Retry-After"]
            done.set()
        assert (desk.working, desk.waiting, desk.turned_away) == (0, 0, 1)

    asyncio.run(scene())


def test_patience_ends() -> None:
    async def scene() -> None:
        desk = Desk(Limits(at_once=1, waiting=9, patience=0.01))
        async with desk.place():
            with pytest.raises(Problem, match="no turn"):
                async with desk.place():
                    pass
        async with desk.place():
            assert desk.working == 1

    asyncio.run(scene())
