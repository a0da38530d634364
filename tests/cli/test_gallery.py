import numpy as np

from vultus.index import Gallery


def test_convert_changes_the_index_and_keeps_the_answers(vultus, tmp_path, rand):
    folder = tmp_path / "gallery"
    rows = rand.standard_normal((1100, 64)).astype(np.float32)
    with Gallery.open(folder) as gallery:
        gallery.enrol_many([f"p{at}" for at in range(len(rows))], rows)
        before = gallery.search(rows[:5], 1)
    said = vultus("gallery", "convert", "--gallery", folder, "--index", "sq8", "--json").json
    assert (said["index"], said["bytes_per_vector"]) == ("sq8", 64 + 16)
    assert vultus("gallery", "stats", "--gallery", folder, "--json").json["index"] == "sq8"
    with Gallery.open(folder) as gallery:
        assert gallery.search(rows[:5], 1) == before
    text = vultus("gallery", "convert", "--gallery", folder).out
    assert "index flat, 272 bytes a face, made in" in text
