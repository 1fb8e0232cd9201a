"""Sessions: one-sentence errors for users' mistakes, and the device in use."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepose import _C, Detector, EdgeposeError, ModelCard, Skeleton, models
from edgepose.posemodel import PoseModel
from edgepose.runtime import Session


@pytest.fixture
def body_net(constant_net, peaks) -> Path:
    return constant_net({"simcc_x": peaks(384, [5] * 17), "simcc_y": peaks(512, [7] * 17)})


def _sentence(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_what_a_session_knows(body_net: Path) -> None:
    session = Session(body_net, "cpu", threads=1)
    assert (session.device, session.card, session.input_shape) == ("cpu", None, ("N", 3, 256, 192))
    assert session.output_shapes() == {"simcc_x": (1, 17, 384), "simcc_y": (1, 17, 512)}
    outputs = session.run(np.zeros((3, 3, 256, 192), np.float32))
    assert {name: rows.shape for name, rows in outputs.items()} == {"simcc_x": (3, 17, 384), "simcc_y": (3, 17, 512)}


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="an option of x86-64")
@pytest.mark.parametrize("vnni", [True, False])
def test_int8_nets_add_up_where_the_processor_would_overflow(body_net: Path, monkeypatch, vnni: bool) -> None:
    monkeypatch.setattr(_C, "has_vnni", lambda: vnni)
    options = Session(body_net, "cpu")._session.get_session_options()
    if vnni:
        with pytest.raises(RuntimeError):  # nobody has set it
            options.get_session_config_entry("session.x64quantprecision")
    else:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux tells what the processor can do")
def test_vnni_is_what_linux_says() -> None:
    words = set(Path("/proc/cpuinfo").read_text().split())
    assert _C.has_vnni() == bool({"avx512_vnni", "avx_vnni"} & words)


def test_the_gpu_sees_few_batch_sizes(body_net: Path, monkeypatch) -> None:
    """As on a GPU: batches are filled up to a bucket, and the filling never comes out."""
    session = Session(body_net, "cpu")
    session.device = "cuda"
    sizes: list[int] = []
    real = session._session

    class Recorder:
        def run(self, names, feed):
            sizes.append(len(feed["input"]))
            return real.run(names, feed)

    monkeypatch.setattr(session, "_session", Recorder())
    for count in (1, 3, 5, 32, 40):
        assert len(session.run(np.zeros((count, 3, 256, 192), np.float32))["simcc_x"]) == count
    assert sizes == [1, 4, 8, 32, 32, 32]


def test_a_wrong_path() -> None:
    with pytest.raises(EdgeposeError) as error:
        Session("no/such/model.onnx")
    assert "There is no model 'no/such/model.onnx'" in _sentence(error)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(EdgeposeError, match="is a folder"):
        Session(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a checkpoint", b"version https://git-lfs.github.com/spec/v1\n"])
def test_no_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(EdgeposeError) as error:
        Session(path)
    assert "model.onnx is not an ONNX model" in _sentence(error)


def test_no_simcc_model_names_its_outputs(constant_net) -> None:
    path = constant_net({"heatmaps": np.zeros((1, 17, 64, 48))})
    with pytest.raises(EdgeposeError) as error:
        PoseModel(Session(path, "cpu"))
    assert "heatmaps ['N', 17, 64, 48]" in _sentence(error)


def test_a_carded_detector_is_no_pose_model(constant_net) -> None:
    path = constant_net({"boxes": np.zeros((1, 9, 5))}, card=ModelCard("det", "detector"))
    with pytest.raises(EdgeposeError, match="is a detector: a pose model is needed here"):
        PoseModel(Session(path, "cpu"))


def test_a_broken_card(constant_net, peaks) -> None:
    onnx = pytest.importorskip("onnx")
    path = constant_net({"simcc_x": peaks(384, [5] * 17), "simcc_y": peaks(512, [7] * 17)}, card=ModelCard("x"))
    model = onnx.load(path)
    model.metadata_props[0].value = '{"format": 1, "shoe_size": 43}'
    onnx.save(model, path)
    with pytest.raises(EdgeposeError) as error:
        Session(path)
    assert "shoe_size" in _sentence(error)


OTHER_NETS = [ModelCard("x", input_size=(96, 128)), ModelCard("x", skeleton=Skeleton.load("hand21"))]


@pytest.mark.parametrize("card", OTHER_NETS)
def test_a_card_of_another_net(constant_net, peaks, card: ModelCard) -> None:
    path = constant_net({"simcc_x": peaks(384, [5] * 17), "simcc_y": peaks(512, [7] * 17)}, card=card)
    with pytest.raises(EdgeposeError) as error:
        PoseModel(Session(path, "cpu"))
    assert "does not fit its card: simcc_x is ['N', 17, 384]" in _sentence(error)


@pytest.mark.parametrize(("name", "words"), [
    ("best.pt", "export it with `python training/export.py` and give the .onnx file"),
    ("rtmpose.pth", "convert it with `python training/convert.py`, then export it"),
])  # fmt: skip
def test_a_checkpoint_in_place_of_a_model(tmp_path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(EdgeposeError) as error:
        Session(tmp_path / name, "cpu")
    assert words in _sentence(error)
    with pytest.raises(EdgeposeError, match=r"python training/export_detector.py"):
        Detector(tmp_path / name, "cpu")


def test_an_unknown_score(body_net: Path) -> None:
    with pytest.raises(EdgeposeError, match="'best' is unknown: use one of entropy, calibrated, softmax, min"):
        PoseModel(Session(body_net, "cpu"), "best")


def test_cuda_without_a_gpu(body_net: Path, monkeypatch) -> None:
    monkeypatch.setattr("edgepose.runtime._has_driver", lambda: False)
    with pytest.raises(EdgeposeError) as error:
        Session(body_net, "cuda")
    assert "CUDA was asked for" in _sentence(error)
    assert Session(body_net, "auto").device == "cpu"


@pytest.mark.parametrize("threads", [0, -1, 1025, 100_000])
def test_absurd_numbers_of_threads(body_net: Path, threads: int) -> None:
    with pytest.raises(EdgeposeError) as error:
        Session(body_net, "cpu", threads)
    assert f"threads is {threads}: give a whole number from 1 to 1024" in _sentence(error)


def test_an_unknown_device(body_net: Path) -> None:
    with pytest.raises(EdgeposeError, match=r"'tpu' is unknown: use one of auto, cpu, cuda, .*openvino"):
        Session(body_net, "tpu")


class OtherOrt:
    """onnxruntime as it would be with another provider, which starts, refuses, or is left out without a word."""

    def __init__(self, provider: str, behavior: str) -> None:
        import onnxruntime

        self._real, self._provider, self._behavior = onnxruntime, provider, behavior
        self.SessionOptions = onnxruntime.SessionOptions

    def get_available_providers(self) -> list[str]:
        return [self._provider, "CPUExecutionProvider"]

    def preload_dlls(self) -> None:
        sys.stdout.write("Failed to load libcudnn.so.9: libcudnn.so.9: cannot open shared object file\n")

    def InferenceSession(self, path: str, options, providers: list, enable_fallback: int = 1):
        first = providers[0][0] if isinstance(providers[0], tuple) else providers[0]
        session = self._real.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        if first == self._provider:
            assert enable_fallback == 0  # which prints on standard output
            if self._behavior == "refuses":
                raise RuntimeError("/src/a.cc:7 void f(int) Please install\n the driver.")
            if self._behavior == "starts":
                session.get_providers = lambda: [first, "CPUExecutionProvider"]
        return session


@pytest.fixture
def other_ort(monkeypatch):
    def put(provider: str, behavior: str) -> None:
        ort = OtherOrt(provider, behavior)
        monkeypatch.setattr("edgepose.runtime._onnxruntime", lambda: ort)
        monkeypatch.setattr("edgepose.runtime._has_driver", lambda: True)

    return put


@pytest.mark.parametrize(
    "provider", ["OpenVINOExecutionProvider", "CUDAExecutionProvider", "NeverHeardOfExecutionProvider"]
)
def test_any_listed_provider_can_be_named(body_net: Path, other_ort, provider: str, caplog) -> None:
    other_ort(provider, "starts")
    device = provider.removesuffix("ExecutionProvider").lower()
    assert Session(body_net, device).device == device
    assert f"runs on {device}, where nobody has compared its results yet" in caplog.text


def test_one_that_refuses_says_why_and_what_to_install(body_net: Path, other_ort) -> None:
    other_ort("OpenVINOExecutionProvider", "refuses")
    with pytest.raises(EdgeposeError) as error:
        Session(body_net, "openvino")
    assert _sentence(error) == (
        "OPENVINO was asked for, but onnxruntime could not start it (Please install the driver): "
        "install `onnxruntime-openvino`, or use the CPU."
    )


def test_missing_libraries_are_named_and_not_printed(body_net: Path, other_ort, capsys) -> None:
    other_ort("CUDAExecutionProvider", "left out")
    with pytest.raises(EdgeposeError, match=r"\(libcudnn.so.9 cannot be loaded\): install `edgepose\[cuda\]`"):
        Session(body_net, "cuda")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("behavior", ["left out", "refuses"])
def test_auto_falls_back_visibly(body_net: Path, other_ort, behavior: str, caplog) -> None:
    other_ort("CUDAExecutionProvider", behavior)
    assert Session(body_net, "auto").device == "cpu"
    assert "runs on the CPU: there is CUDA, but onnxruntime could not start it" in caplog.text


def test_a_device_of_another_package(body_net: Path, other_ort) -> None:
    other_ort("OpenVINOExecutionProvider", "starts")
    with pytest.raises(EdgeposeError) as error:
        Session(body_net, "dml")
    assert "is a build for openvino, cpu: install `onnxruntime-directml` instead of it" in _sentence(error)


def test_without_a_shipped_model(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(models, "_FOLDER", tmp_path)
    with pytest.raises(EdgeposeError) as error:
        Session("default")
    assert "no default model" in _sentence(error)


def test_names_of_shipped_models(tmp_path: Path, body_net: Path, monkeypatch) -> None:
    monkeypatch.setattr(models, "_FOLDER", tmp_path)
    (tmp_path / "edgepose-t.onnx").write_bytes(body_net.read_bytes())
    assert models.available() == ["edgepose-t"]
    assert Session("default").path == Session("edgepose-t").path == tmp_path / "edgepose-t.onnx"


@pytest.mark.parametrize("path", [*models._FOLDER.glob("*.onnx")], ids=lambda path: path.stem)
def test_shipped_models_carry_a_card(path: Path) -> None:
    card = Session(path, "cpu").card
    assert card is not None
    assert card.license
    assert card.data
    if card.task == "detector":
        assert 0 < Detector(path, "cpu").threshold < 1
    else:
        assert PoseModel(Session(path, "cpu")).skeleton.num_keypoints == 133


def test_a_card_of_another_input(constant_net, peaks) -> None:
    card = ModelCard("x", input_size=(96, 128), split_ratio=4.0)  # the bins are right
    path = constant_net({"simcc_x": peaks(384, [5] * 17), "simcc_y": peaks(512, [7] * 17)}, card=card)
    with pytest.raises(EdgeposeError) as error:
        PoseModel(Session(path, "cpu"))
    assert "its input is ['N', 3, 256, 192], but 96 × 128 pixels" in _sentence(error)


def test_idle_workers_do_not_spin(constant_net, peaks) -> None:
    path = constant_net({"simcc_x": peaks(384, [5] * 17), "simcc_y": peaks(512, [7] * 17)})
    options = Session(path, "cpu")._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
