"""What a gallery is bound to: the model, when somebody names it, and the dim of the first vectors."""

from __future__ import annotations

import numpy as np

from vultus.index.embedding import check_dim
from vultus.index.errors import ModelMismatch
from vultus.index.storage import Connection, Storage

MAX_FINGERPRINT = 200


def bind_model(store: Storage, model: str) -> None:
    """Bind the gallery to `model` if it has no model yet. Raises ModelMismatch if it has another."""
    check_model(model)
    with store.read() as connection:
        (bound,) = connection.execute("SELECT model FROM gallery").fetchone()
    if bound is None:
        with store.write() as connection:
            connection.execute("UPDATE gallery SET model = ? WHERE model IS NULL", (model,))
            (bound,) = connection.execute("SELECT model FROM gallery").fetchone()
    if bound != model:
        raise ModelMismatch(
            f"the gallery {store.place} holds vectors of the model {bound}, but {model} was asked for; "
            "their vectors cannot be compared: choose that model, another gallery, or `vultus gallery migrate`"
        )


def check_model(model: str) -> None:
    """Raise ValueError for what is no fingerprint."""
    if not (1 <= len(model) <= MAX_FINGERPRINT and model.isprintable()):
        raise ValueError(f"a model's fingerprint has 1 to {MAX_FINGERPRINT} printable characters, not {model!a}")


def bind_dim(connection: Connection, vectors: np.ndarray) -> None:
    """Fix the dim of a gallery that has none yet; inside the caller's transaction, where the answer is final."""
    if not len(vectors):
        return
    connection.execute("UPDATE gallery SET dim = ? WHERE dim IS NULL", (vectors.shape[1],))
    (dim,) = connection.execute("SELECT dim FROM gallery").fetchone()
    check_dim(vectors, dim)
