"""A checkpoint as an ONNX file: the same answers, a plain graph, a card, and nothing half written."""

import dataclasses
import json

import export
import numpy as np
import onnx
import pytest
import torch
from deploy_fixtures import BODY, INPUT_SIZE, crops
from onnx import TensorProto, numpy_helper

from edgepose import EdgeposeError, TopdownEstimator
from edgepose_training.deploy import exporter, onnx_file, onnx_graph
from edgepose_training.engine import cards, checkpoints
from edgepose_training.evaluation.checkpoint_predictors import CheckpointSession
from edgepose_training.evaluation.predictors import make_predictor

# --- parity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_onnxruntime_gives_torchs_logits_for_any_number_of_people(trained, exported, count):
    net, _ = cards.load_for_export(trained)
    with torch.inference_mode():
        expected = [output.numpy() for output in net(torch.from_numpy(crops(count)))]
    for ours, theirs in zip(expected, onnx_file.run_onnx(exported[0], crops(count)), strict=True):
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(theirs, ours, atol=1e-4 * np.abs(ours).max())


def test_the_averaged_weights_are_the_ones_exported(trained):
    net, _ = cards.load_for_export(trained)
    state = checkpoints.load(trained)
    assert torch.equal(net.state_dict()["head.cls_x.weight"], state["ema"]["head.cls_x.weight"])
    assert not torch.equal(state["ema"]["head.cls_x.weight"], state["model"]["head.cls_x.weight"])


def spoilt(model: onnx.ModelProto) -> onnx.ModelProto:
    """One weight of one classifier changed."""
    (tensor,) = (tensor for tensor in model.graph.initializer if list(tensor.dims) == [256, 2 * INPUT_SIZE[0]])
    values = numpy_helper.to_array(tensor).copy()
    values[10, 20] += 0.1 * np.abs(values).max()
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def test_a_file_that_disagrees_with_torch_is_not_written(trained, tmp_path, monkeypatch, capsys):
    output = tmp_path / "net.onnx"
    output.write_bytes(b"the file before")
    simplify = onnx_graph.simplify
    monkeypatch.setattr(onnx_graph, "simplify", lambda model: spoilt(simplify(model)))
    assert export.main([str(trained), "-o", str(output)]) != 0
    complaint = capsys.readouterr().err.strip()
    assert complaint.startswith("Not written: torch and onnxruntime differ by")
    assert "\n" not in complaint
    assert output.read_bytes() == b"the file before"
    assert list(tmp_path.iterdir()) == [output]


# --- the graph ----------------------------------------------------------------------------------------------


def test_the_graph_is_plain_and_dynamic_in_people_only(exported):
    model, card, _ = exported
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", onnx_file.OPSET)]
    assert not {"Constant", "Identity", "BatchNormalization"} & {node.op_type for node in model.graph.node}
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    width, height = INPUT_SIZE
    assert shapes == {
        "input": ["N", 3, height, width],
        "simcc_x": ["N", 17, card.bins[0]],
        "simcc_y": ["N", 17, card.bins[1]],
    }


@pytest.mark.parametrize(
    ("weights", "kind", "share"), [("float16", TensorProto.FLOAT16, 0.53), ("int8", TensorProto.INT8, 0.3)]
)
def test_stored_smaller_and_computed_in_float32(trained, exported, weights, kind, share):
    model, _, difference = exporter.export(trained, weights=weights)
    assert onnx_file.TOLERANCES["float32"] < difference < onnx_file.TOLERANCES[weights]
    assert len(model.SerializeToString()) < share * len(exported[0].SerializeToString())
    least = onnx_graph.MIN_HALF_ELEMENTS if weights == "float16" else onnx_graph.MIN_INT8_ELEMENTS
    weights_only = (t for t in model.graph.initializer if not t.name.endswith("_scale"))
    large = [t for t in weights_only if np.prod(t.dims) >= least and t.data_type != TensorProto.INT64]
    assert large
    assert {tensor.data_type for tensor in large} == {kind}
    assert {output.dtype for output in onnx_file.run_onnx(model, crops(2))} == {np.dtype(np.float32)}


# --- the card -----------------------------------------------------------------------------------------------


def test_the_file_carries_its_card(trained, tmp_path):
    entries = tmp_path / "card.toml"
    entries.write_text('license = "Apache-2.0"\n[thresholds]\nbody = 0.4\n')
    output = tmp_path / "tiny.onnx"
    assert export.main([str(trained), "-o", str(output), "--card", str(entries)]) == 0
    card = TopdownEstimator(output, "cpu").card
    assert (card.name, card.license, card.thresholds) == ("tiny", "Apache-2.0", {"body": 0.4})
    assert (card.input_size, card.sigma, card.beta, card.split_ratio) == (INPUT_SIZE, (2.83, 3.46), 10.0, 2.0)
    assert card.skeleton.keypoints == BODY.keypoints
    assert card.unsupervised_keypoints == (3,)
    assert "epoch 4 of 9" in card.recipe


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("card.toml", 'licensed = "MIT"', "no entry 'licensed'"),
        ("card.toml", "license = ", "cannot read the card's entries"),
        ("card.json", "[1]", "expected entries by name"),
        ("card.json", '{"score": "best"}', "make no sense"),
    ],
)
def test_entries_that_a_card_cannot_hold_are_refused(trained, tmp_path, capsys, name, text, complaint):
    (tmp_path / name).write_text(text)
    output = tmp_path / "tiny.onnx"
    assert export.main([str(trained), "-o", str(output), "--card", str(tmp_path / name)]) == 2
    assert complaint in capsys.readouterr().err
    assert not output.exists()


