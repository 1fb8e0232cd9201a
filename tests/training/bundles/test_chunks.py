"""Files cut into chunks come back whole, or the chunk at fault is named."""

import gpu_train
import pytest

from edgepose import EdgeposeError
from edgepose_training.bundles.chunks import find_manifests, join, split


@pytest.mark.parametrize("size", [0, 99, 100, 250])
def test_chunks_are_small_and_join_to_the_same_file(tmp_path, size):
    path = tmp_path / "last.pt"
    path.write_bytes(bytes(i * i % 251 for i in range(size)))
    written = split(path, tmp_path / "chunks", 100)
    assert max(p.stat().st_size for p in written[:-1]) <= 100
    assert len(written) == max(-(-size // 100), 1) + 1
    back = join(written[-1], tmp_path / "back")
    assert back.read_bytes() == path.read_bytes()
    assert back.name == "last.pt"


def test_a_shorter_file_leaves_no_old_chunks(tmp_path):
    path, folder = tmp_path / "last.pt", tmp_path / "chunks"
    for size in (350, 120):
        path.write_bytes(b"x" * size)
        split(path, folder, 100)
    assert sorted(p.name for p in folder.iterdir()) == ["last.pt.000", "last.pt.001", "last.pt.parts.json"]


def test_a_missing_or_damaged_chunk_is_named(tmp_path):
    path = tmp_path / "last.pt"
    path.write_bytes(b"y" * 150)
    *_, second, manifest = split(path, tmp_path / "chunks", 100)
    second.write_bytes(b"y" * 49 + b"z")
    with pytest.raises(EdgeposeError, match=r"last\.pt\.001.*damaged"):
        join(manifest, tmp_path)
    second.unlink()
    with pytest.raises(EdgeposeError, match=r"last\.pt\.001.*missing"):
        join(manifest, tmp_path)
    assert path.read_bytes() == b"y" * 150  # nothing half-joined took its place


def test_names_in_a_manifest_stay_in_their_folder(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"1")
    *_, manifest = split(path, tmp_path / "chunks")
    manifest.write_text(manifest.read_text().replace('"file": "a.bin"', '"file": "../../a.bin"'))
    assert join(manifest, tmp_path / "out" / "deep").parent == tmp_path / "out" / "deep"


def test_the_command_splits_and_joins(tmp_path, capsys):
    path = tmp_path / "w.pt"
    path.write_bytes(b"w" * 3000)
    assert gpu_train.main(["split", str(path), "-o", str(tmp_path / "p"), "--chunk-mib", "0.001"]) == 0
    assert find_manifests(tmp_path / "p")
    assert gpu_train.main(["collect", str(tmp_path / "p"), "-o", str(tmp_path / "q")]) == 0
    assert (tmp_path / "q" / "w.pt").read_bytes() == b"w" * 3000
    assert gpu_train.main(["collect", str(tmp_path / "q"), "-o", str(tmp_path)]) == 2
    assert "no *.parts.json" in capsys.readouterr().err
    assert gpu_train.main(["split", str(tmp_path / "nowhere.pt"), "-o", str(tmp_path)]) == 2
    assert "nowhere.pt" in capsys.readouterr().err
