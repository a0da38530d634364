"""Which addresses may be cameras of the server: the rules for those that were added over the API."""

from __future__ import annotations

import os

from msgspec import Struct, structs

from vultus.configs.schema import Source
from vultus.configs.serving import Cameras as Rules
from vultus.configs.serving import Networks
from vultus.server.cameras.register import Camera
from vultus.stages.reach import Forbidden, check_camera
from vultus.stages.sources import Unusable, find

_NOT_LOCAL = "webcams and files of this machine are cameras only if serve.cameras.local allows it"
_NO_ADDRESS = "its address cannot be read any more: give it anew"


def check(address: str, rules: Rules) -> None:
    """Whether a camera of this address may be added. Raises Forbidden, a ValueError, in words without passwords.

    A name server may be waited for.
    """
    if _is_local(address):
        if not rules.local:
            raise Forbidden(_NOT_LOCAL)
        if (why := _unusable(Source(address=address, paced=True))) is not None:
            raise Forbidden(why)
    else:
        check_camera(address, rules.networks)


class Wanted(Struct, frozen=True):
    """A camera as work for the pipeline."""

    source: Source
    networks: Networks | None
    """Where its connections may lead; none: anywhere, because who owns the machine wrote the address, or it leads nowhere."""


def wanted(camera: Camera, rules: Rules) -> Wanted:
    """As work for the pipeline: a file that was added here plays as a camera would send it."""
    source = camera.source
    if camera.configured:
        return Wanted(source, None)
    if _is_local(camera.address):
        return Wanted(structs.replace(source, paced=True), None)
    return Wanted(source, rules.networks)


def why_not(camera: Camera, rules: Rules) -> str | None:
    """Why a camera that is known cannot be watched, without asking any name server; none if it can."""
    if not camera.address:
        return _NO_ADDRESS
    if _is_local(camera.address) and not (camera.configured or rules.local):
        return _NOT_LOCAL
    return _unusable(wanted(camera, rules).source)


def _is_local(address: str) -> bool:
    return "://" not in address


def _unusable(source: Source) -> str | None:
    if _is_local(source.address) and not source.address.startswith("webcam:"):
        path = os.path.expanduser(source.address)
        if os.path.isdir(path):
            return "a folder is no camera; index it as an archive"
    for found in find([source]):
        if isinstance(found, Unusable):
            return found.reason
        if found.kind not in ("camera", "webcam", "paced"):
            return "a file is no camera unless it is played as one (`paced: true`); index it as an archive"
    return None
