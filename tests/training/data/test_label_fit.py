"""Labels that do not fit their pictures: each kind is told, left out where rare and refused where common."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgepose import EdgeposeError, Skeleton
from edgepose_training.data import label_fit
from edgepose_training.data.coco import ReadReport, read_coco_wholebody

COCO17 = Skeleton.load("coco17")
WIDTH, HEIGHT = 120, 80
BOX = [60.0, 20.0, 40.0, 50.0]  # right of the middle and below it, as most boxes are one or the other


def annotation(box=BOX, points=None, **changes) -> dict:
    """Seventeen points in a line through the box, unless others are given."""
    line = np.linspace(0.1, 0.9, 17)[:, None] * BOX[2:] + BOX[:2]
    table = np.column_stack((line if points is None else points(line), np.full(17, 2)))
    return {"bbox": list(box), "keypoints": table.ravel().tolist()} | changes


def read(folder: Path, people: list[tuple[dict, dict]], report: ReadReport | None = None):
    """Each person in a picture of its own: annotation; entries of its image, `stored` W and H, `tag` of EXIF."""
    images, annotations = [], []
    for number, (entry, image) in enumerate(people):
        width, height = image.get("stored", (WIDTH, HEIGHT))
        exif = Image.Exif()
        exif[0x0112] = image.get("tag", 1)
        name = f"{number}.jpg"
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / name, exif=exif)
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        annotations.append({"id": number, "image_id": number} | entry)
    path = folder / "own.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return read_coco_wholebody(path, folder, COCO17, report=report)


SHARES = np.array([WIDTH, HEIGHT])
KINDS = {
    label_fit.TURNED: (annotation(), {"tag": 6}),
    label_fit.EXCHANGED: (annotation(), {"stored": (HEIGHT, WIDTH)}),
    label_fit.RESIZED: (annotation(), {"stored": (WIDTH // 2, HEIGHT // 2)}),
    label_fit.OTHER_SIZE: (annotation(), {"stored": (WIDTH, HEIGHT * 2)}),
    label_fit.SHARES: (annotation((np.array(BOX) / np.tile(SHARES, 2)).tolist(), lambda p: p / SHARES), {}),
    label_fit.CORNERS: (annotation([BOX[0], BOX[1], BOX[0] + BOX[2], BOX[1] + BOX[3]]), {}),
    label_fit.OUTSIDE: (annotation(points=lambda p: p * 3), {}),
}
GOOD = (annotation(), {})


@pytest.mark.parametrize("reason", KINDS)
def test_a_file_of_them_is_refused_with_the_remedy(tmp_path, reason):
    with pytest.raises(EdgeposeError) as refusal:
        read(tmp_path, [KINDS[reason]] * 3 + [GOOD])
    text = str(refusal.value)
    assert f"{reason} (3 of 4 people, such as annotation 0" in text
    assert text.endswith(label_fit.REMEDIES[reason])
    assert "\n" not in text


@pytest.mark.parametrize("reason", KINDS)
def test_a_rare_one_is_left_out_and_named(tmp_path, reason, caplog):
    report = ReadReport()
    people = read(tmp_path, [GOOD] * 5 + [KINDS[reason]], report)
    assert [person.annotation_id for person in people] == list(range(5))
    assert dict(report.skipped) == {reason: 1}
    assert f"{reason}: 1 (annotation 5" in caplog.text


def test_sizes_are_told(tmp_path):
    with pytest.raises(EdgeposeError, match=r"annotation 0 of 0\.jpg: 60×40, in the file 120×80"):
        read(tmp_path, [KINDS[label_fit.RESIZED]])


def test_files_that_are_no_images_are_named(tmp_path):
    path = file_of(tmp_path, None, [1])
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(EdgeposeError, match=r"image file is no readable image: 1 \(a\.png\)"):
        read_coco_wholebody(path, tmp_path, COCO17)


@pytest.mark.parametrize("tag", [5, 6, 7, 8])
def test_labels_of_pictures_as_they_are_turned_are_read(tmp_path, tag):
    (person,) = read(tmp_path, [(annotation(), {"tag": tag, "stored": (HEIGHT, WIDTH)})])
    assert person.image_size == cv2.imread(str(person.image)).shape[1::-1] == (WIDTH, HEIGHT)


@pytest.mark.parametrize("tag", [2, 3, 4])
def test_half_turns_are_kept_in_doubt(tmp_path, tag):
    """The size is the same either way, so nothing tells whether the labels were turned too."""
    report = ReadReport()
    assert len(read(tmp_path, [(annotation(), {"tag": tag}), GOOD], report)) == 2
    assert dict(report.doubts) == {label_fit.HALF_TURNED: 1}
    assert "0.jpg" in str(report)


def test_points_beside_their_box_are_a_doubt_and_refused_where_most_are(tmp_path):
    apart = (annotation([2, 2, 20, 20]), {})
    report = ReadReport()
    assert len(read(tmp_path, [GOOD, GOOD, apart], report)) == 3
    assert dict(report.doubts) == {label_fit.APART: 1}
    with pytest.raises(EdgeposeError, match=r"outside their box \(2 of 3 people"):
        read(tmp_path, [GOOD, apart, apart])


def test_corners_are_seen_in_a_file_of_which_most_boxes_would_pass(tmp_path):
    """A box near the top left reads as either; those of the other people tell what the file has."""
    corner = annotation([2, 2, 42, 52], lambda p: p - 58 * (p > 58) - 18 * (p <= 58))
    with pytest.raises(EdgeposeError, match="x1, y1, x2, y2"):
        read(tmp_path, [(corner, {})] * 3 + [KINDS[label_fit.CORNERS]])


def test_boxes_may_reach_out_of_the_picture(tmp_path):
    """As those of people cut by its edge do, by a little or by much."""
    report = ReadReport()
    boxes = [[60, 20, 62, 61], [60, 20, 90, 90], [-30, -20, 140, 110], [0, 0, WIDTH, HEIGHT]]
    assert len(read(tmp_path, [(annotation(box), {}) for box in boxes], report)) == 4
    assert not report.skipped
    assert not report.doubts


def test_tiny_pictures_in_pixels_are_no_shares(tmp_path):
    (person,) = read(tmp_path, [(annotation([60, 20, 1, 1], lambda p: p * 0 + [60.5, 20.5]), {})])
    np.testing.assert_array_equal(person.bbox, [60, 20, 61, 21])


# --- categories ---------------------------------------------------------------------------------------------


def file_of(folder: Path, categories: list[dict] | None, ids: list[int | None]) -> Path:
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "a.png")
    entries = [annotation(id=i, image_id=1) | ({} if c is None else {"category_id": c}) for i, c in enumerate(ids)]
    document = {"images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}], "annotations": entries}
    path = folder / "own.json"
    path.write_text(json.dumps(document if categories is None else document | {"categories": categories}))
    return path


PERSON, DOG = {"id": 1, "name": "person"}, {"id": 2, "name": "dog"}
POINTS = {"keypoints": list(COCO17.keypoints)}


@pytest.mark.parametrize(
    ("categories", "ids", "kept"),
    [
        (None, [1, 2, None], [0, 1, 2]),
        ([], [1, 2], [0, 1]),
        ([PERSON], [1, 1, None], [0, 1, 2]),
        ([PERSON, DOG], [1, 2, 1], [0, 2]),
        ([DOG], [2], [0]),
        ([DOG | POINTS, {"id": 3, "name": "ball"}], [2, 3, 2], [0, 2]),
        ([DOG | POINTS, {"id": 3, "name": "cat"} | POINTS], [2, 3], [0, 1]),  # AP-10K
        ([{"id": 0, "name": "my-project"}, {"id": 1, "name": "player"}], [1, 1], [0, 1]),  # Roboflow
        ([PERSON], [1, 7], [0]),
    ],
)
def test_categories_are_honored(tmp_path, categories, ids, kept):
    people = read_coco_wholebody(file_of(tmp_path, categories, ids), tmp_path, COCO17)
    assert [person.annotation_id for person in people] == kept


def test_other_categories_are_counted_by_name(tmp_path):
    report = ReadReport()
    read_coco_wholebody(file_of(tmp_path, [PERSON, DOG], [1, 2, 2]), tmp_path, COCO17, report=report)
    assert dict(report.skipped) == {"category 'dog'": 2}


def test_a_category_may_be_chosen(tmp_path):
    path = file_of(tmp_path, [PERSON, DOG], [1, 2])
    for name in ("dog", "2"):
        (dog,) = read_coco_wholebody(path, tmp_path, COCO17, category=name)
        assert dog.annotation_id == 1
    with pytest.raises(EdgeposeError, match="no category 'cat'; the file lists person, dog"):
        read_coco_wholebody(path, tmp_path, COCO17, category="cat")


def test_categories_that_do_not_tell_are_asked_for(tmp_path):
    path = file_of(tmp_path, [DOG, {"id": 3, "name": "cat"}], [2, 3])
    with pytest.raises(EdgeposeError, match="several categories, dog, cat: name the one to read as --category"):
        read_coco_wholebody(path, tmp_path, COCO17)


def test_points_in_another_order_are_refused(tmp_path):
    """The file names its points: with the same names in another order every label would be another point."""
    turned = [*COCO17.keypoints[::2], *COCO17.keypoints[1::2]]
    for names, fits in (
        (turned, False),
        ([n.replace("_", " ").title() for n in COCO17.keypoints], True),
        (["a"], True),
    ):
        path = file_of(tmp_path, [PERSON | {"keypoints": names}], [1])
        if fits:
            assert len(read_coco_wholebody(path, tmp_path, COCO17)) == 1
        else:
            with pytest.raises(EdgeposeError, match="point 1 is right_eye, not left_eye"):
                read_coco_wholebody(path, tmp_path, COCO17)


def test_points_of_other_names_are_told(tmp_path, caplog):
    """A name with a typo costs the weights of the point that was meant."""
    names = ["Nose", *COCO17.keypoints[1:-1], "right_anckle"]
    path = file_of(tmp_path, [PERSON | {"keypoints": names}], [1])
    assert len(read_coco_wholebody(path, tmp_path, COCO17)) == 1
    assert "right_anckle for right_ankle" in caplog.text
    assert "nose" not in caplog.text
