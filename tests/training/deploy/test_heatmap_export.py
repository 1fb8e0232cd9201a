"""Nets of heat maps, from the checkpoint to the application, as SimCC nets are."""

import json
from pathlib import Path

import cv2
import evaluate
import evaluation_fixtures as fixtures
import export
import numpy as np
import onnx
import pytest
import torch
from deploy_fixtures import BODY

from edgepose import EdgeposeError, ModelCard, TopdownEstimator
from edgepose.codecs import Heatmap
from edgepose.skeletons import Skeleton
from edgepose_app import cli
from edgepose_training.config import Config
from edgepose_training.deploy import exporter, onnx_file
from edgepose_training.engine import checkpoints
from edgepose_training.engine.cards import load_for_export
from edgepose_training.evaluation.predictors import make_predictor

SIZE = (64, 64)
# FPD's stacks, SimpleBaseline's deconvolutions, the third arm of the SimCC paper.
NETS = {
    "hourglass": {"backbone": "hourglass", "size": "1x16", "head": "heatmap", "skeleton": "mpii16"},
    "heatmap": {"size": "n", "head": "heatmap", "skeleton": "coco17", "heatmap_sigma": 1.5},
    "heatmap1d": {"size": "n", "head": "heatmap1d", "skeleton": "coco17", "sigma": [4.0, 4.0]},
}
MAPS = ("hourglass", "heatmap")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Checkpoints by the name of the net, with batch statistics and answers of a trained size."""
    folder = tmp_path_factory.mktemp("nets")
    for name, values in NETS.items():
        torch.manual_seed(5)
        config = Config.from_dict({"input_size": list(SIZE), **values})
        net = checkpoints.build_net(config, Skeleton.load(config.skeleton)).train()
        with torch.no_grad():
            net(torch.randn(8, 3, *SIZE[::-1]))
            answer = net.eval()(torch.randn(8, 3, *SIZE[::-1]))
            for maps in (answer,) if isinstance(answer, torch.Tensor) else answer:
                last = [m for m in net.modules() if getattr(m, "out_channels", 0) == maps.shape[1]]
                last[-1 if maps is answer or maps is answer[1] else 0].weight *= 0.3 / maps.std()
        state = {"model": net.state_dict(), "ema": None, "config": config.to_dict(), "unsupervised_keypoints": [3]}
        state |= {"skeleton": Skeleton.load(config.skeleton).to_dict(), "heatmap_cells": "corners"}
        checkpoints.save(folder / f"{name}.pt", state)
    return folder


@pytest.fixture(scope="module")
def exported(trained):
    for name in NETS:
        assert export.main([str(trained / f"{name}.pt"), "-o", str(trained / f"{name}.onnx")]) == 0
    return trained


@pytest.mark.parametrize("name", MAPS)
def test_the_card_says_what_the_maps_are(exported, name):
    card = TopdownEstimator(exported / f"{name}.onnx", "cpu", detector="none").card
    assert (card.codec, card.bins, card.refine, card.score, card.cell_offset) == (
        "heatmap",
        (16, 16),
        "quarter",
        "max",
        0,
    )
    assert card.sigma == ((1.5, 1.5) if name == "heatmap" else (2.0, 2.0))
    assert card.skeleton.keypoints == Skeleton.load(NETS[name]["skeleton"]).keypoints
    output = onnx.load(exported / f"{name}.onnx").graph.output[0]
    shape = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    assert (output.name, shape) == ("heatmaps", ["N", card.skeleton.num_keypoints, 16, 16])


@pytest.mark.parametrize("name", NETS)
def test_checkpoint_and_file_say_the_same(exported, name):
    frame = np.random.default_rng(5).integers(0, 255, (120, 100, 3), np.uint8)
    bboxes = np.array([[10, 10, 60, 100], [30, 5, 90, 70]], np.float32)
    for refine, flip in (("none", True), ("dark", False), ("quarter", True)) if name in MAPS else ((None, True),):
        files = (str(exported / f"{name}{suffix}") for suffix in (".pt", ".onnx"))
        first, second = (make_predictor(file, flip=flip, refine=refine)(frame, bboxes) for file in files)
        # Two cells of equal height may exchange places between two implementations of a convolution.
        assert np.mean(np.abs(first[0] - second[0]).max(-1) > 0.05) < 0.15
        np.testing.assert_allclose(first[1], second[1], atol=1e-3)
        assert (first[1][:, 3] == 0).all()
        assert np.ptp(first[1]) > 0.005


def test_a_checkpoint_can_be_looked_at_on_smaller_images(trained):
    """Fewer cells of the same stride, so points stay in the frame's pixels."""
    frame = np.random.default_rng(5).integers(0, 255, (120, 100, 3), np.uint8)
    predictor = make_predictor(str(trained / "heatmap.pt"), input_size=(32, 32))
    keypoints, _ = predictor(frame, np.array([[10, 10, 60, 100]], np.float32))
    center, half = np.array([35, 55]), 90 * 1.25 / 2
    assert (np.abs(keypoints[0] - center) <= half + 1e-3).all()
    assert np.ptp(keypoints[0], axis=0).max() > half / 2


