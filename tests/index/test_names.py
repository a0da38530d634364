"""What names are compared by where case and accents do not count."""

import pytest

from vultus.index.names import folded


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("Zoë", "ZOE"),
        ("Straße", "STRASSE"),
        ("ΟΔΥΣΣΕΥΣ", "Οδυσσεύς"),
        ("İstanbul", "istanbul"),
        ("ﬁona", "FIONA"),
        ("Ａｄａ", "ada"),
        ("ℌugo", "hugo"),
        ("Nguyễn", "nguyen"),
        ("ЁЛКА", "елка"),
        ("김민준", "김민준"),
    ],
)
def test_same(name, same):
    assert folded(name) == folded(same)
    assert folded(folded(name)) == folded(name)


@pytest.mark.parametrize(("name", "other"), [("か", "が"), ("कमल", "कमला"), ("Ada", "Adam"), ("ñ", "m")])
def test_others(name, other):
    assert folded(name) != folded(other)
