import pytest

from vultus.index.dialect import translated

LIST = "json_array_elements_text(CAST(%s AS json)) AS listed"


@pytest.mark.parametrize(
    ("given", "expected", "places"),
    [
        ("SELECT 1", "SELECT 1", ()),
        ("INSERT INTO t VALUES (?, ?)", "INSERT INTO t VALUES (%s, %s)", (0, 1)),
        ("a = ?2 OR b = ?1 OR c = ?2", "a = %s OR b = %s OR c = %s", (1, 0, 1)),
        ("a IS ? AND b IS NOT ?", "a IS NOT DISTINCT FROM %s AND b IS DISTINCT FROM %s", (0, 1)),
        ("?1 IS NULL OR a = ?1", "CAST(%s AS text) IS NULL OR a = %s", (0, 0)),
        ("? IS NOT NULL", "CAST(%s AS text) IS NOT NULL", (0,)),
        ("a % 2 = ? AND b <> 'a''?%'", "a %% 2 = %s AND b <> 'a''?%%'", (0,)),
        ("instr(a, ?) > 0 AND 'instr('", "strpos(a, %s) > 0 AND 'instr('", (0,)),
        (
            "n IN (SELECT CAST(value AS TEXT) FROM json_each(?)) AND a = ?",
            f"n IN (SELECT value FROM {LIST}) AND a = %s",
            (0, 1),
        ),
        (
            "i IN (SELECT value FROM json_each(?))",
            f"i IN (SELECT value FROM (SELECT CAST(value AS bigint) AS value FROM {LIST}) AS listed)",
            (0,),
        ),
        (
            "FROM json_each(?) w JOIN faces f ON f.id = w.value",
            f"FROM (SELECT CAST(value AS bigint) AS value FROM {LIST}) w JOIN faces f ON f.id = w.value",
            (0,),
        ),
    ],
)
def test_turns_of_sqlite_become_those_of_postgresql(given, expected, places):
    assert translated(given) == (expected, places)
