"""Embedding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from vultus.configs.schema import Config
from vultus.pipeline.messages import Chips, Embedded, Message, TrackedFace
from vultus.pipeline.stage import Context
from vultus.weights import Embedder, Registry, open_embedder


class Embed:
    """Chips → Embedded; the chips of all messages of a batch go through the engine together.

    The length of a MagFace embedding says how well the face can be recognised: with such a model it takes the place of
    the quality that `track` told from pose, sharpness, size and exposure, for all that comes behind.
    """

    name: ClassVar[str] = "embed"

    def __init__(self, config: Config, data: Path) -> None:
        self._config = config
        self._data = data

    def open(self, context: Context) -> None:
        """Load the embedder."""
        self._context = context
        model = Registry(self._data).resolve(self._config.models.embedder, "embedder")
        embed = self._config.embed
        self._engine = open_embedder(
            model.path, threads=embed.threads, isa=embed.isa, backend=self._config.models.backend
        )
        self._magnitude = model.magnitude

    def process(self, batch: Sequence[Message]) -> Iterable[Message]:
        """One `Embedded` for each `Chips`, in order, everything else in its place. Counter: `faces`."""
        chips = [message.chips for message in batch if isinstance(message, Chips)]
        if not chips:
            return list(batch)
        # A frame without faces comes through as well: it tells `match` how far the clock is.
        together = chips[0] if len(chips) == 1 else np.concatenate(chips)
        lengths = None
        if self._magnitude is None:
            vectors = vectors_of(self._engine, together)
        else:
            vectors, lengths = with_lengths(self._engine, together)
        self._context.count("faces", len(vectors))
        results, first = [], 0
        for message in batch:
            if isinstance(message, Chips):
                count = len(message.faces)
                faces = message.faces
                if self._magnitude is not None and lengths is not None:
                    faces = _graded(faces, lengths[first : first + count], self._magnitude)
                message = Embedded(
                    origin=message.origin,
                    faces=faces,
                    chips=message.chips,
                    vectors=vectors[first : first + count],
                    alive=message.alive,
                )
                first += count
            results.append(message)
        return results

    def close(self) -> None:
        """Give the engine back."""
        self.__dict__.pop("_engine", None)


def vectors_of(embedder: Embedder, chips: npt.NDArray[np.uint8], *, normalize: bool = True) -> npt.NDArray[np.float32]:
    """`(n, dim)` float32 of chips `(n, 112, 112, 3)` uint8 BGR; networks of 112×96 pixels are given the middle columns,
    as the template of such chips is that of 112×112 without eight columns on each side."""
    width = embedder.input_size[1]
    spare = (chips.shape[2] - width) // 2
    if spare:
        chips = np.ascontiguousarray(chips[:, :, spare : spare + width])
    return embedder.embed_chips(chips, normalize=normalize)


def with_lengths(
    embedder: Embedder, chips: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Vectors of length 1, and how long each was, `(n,)` float32."""
    raw = vectors_of(embedder, chips, normalize=False)
    lengths = np.linalg.norm(raw.astype(np.float64), axis=1)
    vectors = raw / np.where(lengths == 0, 1, lengths)[:, None]
    return vectors.astype(np.float32), lengths.astype(np.float32)


def _graded(
    faces: tuple[TrackedFace, ...], lengths: npt.NDArray[np.float32], ends: tuple[float, float]
) -> tuple[TrackedFace, ...]:
    """With the quality that the lengths mean, 0..1 from one end to the other."""
    low, high = ends
    qualities = np.clip((lengths - low) / (high - low), 0.0, 1.0).tolist()
    return tuple(
        replace(face, quality=quality, magnitude=magnitude)
        for face, quality, magnitude in zip(faces, qualities, lengths.tolist(), strict=True)
    )
