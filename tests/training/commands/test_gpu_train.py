"""A training that travels: bundles out, weights back, from machine to machine, on the CPU and tiny."""

import csv
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import evaluation_fixtures as fixtures
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import evaluation_fixtures  # noqa: E402
import gpu_train  # noqa: E402
import pack  # noqa: E402

from edgepose_training.bundles import chunks, visits  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.data.coco import Person  # noqa: E402
from edgepose_training.data.crop_cache import CropCache  # noqa: E402
from edgepose_training.data.packing import COMPACT_SIDE, crop_person  # noqa: E402
from edgepose_training.data.shards import ShardWriter, read_shard  # noqa: E402
from edgepose_training.data.synthetic import synthetic_person  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.engine.trainer import Trainer  # noqa: E402

TINY = """
size = "n"
input_size = [64, 64]
sigma = [2.83, 2.83]
batch = 4
epochs = 3
on_device = true
aux_heatmap = 0.1
lr = 1e-3
warmup = 2
ema = 0.1
amp = "off"
channels_last = false
log_every = 1
validate_every = 3
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Shards, bundles of two shards each, and configs."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.toml").write_text(TINY)
    (folder / "stage2.toml").write_text('base = "tiny.toml"\nstage = 2\nbeta_logit = 1.0\naux_heatmap = 0.0\n')
    rng = np.random.default_rng(3)
    for split, people in (("train", 20), ("val", 4)):
        with ShardWriter(folder / "shards" / split, image_format="jpg", part_bytes=400 << 10, compress=True) as writer:
            for _ in range(people):
                writer.write(synthetic_person(rng))
    visits.make_bundles(folder / "shards", folder / "bundles", 200 << 10)
    return folder


def visit(home: Path, machine: Path, out: Path, *args: str, bundles: tuple[str, ...] = ()) -> int:
    """What gpu_train.sh does on the GPU's machine, in this process and on the CPU."""
    if bundles:
        folders = [str(home / "bundles" / name) for name in bundles]
        assert gpu_train.main(["receive", *folders, "--work", str(machine)]) == 0
    if not args:
        return 0
    config, *rest = args
    where = ["--work", str(machine), "--out", str(out), "--device", "cpu"]
    return gpu_train.main(["train", str(home / f"{config}.toml"), *rest, *where])


def steps(folder: Path) -> list[int]:
    with (folder / "train.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def every_bundle(home: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in (home / "bundles").iterdir()))


def test_bundles_hold_everybody_once_and_bounded(home):
    bundles = sorted((home / "bundles").iterdir())
    assert len(bundles) > 1
    sizes = [sum(p.stat().st_size for p in bundle.rglob("*.tar.gz")) for bundle in bundles]
    assert max(sizes) <= 200 << 10
    for split, people in (("train", 20), ("val", 4)):
        found = [crop for path in sorted((home / "bundles").glob(f"*/{split}/*")) for crop in read_shard(path)]
        assert len(found) == people
    assert list((home / "bundles" / "0" / "val").iterdir())  # the first visit can already validate


def test_packing_at_home_makes_the_shards_of_pack_py_and_bundles_of_them(tmp_path, capsys):
    data = tmp_path / "data"
    for split in ("train", "val"):
        fixtures.dataset(data, split=split)
    words = ["pack", "--data", str(data), "-o", str(tmp_path / "gpu"), "--parcel-mib", "4", "--workers", "1"]
    assert gpu_train.main(words) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'gpu' / 'bundles' / '0'}  ")
    for split in ("train", "val"):
        words = ["--data", str(data), "--split", split, "--compact", "--workers", "1", "-o", str(tmp_path / split)]
        assert pack.main(words) == 0
        (ours,), (theirs,) = ((folder / split).glob("*.tar.gz") for folder in (tmp_path / "gpu/bundles/0", tmp_path))
        for one, other in zip(read_shard(ours), read_shard(theirs), strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_a_second_visit_adds_its_bundle_and_goes_on_exactly(home, tmp_path):
    """The machine is still there: full state, a store that has grown."""
    machine, out = tmp_path / "machine", tmp_path / "out"
    names = every_bundle(home)
    assert visit(home, machine, out, "tiny", "--name", "a", "--stop-after", "0.0001", bundles=names[:1]) == 0
    first = steps(machine / "runs" / "a")
    before = len(CropCache.open(machine / "train"))
    assert first == [1]
    assert visit(home, machine, out, "tiny", "--name", "a", bundles=names[1:]) == 0
    assert len(CropCache.open(machine / "train")) == 20 > before
    state = checkpoints.load(machine / "runs" / "a" / "last.pt")
    assert state["epoch"] == 3
    assert state["fresh_optimizer"] == 0
    assert (out / "a.pt.parts.json").exists()
    assert max(path.stat().st_size for path in out.iterdir()) <= 16 << 20


def test_a_lost_machine_costs_the_optimizer_only(home, tmp_path, monkeypatch):
    """The call is killed; what had been handed out by then starts the next machine."""
    machine, out = tmp_path / "machine", tmp_path / "out"
    train_step = Trainer.train_step

    def killed(run, *args):
        if run.step == 7:
            raise KeyError("the machine is gone")
        return train_step(run, *args)

    monkeypatch.setattr(Trainer, "train_step", killed)
    with pytest.raises(KeyError):
        visit(home, machine, out, "tiny", "--name", "a", bundles=every_bundle(home))
    monkeypatch.undo()
    shutil.rmtree(machine)
    assert gpu_train.main(["collect", str(out), "-o", str(tmp_path / "weights")]) == 0
    assert steps(tmp_path / "weights" / "a.run_log") == [1, 2, 3, 4, 5]
    net, config, _, state = checkpoints.load_net(tmp_path / "weights" / "a.pt")
    assert state["step"] == 5
    assert config == Config.load(home / "tiny.toml")
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())

    fresh = tmp_path / "fresh"
    # Weights may travel as one file or in chunks, as they came.
    shutil.copytree(out, tmp_path / "bundle")
    assert gpu_train.main(["receive", str(tmp_path / "bundle"), "--work", str(fresh)]) == 0
    assert visit(home, fresh, tmp_path / "out2", "tiny", "--name", "a", bundles=every_bundle(home)) == 0
    state = checkpoints.load(fresh / "runs" / "a" / "last.pt")
    assert (state["epoch"], state["step"], state["fresh_optimizer"]) == (3, 15, 5)
    assert steps(fresh / "runs" / "a") == list(range(6, 16))


