"""From the name of a stage in the configuration to the stage."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import get_args

from vultus.configs.loader import data_folder
from vultus.configs.schema import Config, StageName
from vultus.pipeline.stage import Stage


def build(name: StageName, config: Config, data: Path | None = None) -> Stage:
    """The stage of that name, constructed and not yet open; `data` (none: the user's data folder) holds the models."""
    # Imported here: a process that only decodes needs neither the engine nor FAISS in its memory.
    if name == "decode":
        from vultus.stages.decode import Decode

        return Decode(config)
    if name == "detect":
        from vultus.stages.detect import Detect

        return Detect(config, data or data_folder())
    if name == "track":
        from vultus.stages.track import Track

        return Track(config)
    if name == "align":
        from vultus.stages.align import Align

        return Align(config, data or data_folder())
    if name == "embed":
        from vultus.stages.embed import Embed

        return Embed(config, data or data_folder())
    if name == "match":
        from vultus.stages.match import Match

        return Match(config, data or data_folder())
    if name == "store":
        from vultus.stages.store import Store

        return Store(config, data or data_folder())
    raise ValueError(f"there is no stage called {name!r}")


def libraries() -> None:
    """Import what any stage needs, for a process that is to take whichever place gets empty."""
    for name in get_args(StageName):
        importlib.import_module(f"vultus.stages.{name}")
    for name in ("camera", "photo", "video"):  # which `decode` imports only when they are wanted
        importlib.import_module(f"vultus.stages.{name}")


def models(name: StageName, config: Config, data: Path | None = None) -> dict[str, str]:
    """Fingerprints of the models that decide the answers of a stage, by kind; another host has to have the same."""
    from vultus.weights import Registry

    registry = Registry(data or data_folder())
    if name == "detect":
        model = registry.resolve(config.models.detector, "detector")
        parts = {part: registry.resolve(part, "part").fingerprint for part in model.needs}
        return {"detector": model.fingerprint, **parts}
    if name == "embed":
        return {"embedder": registry.resolve(config.models.embedder, "embedder").fingerprint}
    return {}
