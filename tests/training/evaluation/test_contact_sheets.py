import contact_sheet
import cv2
import evaluation_fixtures as fixtures
import numpy as np
import pytest

from edgepose_training.data import pictures
from edgepose_training.data.coco import read_coco_wholebody
from edgepose_training.evaluation import contact_sheets


@pytest.fixture
def data(tmp_path):
    return fixtures.dataset(tmp_path / "data", offset=2.0)


@pytest.fixture
def model(tmp_path):
    return fixtures.constant_model(tmp_path / "constant.onnx")


def test_the_worst_come_first_and_the_undefined_never():
    oks = np.array([0.5, np.nan, 0.1, 0.9])
    assert [pick.row for pick in contact_sheets.worst(oks, 2)] == [2, 0]
    assert [pick.row for pick in contact_sheets.worst(oks, 9)] == [2, 0, 3]
    assert sorted(pick.row for pick in contact_sheets.sample(oks, 9)) == [0, 2, 3]


def test_a_pair_holds_prediction_left_and_label_right(data):
    people = read_coco_wholebody(data / "annotations/val.json", data / "images", fixtures.WHOLEBODY)
    person = people[0]
    frame = np.zeros((128, 128, 3), np.uint8)
    nothing = np.zeros(133)
    picture = contact_sheets.pair(frame, person, person.keypoints, nothing, fixtures.WHOLEBODY, black=True)
    left, right = np.hsplit(picture, 2)
    assert picture.shape == (240, 360, 3)
    assert not left.any()
    assert right.any()
    same = contact_sheets.pair(frame, person, person.keypoints, np.ones(133), fixtures.WHOLEBODY, black=True)
    np.testing.assert_array_equal(*np.hsplit(same, 2))


def test_the_command_writes_a_picture(data, model, tmp_path, capsys):
    output = tmp_path / "out" / "sheet.png"
    arguments = [str(model), "--data", str(data), "-o", str(output), "--worst", "3", "--random", "2", "--columns", "2"]
    assert contact_sheet.main(arguments) == 0
    picture = cv2.imread(str(output))
    assert picture.shape == (3 * (240 + pictures.CAPTION), 2 * 362, 3)
    assert "prediction left, label right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--part", "tail"], "no part 'tail'"),
        (["--source", "moon"], "Nobody comes from moon"),
        (["--split", "test"], "test.json"),
    ],
)
def test_mistakes_are_one_sentence(data, model, tmp_path, capsys, arguments, complaint):
    output = tmp_path / "sheet.png"
    assert contact_sheet.main([str(model), "--data", str(data), "-o", str(output), *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert not output.exists()
