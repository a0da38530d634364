"""The threshold over the API."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from vultus.index import FaceRecord
from vultus.server.services import Services

CALIBRATION = "/api/v1/calibration"


@pytest.fixture
def crowd(services: Services) -> Iterator[None]:
    """Forty people with three faces each, nearer to each other than to anybody else."""
    rand = np.random.default_rng(5)
    dim = services.gallery.dim or 0
    names = [f"crowd {number}" for number in range(40)]
    for name, centre in zip(names, rand.normal(size=(40, dim)), strict=True):
        vectors = centre + 0.6 * rand.normal(size=(3, dim))
        services.gallery.enrol(name, vectors, [FaceRecord(source=f"{name}/{at}") for at in range(3)])
    yield
    for name in names:
        services.gallery.remove_identity(name)


def test_a_small_gallery_uses_the_models_threshold(client: httpx.Client) -> None:
    answer = client.get(CALIBRATION).json()
    assert (answer["origin"], answer["calibration"], answer["stale"]) == ("model", None, None)
    found = client.post(CALIBRATION, json={"fpir": 0.01, "keep": False}).json()
    assert found["threshold"] is None
    assert "people have names" in found["why_not"]
    assert found["extrapolated"] is None or found["impostors"]


@pytest.mark.usefixtures("crowd")
def test_a_threshold_is_measured_kept_and_forgotten(client: httpx.Client) -> None:
    tried = client.post(CALIBRATION, json={"fpir": 0.01, "keep": False}).json()
    assert client.get(CALIBRATION).json()["calibration"] is None
    found = client.post(CALIBRATION, json={"one_false_alarm_per": "day", "faces_per_day": 100}).json()
    assert found["threshold"] == pytest.approx(tried["threshold"])
    assert sum(one["impostors"] for one in found["bins"]) == found["impostors"] > 100
    near = min(found["curve"], key=lambda point: abs(point["threshold"] - found["threshold"]))
    assert near["fpir"] == pytest.approx(0.01, rel=0.5)
    kept = client.get(CALIBRATION).json()
    assert (kept["origin"], kept["threshold"]) == ("calibration", found["threshold"])
    assert kept["calibration"] == found
    again = client.post(CALIBRATION, json={"keep": False}).json()
    assert again["policy"] == found["policy"]
    assert client.delete(CALIBRATION).status_code == 204
    assert client.get(CALIBRATION).json()["origin"] == "model"


@pytest.mark.parametrize("wanted", [{"fpir": 1.0}, {"faces_per_day": 100}, {"fpir": 0.1, "one_false_alarm_per": "day"}])
def test_what_is_no_policy_is_refused(client: httpx.Client, wanted: dict[str, object]) -> None:
    assert client.post(CALIBRATION, json=wanted).status_code == 422