def test_slim_weights_are_the_averaged_ones_and_small(home, tmp_path):
    machine, out = tmp_path / "machine", tmp_path / "out"
    visit(home, machine, out, "tiny", "--name", "a", "--set", "epochs=1", bundles=every_bundle(home))
    (slim,) = visits.collect([out], tmp_path / "back")
    full = machine / "runs" / "a" / "last.pt"
    assert slim.stat().st_size < 0.2 * full.stat().st_size
    ema = checkpoints.load(full)["ema"]
    for name, value in checkpoints.load_net(slim)[0].state_dict().items():
        torch.testing.assert_close(value, ema[name], rtol=1e-3, atol=1e-6)


def test_stage_after_stage_in_one_place(home, tmp_path):
    """A teacher that was trained elsewhere and received, a student here, its second stage here."""
    school, machine, out = tmp_path / "school", tmp_path / "machine", tmp_path / "out"
    once = ("--set", "epochs=1")
    visit(home, school, out, "tiny", "--name", "teacher", *once, bundles=every_bundle(home))
    visits.collect([out], tmp_path / "bundle")
    assert gpu_train.main(["receive", str(tmp_path / "bundle"), "--work", str(machine)]) == 0
    visit(home, machine, out, "tiny", "--name", "one", "--teacher", "teacher", *once, bundles=every_bundle(home))
    assert "feature" in (machine / "runs" / "one" / "train.csv").read_text()
    visit(home, machine, out, "stage2", "--name", "two", "--teacher", "one", *once)
    assert sorted(path.name for path in out.glob("*.parts.json")) == [
        f"{name}.pt.parts.json" for name in ("one", "teacher", "two")
    ]


def test_time_chooses_the_epochs_and_later_pieces_keep_them(home, tmp_path):
    machine, out = tmp_path / "machine", tmp_path / "out"
    args = ("tiny", "--name", "a", "--set", "batch=1", "--set", "epochs=50", "--minutes", "0.0001")
    assert visit(home, machine, out, *args, bundles=every_bundle(home)) == 0
    state = checkpoints.load(machine / "runs" / "a" / "last.pt")
    # No time at all, so no more than the two epochs that ten steps of warm-up and thirty timed ones took.
    assert state["config"]["epochs"] == state["epoch"] == 2
    assert state["chosen_epochs"]
    assert visit(home, machine, out, *args) == 0
    assert checkpoints.load(machine / "runs" / "a" / "last.pt")["step"] == state["step"]


