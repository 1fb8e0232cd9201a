"""An exported file becomes a checkpoint again: the same answers in eval mode, in training, and after another export."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from deploy_fixtures import BODY, INPUT_SIZE, crops
from onnx import helper

from edgepose import EdgeposeError, models
from edgepose_training.config import Config
from edgepose_training.deploy import exporter, onnx_file, onnx_graph, onnx_weights, restoring
from edgepose_training.deploy.quantization import quantize
from edgepose_training.detector import restoring as detector_restoring
from edgepose_training.engine import cards, checkpoints
from edgepose_training.models import build_pose_net
from edgepose_training.models.recognition import num_keypoints, recognize


def images(size, count=8):
    """Smooth pictures, so that the cells of a map are alike as a photograph's are."""
    width, height = size
    rng = np.random.default_rng(2)
    coarse = torch.from_numpy(rng.standard_normal((count, 3, height // 8, width // 8), np.float32))
    return [torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")]


def written(path, model):
    path.write_bytes(model.SerializeToString())
    return path


def net_of(state):
    net = checkpoints.build_net(Config.from_dict(state["config"]), BODY)
    net.load_state_dict(state["model"])
    return net.eval()


def answers(net, batch):
    with torch.inference_mode():
        outputs = net(batch)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def relative(ours, theirs):
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - torch.as_tensor(b)).abs().max() / torch.as_tensor(b).abs().max()) for a, b in pairs)


@pytest.mark.parametrize("weights", ["float32", "float16", "int8"])
def test_a_restored_net_answers_as_its_file_does(trained, tmp_path, weights):
    model, card, _ = exporter.export(trained, weights=weights)
    state = restoring.restore(written(tmp_path / "net.onnx", model), images)
    config = Config.from_dict(state["config"])
    assert (config.backbone, config.size, config.head, config.input_size) == ("cspnext", "t", "rtmcc", INPUT_SIZE)
    assert (config.sigma, config.beta, config.split_ratio) == (card.sigma, card.beta, card.split_ratio)
    assert state["skeleton"] == BODY.to_dict()
    assert state["unsupervised_keypoints"] == [3]
    assert relative(answers(net_of(state), torch.from_numpy(crops(3))), onnx_file.run_onnx(model, crops(3))) < 1e-4


def test_it_answers_in_train_mode_as_in_eval_mode(trained, tmp_path):
    """On the images that the statistics are of; without those statistics it does not."""
    model, _, _ = exporter.export(trained)
    net = net_of(restoring.restore(written(tmp_path / "net.onnx", model), images))
    (batch,) = images(INPUT_SIZE)
    plain = answers(net, batch)
    assert relative(answers(net.train(), batch), plain) < 1e-3
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert min(float(norm.weight.detach().min()) for norm in norms) > 0
    with torch.no_grad():
        for norm in norms:  # the same in eval mode, but not of the images
            norm.bias.add_(0.1)
            norm.running_mean.add_(0.1 * (norm.running_var + norm.eps).sqrt() / norm.weight)
    assert relative(answers(net.eval(), batch), plain) < 1e-3
    assert relative(answers(net.train(), batch), plain) > 1e-2


def test_statistics_over_several_batches_are_those_of_all():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1, bias=False), torch.nn.BatchNorm2d(4)).eval()
    pictures = torch.randn(10, 3, 8, 8) * 3 + 1
    restoring.rebuild_norms(net, {"1": torch.arange(4.0)}, [pictures[:7], pictures[7:]])
    with torch.no_grad():
        before = net[0](pictures)
    torch.testing.assert_close(net[1].running_mean, before.mean((0, 2, 3)))
    torch.testing.assert_close(net[1].running_var, before.var((0, 2, 3), correction=0))
    with torch.no_grad():
        torch.testing.assert_close(net(pictures), before + torch.arange(4.0)[:, None, None], atol=1e-4, rtol=1e-4)


NETS = [
    ("resnet", "50", "simcc_deconv"),
    ("hrnet", "w32", "simcc"),
    ("stem", "", "tokenpose"),
    ("resnet", "50", "heatmap1d"),
]


