"""Embedding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from vultus.configs.schema import Config
from vultus.pipeline.messages import Chips, Embedded, Message
from vultus.pipeline.stage import Context
from vultus.weights import Registry, open_embedder


class Embed:
    """Chips → Embedded; the chips of all messages of a batch go through the engine together."""

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

    def process(self, batch: Sequence[Message]) -> Iterable[Message]:
        """One `Embedded` for each `Chips`, in order, everything else in its place. Counter: `faces`."""
        chips = [message.chips for message in batch if isinstance(message, Chips)]
        if not chips:
            return list(batch)
        # A frame without faces comes through as well: it tells `match` how far the clock is.
        vectors = self._engine.embed_chips(chips[0] if len(chips) == 1 else np.concatenate(chips))
        self._context.count("faces", len(vectors))
        results, first = [], 0
        for message in batch:
            if isinstance(message, Chips):
                count = len(message.faces)
                message = Embedded(
                    origin=message.origin,
                    faces=message.faces,
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