def test_a_net_of_the_former_convention_keeps_its_cells(trained, tmp_path):
    checkpoints.save(tmp_path / "old.pt", checkpoints.load(trained / "heatmap.pt") | {"heatmap_cells": "centers"})
    assert load_for_export(tmp_path / "old.pt")[1].cell_offset == 1.5  # half a cell less half a pixel
    frame, box = np.random.default_rng(5).integers(0, 255, (64, 64, 3), np.uint8), np.float32([[6.4, 6.4, 57.6, 57.6]])
    files = trained / "heatmap.pt", tmp_path / "old.pt"
    new, old = (make_predictor(str(file), refine="none")(frame, box)[0] for file in files)
    np.testing.assert_allclose(old - new, 1.5, atol=1e-3)


@pytest.mark.parametrize("name", NETS)
def test_int8(exported, tmp_path, name, capsys):
    skeleton = Skeleton.load(NETS[name]["skeleton"])
    data = fixtures.dataset(tmp_path / "data", split="train", skeleton=skeleton)
    fixtures.dataset(data, skeleton=skeleton)
    small, full = tmp_path / "int8.onnx", exported / f"{name}.onnx"
    words = [str(exported / f"{name}.pt"), "-o", str(small), "--int8", "--weights", "int8", "--data", str(data)]
    assert export.main(words) == 0
    assert "int8 / float32" in capsys.readouterr().out
    weights = [t for t in onnx.load(small).graph.initializer if len(t.dims) >= 3 and not t.name.endswith("_scale")]
    kinds = {tensor.data_type for tensor in weights}
    assert kinds == {onnx.TensorProto.INT8}  # the transposed convolutions are stored so, too
    estimator = TopdownEstimator(small, "cpu", detector="none")
    assert estimator.card.accuracy["int8"]["people"] == 4
    frame = np.random.default_rng(5).integers(0, 255, (120, 100, 3), np.uint8)
    ours, theirs = (
        TopdownEstimator(file, "cpu", detector="none")(frame, [[10, 10, 60, 100]]) for file in (small, full)
    )
    assert np.corrcoef(ours.scores[0], theirs.scores[0])[0, 1] > 0.7


# --- the decoder in the graph -------------------------------------------------------------------------------


def maps(card: ModelCard) -> np.ndarray:
    generator = np.random.default_rng(2)
    found = generator.uniform(-0.2, 0.9, (3, 17, *card.bins[::-1])).astype(np.float32)
    found[0, 0, 0, 0] = 2  # a corner; above 1
    found[0, 1, 5, card.bins[0] - 1] = 2  # an edge
    found[0, 2] = -1  # nowhere above zero
    found[0, 3, 4, [3, 6]] = 3  # a tie: the first one counts
    return found


@pytest.mark.parametrize("refine", ["none", "quarter"])
def test_the_graphs_decoder_is_the_runtimes(refine):
    card = fixtures.heatmap_card(BODY, refine=refine, cell_offset=1.5, unsupervised_keypoints=(5,),
                                 calibration={"body": [[0.0, 0.5, 1.0], [0.0, 0.2, 0.9]]})  # fmt: skip
    expected = Heatmap.from_card(card).decode(maps(card), refine=refine)
    keypoints, scores = onnx_file.run_onnx(exporter.decoder_to_onnx(card), maps(card))
    np.testing.assert_allclose(keypoints, expected[0], atol=1e-5)
    calibrated = np.interp(expected[1], [0, 0.5, 1], [0, 0.2, 0.9])
    calibrated[:, 5] = 0
    np.testing.assert_allclose(scores, calibrated, atol=1e-6)


