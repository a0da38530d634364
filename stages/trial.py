"""A new model on the sample photographs: an embedder has to find the same person nearer than others."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.configs.schema import Config
from vultus.pipeline.chain import Chain
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Chips, Frame, ItemEnd, Origin
from vultus.stages import photo
from vultus.stages.align import Align
from vultus.stages.detect import Detect
from vultus.stages.embed import vectors_of
from vultus.stages.subject import subject
from vultus.stages.track import Track
from vultus.weights import Embedder, Samples


class SampleFaces(Struct, frozen=True, kw_only=True, eq=False):
    """The aligned faces of the sample photographs."""

    labels: tuple[str, ...]
    """The file, and of a group the number of the face."""
    persons: tuple[str, ...]
    """Who it is; whoever is on the group photograph is nobody else."""
    chips: npt.NDArray[np.uint8]
    """`(n, 112, 112, 3)` BGR."""


class Pair(Struct, frozen=True, kw_only=True):
    """Two faces and how near an embedder finds them."""

    first: str
    second: str
    same: bool
    cosine: float


class Trial(Struct, frozen=True, kw_only=True):
    """What came out."""

    pairs: tuple[Pair, ...]
    """Of the same person all; of others the nearest, nearest first."""
    wrong: str | None
    """What is wrong with the embedder, in words; none if it can be used."""
    same: float = 0.0
    """The smallest cosine of one person."""
    other: float = 0.0
    """The largest of two people."""

    @property
    def threshold(self) -> float:
        """Half way between the two, for want of better: a dozen faces say little about many."""
        return round(float(np.clip((self.same + self.other) / 2, -1.0, 1.0)), 3)


def sample_faces(data: Path, folder: Path) -> SampleFaces:
    """The faces of the sample photographs in `folder`, found by the default detector of `data`.

    Raises ModelMissing if that was never pulled, and RefusedInput for a photograph that cannot be read.
    """
    config = Config()
    labels, persons, chips = [], [], []
    with Chain([Detect(config, data), Track(config), Align(config, data)]) as chain:
        for number, sample in enumerate(Samples(data).list()):
            pixels = photo.decode(photo.read(str(folder / sample.file), config.decode).data, config.decode)
            origin = Origin(item=number, attempt=0, source=sample.file, seq=0, live=False, time=0.0, still=True)
            for message in chain.process([Frame(origin=origin, image=Image(pixels)), ItemEnd(origin=origin)]):
                if not isinstance(message, Chips):
                    continue
                meant = None if sample.person is None else subject([one.face.box for one in message.faces])
                for at, chip in enumerate(message.chips):
                    if sample.person is None or at == meant:
                        label = f"{sample.file} #{at + 1}" if sample.person is None else sample.file
                        labels.append(label)
                        persons.append(sample.person or label)
                        chips.append(chip)
    return SampleFaces(labels=tuple(labels), persons=tuple(persons), chips=np.stack(chips))


def embedder_trial(embedder: Embedder, faces: SampleFaces) -> Trial:
    """Whether `embedder` tells the people on the sample photographs apart: every face of somebody who is there twice has
    to be nearer to the other one of theirs than to anybody else's."""
    vectors = vectors_of(embedder, faces.chips)
    if not np.isfinite(vectors).all():
        return Trial(pairs=(), wrong="its numbers are not finite")
    lengths = np.linalg.norm(vectors, axis=1)
    if np.abs(lengths - 1).max() > 1e-3:
        return Trial(pairs=(), wrong="of some faces it gives nothing but zeros")
    cosines = vectors @ vectors.T
    pairs = [
        Pair(
            first=faces.labels[a],
            second=faces.labels[b],
            same=faces.persons[a] == faces.persons[b],
            cosine=float(cosines[a, b]),
        )
        for a, b in itertools.combinations(range(len(faces.labels)), 2)
    ]
    pairs.sort(key=lambda pair: -pair.cosine)
    same = [pair for pair in pairs if pair.same]
    others = [pair for pair in pairs if not pair.same]
    least, most = same[-1].cosine, others[0].cosine
    shown = (*same, *others[:3])
    missed = _missed(same, others)
    wrong = None if missed is None else f"it takes {missed.first} and {missed.second} for one person"
    return Trial(pairs=shown, wrong=wrong, same=least, other=most)


def _missed(same: Sequence[Pair], others: Sequence[Pair]) -> Pair | None:
    """The nearest pair of two people that is nearer than a pair of one person which shares a face with it."""
    for one in same:
        for other in others:
            if other.cosine >= one.cosine and {one.first, one.second} & {other.first, other.second}:
                return other
    return None