def test_a_file_that_is_no_checkpoint_is_one_sentence(tmp_path, capsys):
    (tmp_path / "x.pt").write_bytes(b"nothing")
    assert export.main([str(tmp_path / "x.pt"), "-o", str(tmp_path / "x.onnx")]) == 2
    assert "x.pt" in capsys.readouterr().err


def test_an_output_that_is_a_folder_is_refused_before_the_work(trained, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(export, "export", lambda *_, **__: pytest.fail("worked for nothing"))
    assert export.main([str(trained), "-o", str(folder)]) == 2
    assert capsys.readouterr().err.strip() == f"{folder} is a folder: give the path of a file to write."
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_that_cannot_be_written_leaves_nothing_half_written(exported, tmp_path):
    (tmp_path / "x.onnx").mkdir()  # made while the export ran
    with pytest.raises(EdgeposeError, match=r"x.onnx: cannot be written \(Is a directory\)"):
        onnx_file.write(exported[0], tmp_path / "x.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_a_detectors_checkpoint_is_called_that(tmp_path, capsys):
    checkpoints.save(tmp_path / "det.pt", {"model": {}, "ema": None, "config": {"blocks": 2}})
    assert export.main([str(tmp_path / "det.pt"), "-o", str(tmp_path / "det.onnx")]) == 2
    assert "det.pt: a detector's checkpoint; a pose net's is needed here" in capsys.readouterr().err


def test_entries_of_json_reach_the_card(trained, tmp_path):
    accuracy = tmp_path / "card.json"
    accuracy.write_text(json.dumps({"accuracy": {"body": 0.5}}))
    card = onnx_file.with_entries(cards.load_for_export(trained)[1], onnx_file.read_entries(accuracy))
    assert card.accuracy == {"body": 0.5}


# --- what ships is what is measured -------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
def test_checkpoint_and_file_predict_the_same(trained, exported, tmp_path, flip):
    path = tmp_path / "net.onnx"
    onnx_file.write(exported[0], path)
    frame = np.random.default_rng(5).integers(0, 255, (120, 100, 3), np.uint8)
    bboxes = np.array([[10, 10, 60, 100], [30, 5, 90, 70]], np.float32)
    first, second = (make_predictor(str(model), flip=flip)(frame, bboxes) for model in (trained, path))
    # An argmax may tip over between two equal bins, and the flip test makes pairs of them: an untrained net sees
    # hardly any difference between a crop and its mirror image, so its averaged vector is nearly symmetric.
    assert np.mean(np.abs(first[0] - second[0]).max(-1) > 1e-3) < (0.15 if flip else 0.05)
    np.testing.assert_allclose(first[1], second[1], atol=1e-3)
    assert (first[1][:, 3] == 0).all()


def test_a_checkpoint_is_opened_like_an_onnx_file(trained):
    """calibrate.py opens either by the same words: path, device, threads."""
    session = CheckpointSession(trained, "cpu", 1)
    assert session.card.input_size == INPUT_SIZE
    assert session.input_shape == ("N", 3, *INPUT_SIZE[::-1])


def test_a_checkpoint_can_be_looked_at_on_smaller_pictures(trained):
    """Bins a pixel grow as the image shrinks, so points stay in the frame's pixels."""
    frame = np.random.default_rng(5).integers(0, 255, (120, 100, 3), np.uint8)
    predictor = make_predictor(str(trained), input_size=(32, 48))
    keypoints, _ = predictor(frame, np.array([[10, 10, 60, 100]], np.float32))
    center, half = np.array([35, 55]), np.array([90 * 2 / 3, 90]) * 1.25 / 2
    assert (np.abs(keypoints[0] - center) <= half + 1e-3).all()
    assert np.ptp(keypoints[0], axis=0).max() > half.max() / 2
    with pytest.raises(EdgeposeError, match="one input size"):
        make_predictor("net.onnx", input_size=(32, 48))


# --- thresholds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "shown"),
    [
        ({}, {"body": exporter.BARE_THRESHOLD}),
        ({"thresholds": {"body": 0.4}}, {"body": 0.4}),
        ({"calibration": {"body": [[0, 0.1, 1], [0, 0.9, 1]]}}, {}),  # calibrated scores have the runtime's threshold
        ({"score": "min"}, {}),
    ],
)
def test_bare_scores_have_a_threshold_of_their_size(trained, entries, shown):
    assert exporter.export(trained, entries=entries)[1].thresholds == shown


def test_the_threshold_of_bare_scores_shows_the_points_that_are_mostly_right():
    # edgepose-t's calibration tells the share of right points by bare score; the runtime's .3 would ask for nearly all
    card = TopdownEstimator("edgepose-t", threads=1).card
    bare = exporter.with_thresholds(dataclasses.replace(card, calibration={}, thresholds={}))
    for part, (score, right) in card.calibration.items():
        assert 0.4 < np.interp(bare.thresholds[part], score, right) < 0.7, part
