"""What takes too long ends with an answer."""

import httpx
import pytest

from vultus.server import patience


def test_what_takes_longer_than_a_minute_says_what_to_do(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST", -1.0)
    for answer, command in (
        (client.get("/api/v1/confusable"), "vultus people confusable"),
        (client.post("/api/v1/calibration", json={"fpir": 0.01}), "vultus calibrate"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:vultus:takes-too-long")
        assert command in answer.json()["detail"]
    assert client.get("/api/v1/calibration").json()["calibration"] is None
