"""Two processes are one training: the same curve, one writer, and a killed worker costs an epoch at most."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import distill  # noqa: E402

from edgepose import EdgeposeError  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.data.crop_cache import CropCache  # noqa: E402
from edgepose_training.data.shards import ShardWriter, find_shards  # noqa: E402
from edgepose_training.data.synthetic import synthetic_person  # noqa: E402
from edgepose_training.distributed import (  # noqa: E402
    GlobalBatchNorm,
    Processes,
    join_processes,
    pick_device,
    synchronize_norms,
)
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.engine.pose_task import pose_trainer  # noqa: E402

CRASHING = Path(__file__).with_name("crash_once.py")
CONFIG = """
size = "n"
input_size = [64, 64]
sigma = [2.83, 2.83]
batch = 4
workers = 0
epochs = 4
lr = 1e-4   # low: Adam moves every weight by it, those without a gradient by the sign of rounding errors
warmup = 2
label_loss = "rtmpose"   # a sum over the batch: the one that a careless split would change
aux_heatmap = 0.1
ema = 0.1
amp = "off"
channels_last = false
log_every = 1
clip = 1.0
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A config and four shards of three synthetic people."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "small.toml").write_text(CONFIG)
    rng = np.random.default_rng(5)
    with ShardWriter(folder / "shards" / "train", image_format="jpg", part_bytes=70 << 10) as writer:
        for _ in range(12):
            writer.write(synthetic_person(rng))
    assert len(writer.paths) >= 4
    return folder


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return [str(data / "small.toml"), "--shards", str(data / "shards"), "-o", str(out), "--device", "cpu", *more]


def torchrun(script: Path, args: list[str], restarts: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", str(restarts), str(script), *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(distill.__file__).parent)  # CRASHING imports the command
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


def curve(out: Path) -> dict[int, float]:
    """Step → label loss; a step that is told twice is an error."""
    with (out / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert len(set(steps)) == len(steps)
    return dict(zip(steps, (float(row["label"]) for row in rows), strict=True))


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    assert distill.main(arguments(data, out)) == 0
    return out


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(data, alone, tmp_path):
    """Two processes, batch norms over both, one of them killed in the third epoch: torchrun starts them again, they
    go on from the last checkpoint, and the curve is that of one process that nobody disturbed."""
    out = tmp_path / "two"
    done = torchrun(CRASHING, arguments(data, out), restarts=1)
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr, done.stderr
    assert "resumed" in done.stderr
    ours, theirs = curve(out), curve(alone)
    assert list(ours) == list(theirs) == list(range(1, 13))
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=2e-3)
    states = [checkpoints.load(folder / "last.pt") for folder in (out, alone)]
    # Adam divides by the gradient's own size, so rounding moves what hardly learns; running means do not.
    for name in states[0]["model"]:
        if name.endswith("running_mean"):
            torch.testing.assert_close(*(s["model"][name] for s in states), rtol=0.05, atol=0.02)


@pytest.mark.slow
def test_shards_are_split_among_processes(data, tmp_path):
    """Each decodes its own; together all, none twice."""
    out = tmp_path / "split"
    script = Path(distill.__file__)
    done = torchrun(script, arguments(data, out, "--set", "split_shards=true", "--set", "epochs=1", "--set", "batch=2"))
    assert done.returncode == 0, done.stderr
    stores = [np.load(data / "shards" / "train" / f"decoded-{rank}of2" / "index.npz") for rank in (0, 1)]
    sizes = [len(store["sizes"]) for store in stores]
    assert sum(sizes) == 12
    rows = {tuple(row) for store in stores for row in store["keypoints"][:, 0].tolist()}
    assert len(rows) == 12
    assert max(curve(out)) == min(sizes)  # a batch of 2 is one person each


def test_global_batch_norm_alone_is_batch_norm():
    """In a group of one process; the same numbers, gradients and running statistics."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        plain = torch.nn.BatchNorm2d(3)
        torch.nn.init.normal_(plain.weight)
        ours = torch.nn.BatchNorm2d(3)
        ours.load_state_dict(plain.state_dict())
        synchronize_norms(ours, torch.device("cpu"))
        assert type(ours) is GlobalBatchNorm
        x = torch.randn(4, 3, 5, 6)
        results = []
        for norm in (plain, ours):
            leaf = x.clone().requires_grad_()
            y = norm(leaf)
            (y * torch.arange(y.numel()).view_as(y)).sum().backward()
            results.append((y, leaf.grad / 100, norm.weight.grad / 100, norm.running_mean, norm.running_var))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        assert torch.equal(plain.eval()(x), plain(x))
        torch.testing.assert_close(ours.eval()(x), plain(x))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("synchronized", [True, False])
def test_norms_see_the_whole_batch_or_a_share_of_it(data, tmp_path, synchronized):
    config = Config.load(data / "small.toml", [f"sync_norms={str(synchronized).lower()}"])
    store = CropCache(find_shards(data / "shards" / "train"))
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        run = pose_trainer(config, store, None, tmp_path, torch.device("cpu"), processes=Processes(0, 2))
        norms = [module for module in run.task.module.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        shared = [module for module in run.task.module.modules() if isinstance(module, GlobalBatchNorm)]
        assert bool(shared) == synchronized
        assert bool(norms) != synchronized
    finally:
        torch.distributed.destroy_process_group()


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(EdgeposeError, match="multiple of the 3 processes"):
        Processes(0, 3).share(32)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "mps", "CPU"])
def test_a_device_that_there_is_not_is_one_sentence(name):
    for ask in (pick_device, join_processes):
        with pytest.raises(EdgeposeError, match=rf"^--device expected auto, cpu, cuda or cuda:N, got '{name}'$"):
            ask(name)


def test_a_gpu_that_is_not_here_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EdgeposeError, match="--device cuda:1: torch sees no GPU here"):
        pick_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(EdgeposeError, match="--device cuda:2: torch sees 2 GPUs here, counted from 0"):
        pick_device("cuda:2")
    assert pick_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("given", [["--threads", "0"], ["--minutes", "-1"], ["--stop-after", "nan"]])
def test_times_and_threads_out_of_range_are_named(given, capsys):
    with pytest.raises(SystemExit):
        distill.parse(["rtmpose_t_body", *given])
    assert f"argument {given[0]}: expected " in capsys.readouterr().err