@pytest.mark.parametrize(("backbone", "size", "head"), NETS)
def test_every_net_that_can_be_exported_is_restored(tmp_path, backbone, size, head):
    """Straight from its first weights, many of which are equal and stand in the file once."""
    torch.manual_seed(1)
    side = (64, 64)
    config = Config(backbone=backbone, size=size, head=head, input_size=side, sigma=(2.83, 2.83), skeleton="coco17")
    net = build_pose_net(size, 17, side, backbone=backbone, head=head)
    state = {"model": net.state_dict(), "ema": None, "config": config.to_dict(), "skeleton": BODY.to_dict()}
    checkpoints.save(tmp_path / "net.pt", state)
    model, _, _ = exporter.export(tmp_path / "net.pt")
    restored = restoring.restore(written(tmp_path / "net.onnx", model), images)
    assert [restored["config"][key] for key in ("backbone", "size", "head")] == [backbone, size, head]
    batch = torch.randn(2, 3, 64, 64)
    assert relative(answers(net_of(restored), batch), answers(net.eval(), batch)) < 1e-4


LABELS = {
    "smoothed": {"label_loss": "simcc", "label_kind": "smooth", "beta": 1.0},
    "low beta": {"label_loss": "rtmpose", "beta": 1.0},
    "wide maps": {"head": "heatmap", "heatmap_sigma": 3.0},
    "former cells": {"head": "heatmap", "heatmap_cells": "centers"},
    "vectors": {"head": "heatmap1d"},
}


@pytest.mark.parametrize("labels", LABELS)
def test_points_and_scores_are_read_off_as_before(tmp_path, labels):
    """Whatever the labels were: what the checkpoint's card says of the answers is what the file's card says."""
    values = {"size": "n", "input_size": [64, 64], "skeleton": "coco17"} | LABELS[labels]
    cells = values.pop("heatmap_cells", "corners")
    config = Config.from_dict(values)
    net = checkpoints.build_net(config, BODY)
    state = {"model": net.state_dict(), "ema": None, "config": config.to_dict(), "skeleton": BODY.to_dict()}
    checkpoints.save(tmp_path / "net.pt", state | {"heatmap_cells": cells})
    terms = {"license": "research only", "data": "people of my own"}
    model, card, _ = exporter.export(tmp_path / "net.pt", entries=terms, with_decode=True)
    restored = restoring.restore(written(tmp_path / "net.onnx", model), images)
    checkpoints.save(tmp_path / "again.pt", restored)
    _, again = cards.load_for_export(tmp_path / "again.pt")
    same = {name: getattr(card, name) for name in ("codec", "split_ratio", "sigma", "beta", "score", "refine",
                                                   "cell_offset", "score_knots", "license", "data")}  # fmt: skip
    assert {name: same[name] for name in terms} == terms
    assert {name: getattr(again, name) for name in same} == same
    assert bool(card.score_knots) == (labels in ("smoothed", "low beta"))


def test_nets_of_heat_maps_are_recognized():
    for backbone, size, head in (("hourglass", "2x64", "heatmap"), ("hrnet", "w32", "heatmap")):
        with torch.device("meta"):
            weights = build_pose_net(size, 5, (64, 64), backbone=backbone, head=head).state_dict()
        assert recognize(weights) == (backbone, size, head)
        assert num_keypoints(weights, head) == 5


def test_a_file_with_decoder_and_one_in_int8_are_restored(trained, tmp_path):
    """Both hold the float net: behind its vectors stands a decoder, or around its convolutions stand quantizers."""
    plain, card, _ = exporter.export(trained)
    expected = onnx_file.run_onnx(plain, crops(2))
    decoding, _, _ = exporter.export(trained, with_decode=True)
    net = net_of(restoring.restore(written(tmp_path / "decoding.onnx", decoding), images))
    assert relative(answers(net, torch.from_numpy(crops(2))), expected) < 1e-4
    small = quantize(plain, [crop[None] for crop in crops(4)])
    onnx_file.sign(small, card)
    net = net_of(restoring.restore(written(tmp_path / "small.onnx", small), images))
    assert 1e-4 < relative(answers(net, torch.from_numpy(crops(2))), expected) < 0.2  # rounded weights