def test_people_that_were_packed_smaller_than_the_input_are_refused(tmp_path, capsys):
    """As gpu-pack's are for the recipes of 384×288; no other check sees bundles."""
    image, keypoints = np.zeros((600, 400, 3), np.uint8), np.full((133, 2), 200, np.float32)
    labels = {"keypoints": keypoints, "visible": np.full(133, 2, np.uint8), "weights": np.ones(133, np.float32)}
    where = {"image": Path("a.jpg"), "image_id": 1, "annotation_id": 1, "source": "", "license": "", "split": "train"}
    bbox = np.array([100, 50, 300, 550], np.float32)
    person = Person(**where, **labels, image_size=(400, 600), bbox=bbox, area=5e4, part_boxes={})
    with ShardWriter(tmp_path / "in" / "train", image_format="jpg") as writer:
        writer.write(crop_person(image, person, max_side=COMPACT_SIDE))
    visits.receive([tmp_path / "in"], tmp_path / "work")
    words = ["--name", "a", "--work", str(tmp_path / "work"), "--out", str(tmp_path), "--no-init", "--device", "cpu"]
    assert gpu_train.main(["train", "rtmpose_l_wholebody_384", *words]) == 2
    error = capsys.readouterr().err
    assert "at most 256 px tall, which an input of 288×384 would enlarge: pack with pack.py --compact --for" in error
    visits.check_height(CropCache.open(tmp_path / "work" / "train"), Config())  # 192×256


def test_missing_weights_are_named(home, tmp_path, capsys):
    assert visit(home, tmp_path, tmp_path, "tiny", "--name", "a", "--teacher", "who", bundles=every_bundle(home)) == 2
    assert "--teacher who: neither trained here nor received" in capsys.readouterr().err
    assert gpu_train.main(["receive", str(tmp_path / "nothing"), "--work", str(tmp_path)]) == 2
    assert "no such bundle" in capsys.readouterr().err


@pytest.mark.slow
def test_the_script_runs_a_visit(home, tmp_path):
    """gpu_train.sh from end to end with its environment; the extension is built already."""
    root = Path(__file__).parents[3]
    environment = {
        **os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path / "out"), "WORK": str(tmp_path / "work"),
        "PARCELS": " ".join(str(home / "bundles" / name) for name in every_bundle(home)), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = ["sh", str(root / "training" / "gpu_train.sh"), str(home / "tiny.toml"), "--name", "a",
               "--device", "cpu", "--set", "epochs=1"]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.pt.000", "a.pt.parts.json", "a.run_log.zip"}


def test_what_travels_is_packed_as_by_hand(tmp_path, capsys):
    data = evaluation_fixtures.dataset(tmp_path / "data", split="train")
    evaluation_fixtures.dataset(data)
    command = ["pack", "--data", str(data), "-o", str(tmp_path / "gpu")]
    assert gpu_train.main(command) == 0
    (bundle,) = (tmp_path / "gpu" / "bundles").iterdir()
    assert capsys.readouterr().out == f"{bundle}  0 MiB\n"
    for split in ("train", "val"):
        by_hand = tmp_path / "by hand" / split
        assert pack.main(["--data", str(data), "--split", split, "--compact", "-o", str(by_hand)]) == 0
        (ours,), (theirs,) = (bundle / split).iterdir(), by_hand.glob("*.tar*")
        assert ours.name.endswith(".tar.gz")
        assert ours.read_bytes() == theirs.read_bytes()
    before = ours.stat().st_mtime_ns
    assert gpu_train.main(command) == 0  # what is there already is not packed again
    assert ours.stat().st_mtime_ns == before
    others = ["pack", "--data", str(data), "-o", str(tmp_path / "none"), "--licence", "permissive"]
    assert gpu_train.main(others) == 2
    assert "nobody has the license 'permissive': no image of this file states one" in capsys.readouterr().err
    assert not list((tmp_path / "none").rglob("*.tar*"))


def test_curves_of_either_name_come_back(tmp_path):
    """A machine that has not been updated hands out a journal."""
    for name in ("a.run_log", "b.journal"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("train.csv", "epoch,step\n0,1\n")
    (tmp_path / "a.pt").write_bytes(b"weights")
    chunks.split(tmp_path / "a.pt", tmp_path)
    visits.collect([tmp_path], tmp_path / "back")
    assert sorted(path.parent.name for path in (tmp_path / "back").glob("*/train.csv")) == ["a.run_log", "b.journal"]


def test_all_files_are_split_before_one_is_printed(tmp_path, monkeypatch):
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"weights")

    def nobody_reads(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu_train, "print", nobody_reads, raising=False)
    files = [str(tmp_path / name) for name in ("a.pt", "b.pt")]
    assert gpu_train.main(["split", *files, "-o", str(tmp_path / "out")]) == 130
    assert len(chunks.find_manifests(tmp_path / "out")) == 2
