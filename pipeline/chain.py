"""Stages one after another in one process: for a script, a photo, a debugger, and inside every stage process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event
from types import TracebackType

from vultus.pipeline.messages import Message, SourceState
from vultus.pipeline.stage import Context, Stage


class Chain:
    """Feeds each stage's output into the next, lazily: of a two-hour video only what is being looked at is in memory.

    A stage that returns a list or tuple hands it over as one batch; one that yields hands over each message as it
    comes. Nobody else may use the stages meanwhile. Not safe from several threads at once.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        context: Context | None = None,
        admit: Callable[[Message], bool] | None = None,
    ) -> None:
        """`context` is what the stages are opened with; none = one that never stops and counts nothing.

        `admit` is asked about each message that a stage gives and may refuse it.
        """
        if not stages:
            raise ValueError("a chain needs at least one stage")
        self._stages = tuple(stages)
        self._context = context or Context(stopping=Event(), report=_ignore_state, count=_ignore_count)
        self._admit = admit or _admit_all
        self._touched: list[Stage] = []

    def open(self) -> None:
        """Open every stage, first to last; `close` is due afterwards even if this raises."""
        for stage in self._stages:
            self._touched.append(stage)
            stage.open(self._context)

    def process(self, batch: Sequence[Message], *, first: int = 0) -> Iterator[Message]:
        """What the last stage gives for `batch`, as soon as it gives it; `first` leaves out so many stages."""
        return self._run(first, batch)

    def close(self) -> None:
        """Close every stage that was opened or tried to, last to first; raises the first error after closing all."""
        errors: list[Exception] = []
        while self._touched:
            try:
                self._touched.pop().close()
            except Exception as error:  # noqa: BLE001 -- raised below, after the others are closed
                errors.append(error)
        if errors:
            raise errors[0]

    def __enter__(self) -> Chain:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _run(self, index: int, batch: Sequence[Message]) -> Iterator[Message]:
        if index == len(self._stages):
            yield from batch
            return
        outputs: Iterable[Message] = self._stages[index].process(batch)
        if isinstance(outputs, list | tuple):
            admitted = [output for output in outputs if self._admit(output)]
            if admitted:
                yield from self._run(index + 1, admitted)
            return
        for output in outputs:
            if self._admit(output):
                yield from self._run(index + 1, (output,))


def _admit_all(_message: Message) -> bool:
    return True


def _ignore_state(_state: SourceState) -> None:
    pass


def _ignore_count(_name: str, _count: int) -> None:
    pass