def test_a_net_that_ends_in_keypoints(exported):
    model, card, _ = exporter.export(exported / "heatmap.pt", with_decode=True)
    assert [output.name for output in model.graph.output] == ["keypoints", "scores"]
    crops = np.random.default_rng(1).standard_normal((3, 3, *SIZE[::-1]), np.float32)
    keypoints, scores = onnx_file.run_onnx(model, crops)
    expected = Heatmap.from_card(card).decode(onnx_file.run_onnx(onnx.load(exported / "heatmap.onnx"), crops)[0])
    np.testing.assert_allclose(keypoints, expected[0], atol=1e-4)
    assert (scores[:, 3] == 0).all()


def test_the_graph_has_no_dark():
    with pytest.raises(EdgeposeError, match="does not refine by 'dark': give refine = 'none' or 'quarter'"):
        exporter.decoder_to_onnx(fixtures.heatmap_card(BODY, refine="dark"))


# --- evaluation and application -----------------------------------------------------------------------------


def test_the_evaluation_refines_as_it_is_told(tmp_path):
    """Exact Gaussians: the highest cell, then a quarter nearer, then all but exact."""
    data = fixtures.dataset(tmp_path / "data", skeleton=BODY)
    model = fixtures.constant_heatmaps(tmp_path / "maps.onnx", fixtures.heatmap_card(BODY, sigma=(1.0, 1.0)))

    def error(*more: str) -> float:
        words = [str(model), "--data", str(data), "--no-baselines", "--no-intervals", *more]
        figures = evaluate.run(evaluate.parse_args(words))["predictors"]["maps"]["parts"]["body"]
        return 1 - figures["mean_oks"]["value"]

    plain, quarter, dark = (error("--refine", name) for name in ("none", "quarter", "dark"))
    assert dark < 0.9 * quarter < 0.9 * plain  # points within two cells of the border stay unrefined
    assert error() == quarter  # the card's


def test_refinements_of_other_nets_are_refused(tmp_path, capsys):
    data = fixtures.dataset(tmp_path / "data", skeleton=BODY)
    model = fixtures.constant_model(tmp_path / "simcc.onnx", fixtures.card(BODY))
    words = [str(model), "--data", str(data), "--no-baselines", "--no-intervals", "--refine"]
    assert evaluate.main([*words, "quarter"]) == 2
    assert "The refinement 'quarter' is unknown: use one of none, dark." in capsys.readouterr().err
    assert evaluate.main([*words, "dark"]) == 0


def test_the_application_runs_a_net_of_heat_maps(tmp_path):
    model = fixtures.constant_heatmaps(tmp_path / "maps.onnx", fixtures.heatmap_card(BODY))
    cv2.imwrite(str(tmp_path / "image.png"), np.full((128, 96, 3), 90, np.uint8))
    words = ["--source", str(tmp_path / "image.png"), "--model", str(model), "--detector", "none", "--headless"]
    assert (
        cli.main([*words, "--flip-test", "--json", str(tmp_path / "out.jsonl"), "--save", str(tmp_path / "o.png")]) == 0
    )
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    (person, *_) = json.loads(line)["people"]
    assert len(person["keypoints"]) == 17
    assert all(0 <= score <= 1 for _, _, score in person["keypoints"])
    assert Path(tmp_path / "o.png").exists()


@pytest.mark.parametrize("name", ["hourglass", "heatmap1d"])
def test_a_trained_kind_runs_in_the_application(exported, tmp_path, name):
    cv2.imwrite(str(tmp_path / "image.png"), np.random.default_rng(0).integers(0, 255, (128, 96, 3), np.uint8))
    words = ["--source", str(tmp_path / "image.png"), "--model", str(exported / f"{name}.onnx"), "--headless"]
    assert cli.main([*words, "--json", str(tmp_path / "out.jsonl")]) == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


def test_scores_of_heat_maps_can_be_calibrated(tmp_path):
    curve = {"body": [[0.0, 0.5, 1.0], [0.0, 0.2, 0.9]]}
    frame, box = np.zeros((64, 64, 3), np.uint8), [[0, 0, 60, 60]]
    cards = fixtures.heatmap_card(BODY), fixtures.heatmap_card(BODY, calibration=curve)
    files = [fixtures.constant_heatmaps(tmp_path / f"{n}.onnx", card, peak=0.5) for n, card in enumerate(cards)]
    plain, mapped = (TopdownEstimator(file, "cpu")(frame, box).scores for file in files)
    np.testing.assert_allclose(mapped, np.interp(plain, *curve["body"]), atol=1e-6)
