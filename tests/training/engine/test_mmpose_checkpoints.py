"""Checkpoints that mean harm, or are none: no code of theirs runs, and each gets one sentence."""

import pickle
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import convert  # noqa: E402
from recorded_answers import mmpose_weights  # noqa: E402

from edgepose import EdgeposeError  # noqa: E402
from edgepose_training.engine import checkpoints, conversion, mmpose_checkpoints, starting  # noqa: E402
from edgepose_training.models import build_pose_net  # noqa: E402


class Hostile:
    """Runs a command when it is unpickled the ordinary way."""

    def __init__(self, function, *args) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def write_with(path: Path, content: object, zipped: bool) -> Path:
    torch.save(
        {"state_dict": mmpose_weights("rtmpose-l-17"), "meta": content}, path, _use_new_zipfile_serialization=zipped
    )
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("door", ["read", "convert", "init", "project"])
def test_no_code_of_a_file_runs(tmp_path, door, zipped, capsys):
    marker = tmp_path / "it ran"
    file = write_with(tmp_path / "hostile.pth", Hostile(Path.touch, marker), zipped)
    # The weapon is loaded: read the usual way, the file does what it wants.
    torch.load(file, weights_only=False)
    assert marker.exists()
    marker.unlink()
    match door:
        case "read":
            with pytest.raises(EdgeposeError, match="refused, it asks to run"):
                mmpose_checkpoints.read(file)
        case "convert":
            assert convert.main([str(file), "-o", str(tmp_path / "out.pt")]) == 2
            assert "refused, it asks to run" in capsys.readouterr().err
            assert not (tmp_path / "out.pt").exists()
        case "init":
            with pytest.raises(EdgeposeError, match="refused"):
                starting.initialize(build_pose_net("n", 5, (64, 64)), file)
        case "project":
            with pytest.raises(EdgeposeError, match="refused, it asks to run"):
                checkpoints.load(file)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("function", "argument"),
    [(eval, "1"), (exec, "1"), (__import__, "antigravity"), (pickle.loads, pickle.dumps(1)), (Path, "file")],
)
def test_the_usual_weapons_are_refused_by_name(tmp_path, function, argument):
    file = write_with(tmp_path / "hostile.pth", Hostile(function, argument), zipped=True)
    with pytest.raises(EdgeposeError, match=rf"refused, it asks to run \S*{function.__name__}"):
        mmpose_checkpoints.read(file)


def test_getattr_reaches_nothing(tmp_path):
    """mmengine's HistoryBuffer needs the name. What stands there hands no method to whoever calls its result."""
    file = write_with(tmp_path / "getattr.pth", Hostile(getattr, torch.Tensor, "numpy"), zipped=True)
    assert isinstance(mmpose_checkpoints.read(file)["meta"], mmpose_checkpoints.Inert)


def test_every_stand_in_is_inert(tmp_path):
    """A file that names them gets nothing built, whatever it passes to them."""
    opcodes = [b"\x80\x02}q\x00("]
    for i, name in enumerate(mmpose_checkpoints.STAND_INS):
        module, _, attribute = name.rpartition(".")
        key = f"key{i}".encode()
        opcodes.append(b"X" + len(key).to_bytes(4, "little") + key)
        opcodes.append(
            f"c{module}\n{attribute}\n".encode() + b"(X\x01\x00\x00\x00xK\x01tR" + b"K\x02b"
        )  # reduce, build
    program = b"".join(opcodes) + b"u."
    path = tmp_path / "names.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("names/data.pkl", program)
        archive.writestr("names/version", b"3\n")
        archive.writestr("names/byteorder", b"little")
    content = mmpose_checkpoints.read(path)
    assert len(content) == len(mmpose_checkpoints.STAND_INS)
    assert {type(value) for value in content.values()} == {mmpose_checkpoints.Inert}
    assert all(vars(value) == {} for value in content.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a checkpoint"),
        (b"<!DOCTYPE html><html>", "not a checkpoint"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(range(256)) * 40, "not a checkpoint"),  # a video
        (b"PK\x03\x04" + bytes(200), "not a checkpoint"),  # half a zip
        (None, "cannot read the checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_one_sentence(tmp_path, content, message, capsys):
    file = tmp_path / "net.pth"
    if content is not None:
        file.write_bytes(content)
    assert convert.main([str(file), "-o", str(tmp_path / "net.pt")]) == 2
    complaint = capsys.readouterr().err.strip()
    assert message in complaint
    assert "\n" not in complaint
    assert len(complaint) < len(str(file)) + 80  # torch's own words are a page


def test_a_file_of_mmpose_is_told_what_to_do_with_it(tmp_path):
    torch.save({"state_dict": mmpose_weights("rtmpose-l-17")}, tmp_path / "net.pth")
    with pytest.raises(EdgeposeError, match=r"convert a file of mmpose with training/convert\.py"):
        checkpoints.load(tmp_path / "net.pth")


def test_an_exported_model_is_told_the_same(tmp_path):
    with pytest.raises(EdgeposeError, match=r"net\.onnx: an exported model; training/convert\.py makes it"):
        checkpoints.load(tmp_path / "net.onnx")


def test_nets_that_are_not_rtmpose_are_named(tmp_path):
    def converting(weights, **kwargs):
        torch.save({"state_dict": weights}, tmp_path / "net.pth")
        return conversion.convert(tmp_path / "net.pth", **kwargs)

    with pytest.raises(EdgeposeError, match="its backbone is none of CSPNeXt, ResNet, HRNet"):
        converting({"backbone.patch_embed.weight": torch.zeros(1), "head.final_layer.weight": torch.zeros(1)})
    with pytest.raises(EdgeposeError, match="give the one it was trained for"):
        converting(mmpose_weights("hrnet-w32-heatmap"))
    weights = mmpose_weights("rtmpose-t-17")
    with pytest.raises(EdgeposeError, match=r'Unexpected key.*"neck.conv.weight"'):
        converting(weights | {"neck.conv.weight": torch.zeros(1)})
    with pytest.raises(EdgeposeError, match="Missing key"):
        converting({name: value for name, value in weights.items() if name != "head.gau.gamma"})
    with pytest.raises(EdgeposeError, match="skeleton coco_wholebody has 133 points, the net 17"):
        converting(weights, skeleton="coco_wholebody")
    with pytest.raises(EdgeposeError, match="fit no input size"):
        converting(weights | {"head.cls_x.weight": torch.zeros(383, 256)})
    with pytest.raises(EdgeposeError, match="no weights inside"):
        converting({})


def test_a_checkpoint_of_this_project_needs_no_conversion(tmp_path, capsys):
    torch.save({"model": {"x": torch.zeros(1)}, "config": {}, "ema": None}, tmp_path / "last.pt")
    assert convert.main([str(tmp_path / "last.pt"), "-o", str(tmp_path / "net.pt")]) == 2
    assert capsys.readouterr().err.strip().endswith("a checkpoint of this project already; there is nothing to convert")


def test_an_exported_model_wants_shards(tmp_path, capsys):
    assert convert.main(["edgepose-t", "-o", str(tmp_path / "net.pt")]) == 2
    assert "edgepose-t: give crops like those to train on as --shards" in capsys.readouterr().err


def test_the_output_is_a_pt_file(tmp_path, capsys):
    torch.save({"state_dict": mmpose_weights("rtmpose-l-17")}, tmp_path / "net.pth")
    assert convert.main([str(tmp_path / "net.pth"), "-o", str(tmp_path / "net.onnx")]) == 2
    assert "--output expected a .pt file" in capsys.readouterr().err
