"""`vultus evaluate`."""

from __future__ import annotations

import click

from vultus.cli.evaluate_detection import detection
from vultus.cli.evaluate_identification import identification
from vultus.cli.evaluate_quality import quality
from vultus.cli.evaluate_verification import verification


@click.group()
def evaluate() -> None:
    """Measure how accurate the models are: on published sets, and on your own photographs.

    docs/accuracy.md says what each protocol does, with this project's own figures. Faces and vectors are kept in a work
    file, so that an evaluation that was stopped goes on where it was, and the next one on the same pictures is quick.
    """


evaluate.add_command(verification)
evaluate.add_command(identification)
evaluate.add_command(quality)
evaluate.add_command(detection)
