"""What can go wrong between stages.

`RefusedInput` is about one input (a photo, a stream, a message): the job goes on and the input is named in its summary.
Everything else is about the machinery.
"""


class PipelineError(Exception):
    """Root of the errors of this package."""


class RefusedInput(PipelineError, ValueError):
    """One input cannot be used; the text says why, in words for the person who owns that input."""


class CodecError(PipelineError, ValueError):
    """Bytes that are no valid message of this version."""


class StaleFrame(PipelineError, LookupError):
    """A frame in shared memory was overwritten before it was read."""


class WorkerFailed(PipelineError, RuntimeError):
    """A stage process could not be started, or does not stay up."""


class KeysRefused(PipelineError, ValueError):
    """A file of network keys cannot be used; the text never holds a secret one."""