def test_a_relu_that_a_quantizer_removed_is_put_back():
    """onnxruntime leaves it out where the numbers behind it are cut at zero anyway."""
    tensors = [onnx.numpy_helper.from_array(np.array(value), name) for name, value in
               {"scale": np.float32(0.1), "zero": np.uint8(0), "middle": np.uint8(128)}.items()]  # fmt: skip

    def through(zero: str) -> np.ndarray:
        nodes = [helper.make_node("QuantizeLinear", ["x", "scale", zero], ["q"]),
                 helper.make_node("DequantizeLinear", ["q", "scale", zero], ["y"])]  # fmt: skip
        values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in "xy"]
        graph = helper.make_graph(nodes, "pair", values[:1], values[1:], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx_file.run_onnx(onnx_weights.float_graph(model), np.array([-1, 0.55, 3], np.float32))[0]

    np.testing.assert_array_equal(through("zero"), np.array([0, 0.55, 3], np.float32))
    np.testing.assert_array_equal(through("middle"), np.array([-1, 0.55, 3], np.float32))


def test_exported_again_it_is_the_same_file(trained, tmp_path):
    first, _, _ = exporter.export(trained)
    state = restoring.restore(written(tmp_path / "first.onnx", first), images)
    checkpoints.save(tmp_path / "again.pt", state)
    second, card, _ = exporter.export(tmp_path / "again.pt")
    assert card.recipe == "best, made a checkpoint again"
    answer = [torch.from_numpy(y) for y in onnx_file.run_onnx(second, crops(2))]
    assert relative(answer, onnx_file.run_onnx(first, crops(2))) < 1e-4


def test_what_this_project_did_not_export_is_one_sentence(exported, tmp_path):
    model, card, _ = exported
    (tmp_path / "none.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(EdgeposeError, match=r"none\.onnx: not an ONNX file"):
        restoring.restore(tmp_path / "none.onnx", images)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    with pytest.raises(EdgeposeError, match="no model card, so this project did not export it"):
        restoring.restore(written(tmp_path / "bare.onnx", bare), images)
    with pytest.raises(EdgeposeError, match="expected a pose model, got a detector model"):
        restoring.restore("edgepose-det", images)
    with pytest.raises(EdgeposeError, match="There is no model 'edgepose-q'"):
        restoring.restore("edgepose-q", images)
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for node in other.graph.node:
        node.name = node.name.replace("/backbone", "/body")
    with pytest.raises(EdgeposeError, match="no net of this project"):
        restoring.restore(written(tmp_path / "other.onnx", other), images)
    wide = dataclasses.replace(card, skeleton=type(BODY).load("mpii16"), unsupervised_keypoints=())
    onnx_graph.write_card(other, wide)
    for node in other.graph.node:
        node.name = node.name.replace("/body", "/backbone")
    with pytest.raises(EdgeposeError, match=r"head\.final_layer\.weight expected \[16, .*, got \[17, "):
        restoring.restore(written(tmp_path / "wide.onnx", other), images)


def test_answers_that_differ_are_refused(exported, tmp_path):
    """Two layers of the same shape exchanged: every weight fits, and the net is another.

    Late ones: what a random net answers hardly depends on its first layers.
    """
    model = onnx.ModelProto()
    model.CopyFrom(exported[0])
    pair = [node for node in model.graph.node if node.name.endswith(("main_conv/conv/Conv", "short_conv/conv/Conv"))]
    names = [node.name for node in pair[-2:]]
    for node, name in zip(pair[-2:], reversed(names), strict=True):
        node.name = name
    with pytest.raises(EdgeposeError, match="its weights are not understood"):
        restoring.restore(written(tmp_path / "net.onnx", model), images)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in models.available() if name != "edgepose-det"])
def test_the_shipped_pose_nets_are_restored(name):
    """`restore` compares with the file itself, which is what the app runs."""
    state = restoring.restore(name, lambda size: images(size, 2))
    assert f"edgepose-{state['config']['size']}" == name.removesuffix("-int8")
    assert len(state["skeleton"]["keypoints"]) == 133


def test_the_shipped_detector_is_restored():
    state = detector_restoring.restore("edgepose-det", images((320, 320), 2))
    assert state["config"]["channels"] == (16, 32, 64, 128, 256)
    assert (state["config"]["blocks"], state["config"]["neck"]) == ((1, 2, 2, 1), 64)
    with pytest.raises(EdgeposeError, match="expected a detector model, got a pose model"):
        detector_restoring.restore("edgepose-t", images((320, 320), 2))


def test_a_restored_checkpoint_is_complete(tmp_path, exported):
    """It loads, evaluates and exports like one that was trained."""
    path = written(tmp_path / "net.onnx", exported[0])
    checkpoints.save(tmp_path / "net.pt", restoring.restore(path, images))
    net, config, skeleton, _ = checkpoints.load_net(tmp_path / "net.pt")
    assert (config.size, skeleton) == ("t", BODY)
    assert cards.load_for_export(tmp_path / "net.pt")[1].skeleton == BODY
    assert net.training is False
