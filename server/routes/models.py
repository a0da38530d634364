"""The neural networks: what is known, what is here, what is in use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from vultus.configs.loader import data_folder
from vultus.server.access import allowed
from vultus.server.schemas import Listing, Schema
from vultus.server.services import Here
from vultus.weights import Registry
from vultus.weights.registry import Status

router = APIRouter(prefix="/models", tags=["system"], dependencies=[allowed("viewer", "system")])


class Model(Schema):
    """A model that vultus knows. `vultus models pull` fetches one; the configuration chooses."""

    name: str
    kind: str
    state: str
    """ok, missing, or wrong: a file that is not the one that it should be."""
    used: bool
    licence: str
    commercial: bool
    """Whether its licence allows commercial use."""
    about: str
    dim: int | None
    threshold: float | None


@router.get("")
def list_models(here: Here) -> Listing[Model]:
    """Every model, with its licence and whether it is in use."""
    return Listing(items=[_shape(here, status) for status in Registry(data_folder()).status()])


@router.get("/{name}")
def show(here: Here, name: Annotated[str, Path(min_length=1, max_length=200)]) -> Model:
    """One model."""
    return _shape(here, Registry(data_folder()).state(name))


def _shape(here: Here, status: Status) -> Model:
    chosen = here.config.models
    return Model(
        name=status.name,
        kind=status.kind,
        state=status.state,
        used=status.name in (chosen.detector, chosen.embedder),
        licence=status.licence,
        commercial=status.commercial,
        about=status.about,
        dim=status.dim,
        threshold=status.threshold,
    )
