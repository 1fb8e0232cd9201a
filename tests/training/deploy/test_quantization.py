"""int8: what it keeps, what it costs, and what is said of it."""

import evaluation_fixtures as fixtures
import export
import numpy as np
import pytest
from deploy_fixtures import BODY
from onnx import TensorProto

from edgepose import EdgeposeError, TopdownEstimator
from edgepose_training.data.coco import read_coco_wholebody
from edgepose_training.deploy import exporter, onnx_file, quantization
from edgepose_training.evaluation import evaluator
from edgepose_training.evaluation.predictors import make_predictor


def test_int8_keeps_the_logits_close_in_a_quarter_of_the_size(trained, exported, people):
    card = exported[1]
    sample = list(quantization.calibration_crops(people, card))
    assert [crop.shape for crop in sample] == [(1, 3, 96, 64)] * 4
    small, _, _ = exporter.export(trained, int8_people=people)
    weights = [tensor for tensor in small.graph.initializer if len(tensor.dims) == 4]
    assert {tensor.data_type for tensor in weights} == {TensorProto.INT8}
    assert len(small.SerializeToString()) < 0.4 * len(exported[0].SerializeToString())
    expected, found = (onnx_file.run_onnx(model, sample[0])[0] for model in (exported[0], small))
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.98


def test_int8_by_the_command_line(trained, tmp_path, capsys, caplog):
    data = fixtures.dataset(tmp_path / "data", split="train", skeleton=BODY)
    output = tmp_path / "int8.onnx"
    assert export.main([str(trained), "-o", str(output), "--int8"]) == 2
    assert "--int8 needs --data" in capsys.readouterr().err
    words = [str(trained), "-o", str(output), "--int8", "--data", str(data)]
    assert export.main(words) == 0
    assert "not measured" in caplog.text  # no val people
    assert "int8 / float32" not in capsys.readouterr().out
    fixtures.dataset(data, skeleton=BODY)
    assert export.main(words) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  body: "))
    measured = TopdownEstimator(output, "cpu").card.accuracy["int8"]
    assert measured["people"] == 4
    assert line == f"  body: {measured['body']['int8']:.3f} / {measured['body']['float32']:.3f}"
    full = tmp_path / "float32.onnx"
    assert export.main([str(trained), "-o", str(full)]) == 0
    people = read_coco_wholebody(data / "annotations/val.json", data / "images", BODY)
    figures, _, _ = evaluator.evaluate([make_predictor(str(full))], people, None, BODY, intervals=False)
    expected = figures["float32"]["parts"]["body"]["mean_oks"]["value"]
    assert measured["body"]["float32"] == pytest.approx(expected, abs=1e-4)
    frame = np.zeros((100, 100, 3), np.uint8)
    poses = TopdownEstimator(output, "cpu")(frame, [[0, 0, 90, 90]])
    assert poses.keypoints.shape == (1, 17, 2)


def test_int8_without_people_is_refused(exported):
    with pytest.raises(EdgeposeError, match="needs images of people"):
        quantization.quantize(exported[0], [])
