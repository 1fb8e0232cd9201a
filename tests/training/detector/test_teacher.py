"""A teacher read from its ONNX file: as the file answers, on ONNX Runtime and on torch; and what is learned from it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from detector_fixtures import write_data
from onnx import TensorProto, helper
from test_detector_run import train
from test_loss import CENTERS, CONFIG, SIZE, STRIDES, batch_of, cells_that_say
from torch import Tensor, nn

from edgepose import Detector, EdgeposeError
from edgepose.detectors import letterbox
from edgepose_training.deploy import onnx_file
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.loss import detector_loss
from edgepose_training.detector.onnx_module import OnnxModule
from edgepose_training.detector.teacher import RtmdetTeacher, TeacherAnswer
from edgepose_training.engine import checkpoints

SHARED = Path(__file__).parents[4] / "shared"
RTMDET = SHARED / "teachers" / "rtmdet_nano_person.onnx"
MAPS = [f"{name}{stride}" for stride in (8, 16, 32) for name in ("score", "distances")]


class TinyRtmdet(nn.Module):
    """Every operator of an RTMDet's file, and something behind its last convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=8, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8) for _ in range(2))
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.attention = nn.Conv2d(8, 8, 1)
        self.merge = nn.Conv2d(16, 8, 1)
        self.heads = nn.ModuleList(nn.ModuleList([nn.Conv2d(8, 1, 1), nn.Conv2d(8, 4, 1)]) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(m.sigmoid() if m.shape[1] == 1 else (m.abs() + 0.5) * 8 for m in self.dense(x))

    def dense(self, x: Tensor) -> list[Tensor]:
        """Score [N, 1, h, w] and distances [N, 4, h, w] in strides, for each stride."""
        fine = nn.functional.silu(self.stem(x))
        middle = self.down[0](fine).relu()
        coarse = self.pool(self.down[1](middle))
        coarse = coarse * nn.functional.hardsigmoid(self.attention(nn.functional.adaptive_avg_pool2d(coarse, 1)))
        up = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        middle = self.merge(torch.cat((middle, up), dim=1))
        return [head(m) for heads, m in zip(self.heads, (fine, middle, coarse), strict=True) for head in heads]


@pytest.fixture(scope="module")
def net() -> TinyRtmdet:
    torch.manual_seed(3)
    return TinyRtmdet().eval()


@pytest.fixture(scope="module")
def path(net: TinyRtmdet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("teacher") / "tiny.onnx"
    axes = {"input": {0: "N", 2: "H", 3: "W"}}
    onnx.save(onnx_file.trace(net, [torch.zeros(2, 3, 64, 64)], ["input"], MAPS, axes), file)
    return file


def test_torch_and_the_runtime_answer_alike(path: Path) -> None:
    module = RtmdetTeacher(path).net
    x = torch.randn(3, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    answers = module.by_torch(x), module.by_runtime(x)
    assert {tuple(y.shape) for y in answers[0]} == {(3, c, 96 // s, 64 // s) for s in (8, 16, 32) for c in (1, 4)}
    for mine, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_cells_measure_from_their_corner(net: TinyRtmdet, path: Path) -> None:
    """Distances are the last convolutions', in strides, from the cells' upper left corners; scores their sigmoids."""
    images = torch.randint(0, 256, (2, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    teacher = RtmdetTeacher(path)
    answer = teacher(images)
    with torch.no_grad():
        maps = net.dense((images.permute(0, 3, 1, 2).float() - teacher.mean) / teacher.std)
    scores = torch.cat([m.sigmoid().flatten(1) for m in maps[0::2]], dim=1)
    distances = torch.cat([m.flatten(2).transpose(1, 2) for m in maps[1::2]], dim=1) * STRIDES[:, None]
    corners = CENTERS - STRIDES[:, None] / 2
    boxes = torch.cat((corners - distances[..., :2], corners + distances[..., 2:]), dim=-1)
    torch.testing.assert_close(answer.scores, scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answer.boxes, boxes, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(not RTMDET.exists(), reason="the reference detector is not there")
def test_a_file_with_suppression_answers_as_before_it() -> None:
    """Every box that the whole file reports is among the dense ones, with its score."""
    file = Detector(RTMDET, threshold=0.1)
    teacher = RtmdetTeacher(RTMDET)
    pictures = sorted((SHARED / "data" / "images").glob("*/*"))[::430][:50]
    found = 0
    for picture in pictures:
        image = cv2.imread(str(picture))
        height, width = file._canvas(*image.shape[:2])
        canvas, zoom = letterbox(image, (width, height))
        answer = teacher(torch.from_numpy(canvas)[None])
        dense = np.clip(answer.boxes[0].numpy() / zoom, 0, [*image.shape[1::-1]] * 2)
        for box, score in zip(*file(image), strict=True):
            found += 1
            wrong = np.abs(dense - box).max(axis=1) + 100 * np.abs(answer.scores[0].numpy() - score)
            assert wrong.min() < 0.1
    assert not pictures or found > 50


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no onnx", "expected an ONNX file of an RTMDet, got a file that onnx cannot read"), (None, r"got \[16, 6\]")],
)
def test_other_files_are_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "other.onnx"
    if content is None:
        pair = nn.ModuleList([nn.Conv2d(3, 16, 3), nn.Conv2d(3, 6, 1)])
        onnx.save(onnx_file.trace(_Both(pair), [torch.zeros(1, 3, 32, 32)], ["input"], ["a", "b"], {}), file)
    else:
        file.write_bytes(content)
    with pytest.raises(EdgeposeError, match=message):
        RtmdetTeacher(file)


class _Both(nn.Module):
    def __init__(self, convolutions: nn.ModuleList) -> None:
        super().__init__()
        self.convolutions = convolutions

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(conv(x) for conv in self.convolutions)


def test_unknown_operators_are_named() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("Erf", ["x"], ["y"])],
        "g",
        [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    with pytest.raises(EdgeposeError, match=r"expected operators among .*Conv.*, got Erf"):
        OnnxModule(helper.make_model(graph))


def answer_of(box: torch.Tensor, score: float, cell: int) -> TeacherAnswer:
    """A teacher that sees one person, at one cell."""
    scores = torch.zeros(1, len(CENTERS))
    scores[0, cell] = score
    return TeacherAnswer(scores, box.expand(1, len(CENTERS), 4))


def test_the_loss_is_least_where_the_student_says_the_same() -> None:
    config = DetectorConfig(label_weight=0.0)
    box = torch.tensor([16.0, 8, 80, 60])
    cell = int(torch.nonzero(((CENTERS - torch.tensor([44.0, 28])).abs() < 1).all(1))[0])
    teacher = answer_of(box, 0.8, cell)

    def total(boxes: torch.Tensor, logit: float, elsewhere: float = -20.0) -> float:
        logits = torch.full((len(CENTERS),), elsewhere)
        logits[cell] = logit
        terms = detector_loss(cells_that_say(boxes, logits), batch_of([[0.0] * 4]), config, teacher=teacher)
        return float(sum(terms.values()))

    logit = float(torch.logit(torch.tensor(0.8)))
    same = total(box.expand(len(CENTERS), 4), logit)
    assert same == pytest.approx(0, abs=1e-3)
    for other in (total(box.expand(len(CENTERS), 4), 0.0), total((box + 8).expand(len(CENTERS), 4), logit)):
        assert other > same + 0.05
    assert total(box.expand(len(CENTERS), 4), logit, elsewhere=0.0) > same + 0.05


def test_an_unlisted_person_whom_the_teacher_sees_is_not_background() -> None:
    """The list is empty: a student that sees somebody loses by it, except where the teacher sees somebody, too."""
    cell = 40
    box = torch.tensor([16.0, 8, 80, 60]).expand(len(CENTERS), 4)
    logits = torch.full((len(CENTERS),), -20.0)
    logits[cell] = 2.0
    nobody = batch_of([[0.0] * 4])
    nobody.is_person[:] = False
    alone = detector_loss(cells_that_say(box, logits), nobody, CONFIG)["person"]
    taught = [
        detector_loss(cells_that_say(box, logits), nobody, CONFIG, teacher=answer_of(box[0], score, cell))["person"]
        for score in (0.2, 0.8)
    ]
    assert alone == pytest.approx(float(taught[0]), rel=1e-5)
    assert alone > 0.5
    assert taught[1] == pytest.approx(0, abs=1e-6)


def test_a_run_learns_from_a_teacher(path: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    states = []
    for name, more in (("plain", []), ("taught", ["--teacher", str(path)])):
        assert train(data, tmp_path / name, *more) == 0
        states.append(checkpoints.load(tmp_path / name / "last.pt"))
    assert set(states[0]["model"]) == set(states[1]["model"])  # the teacher is no part of the checkpoint
    assert any(not torch.equal(a, b) for a, b in zip(*(s["model"].values() for s in states), strict=True))


def test_a_missing_teacher_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data")
    assert train(data, tmp_path / "run", "--teacher", str(tmp_path / "nothing.onnx")) == 2
    assert "nothing.onnx" in capsys.readouterr().err
