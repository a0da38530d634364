"""A process that waits to stand in for one that dies: `python -m vultus.pipeline.spare`, started by the supervisor.

What a stage process needs longest for is to load its libraries: most of a second of processor time, of which it gets little on
a machine that is busy. A spare has loaded those of every stage when it is told which place it takes.
"""

from __future__ import annotations

import importlib
import sys

from vultus.pipeline import child
from vultus.pipeline.worker import Worker, WorkerSpec

READY = "all libraries are loaded"
"""What it says, as a line on standard error, when it waits for its task."""


class SpareSpec(child.ChildSpec, frozen=True, kw_only=True):
    """All that it has to know until it is needed."""

    factory: str
    """As in `WorkerSpec`; if its module has a function `libraries`, that imports what any stage may need."""


def main() -> int:
    """Load libraries, wait for the task of a stage process, and do it."""
    spec = child.begin(SpareSpec)
    module = importlib.import_module(spec.factory.partition(":")[0])
    if libraries := getattr(module, "libraries", None):
        libraries()
    print(READY, file=sys.stderr, flush=True)
    return child.run(WorkerSpec, Worker)


if __name__ == "__main__":
    sys.exit(main())
