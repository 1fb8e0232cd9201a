"""The decoder inside the graph says what the runtime's says."""

import evaluation_fixtures as fixtures
import numpy as np
import onnx
import pytest
from deploy_fixtures import BODY, INPUT_SIZE, crops

from edgepose import ModelCard
from edgepose.codecs import SimCC
from edgepose.modelcard import SCORES
from edgepose_training.deploy import exporter, onnx_file


def decoded(card: ModelCard, simcc_x: np.ndarray, simcc_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a graph that is nothing but the decoder."""
    names = ("simcc_x", "simcc_y")
    model = exporter.decoder_to_onnx(card)
    onnx.checker.check_model(model, full_check=True)
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["keypoints", "scores"], dict(zip(names, (simcc_x, simcc_y), strict=True)))


def logits(count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    width, height = INPUT_SIZE
    simcc_x = generator.normal(size=(count, 17, 2 * width)).astype(np.float32)
    simcc_y = generator.normal(size=(count, 17, 2 * height)).astype(np.float32)
    simcc_x[:, :, 40] += 2
    simcc_x[0, 0, [7, 9]] = 50  # a tie: the first one counts
    simcc_y[0, 1] = -3.0  # nowhere above zero
    return simcc_x, simcc_y


@pytest.mark.parametrize("score", SCORES)
def test_the_graphs_decoder_is_simcc_decode(score):
    card = fixtures.card(BODY, input_size=INPUT_SIZE, sigma=(2.83, 3.46), score=score)
    simcc_x, simcc_y = logits()
    keypoints, scores = SimCC.from_card(card).decode(simcc_x, simcc_y, score=score)
    theirs = decoded(card, simcc_x, simcc_y)
    np.testing.assert_array_equal(theirs[0], keypoints)
    np.testing.assert_allclose(theirs[1], scores, rtol=2e-5, atol=1e-6)


def test_the_graphs_decoder_follows_calibration_and_untrained_points():
    curve = [[0.0, 0.2, 0.6, 1.0], [0.1, 0.1, 0.9, 0.95]]
    plain = fixtures.card(BODY, input_size=INPUT_SIZE, sigma=(2.83, 3.46))
    card = fixtures.card(
        BODY, input_size=INPUT_SIZE, sigma=(2.83, 3.46), calibration={"body": curve}, unsupervised_keypoints=(2, 16)
    )
    _, raw = decoded(plain, *logits())
    _, scores = decoded(card, *logits())
    expected = np.interp(raw, *curve)
    expected[:, [2, 16]] = 0
    assert np.ptp(raw) > 0.1  # the curve is walked along, not only met at its ends
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_export_with_decode_ends_in_keypoints_and_scores(trained):
    model, _, _ = exporter.export(trained, with_decode=True)
    assert [output.name for output in model.graph.output] == ["keypoints", "scores"]
    keypoints, scores = onnx_file.run_onnx(model, crops(3))
    assert keypoints.shape == (3, 17, 2)
    assert scores.shape == (3, 17)
    assert (scores[:, 3] == 0).all()


def test_the_decoder_goes_behind_quantized_and_rounded_weights(trained, people):
    model, card, _ = exporter.export(trained, with_decode=True, int8_people=people, weights="int8")
    logits, _, _ = exporter.export(trained, int8_people=people, weights="int8")
    assert list(model.metadata_props) == list(logits.metadata_props)
    keypoints, scores = onnx_file.run_onnx(model, crops(3))
    expected = SimCC.from_card(card).decode(*onnx_file.run_onnx(logits, crops(3)), score=card.score)
    np.testing.assert_array_equal(keypoints, expected[0])
    expected[1][:, 3] = 0
    np.testing.assert_allclose(scores, expected[1], rtol=2e-5, atol=1e-6)
