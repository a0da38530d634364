"""The toys of a machine that has another model."""

from toys import build

__all__ = ["build", "models"]


def models(name, config):
    return {"embedder": "another-0123456789ab"}
