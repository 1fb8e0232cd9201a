"""What `--init` and `--teacher` may name."""

import numpy as np
import pytest

from edgepose import EdgeposeError
from edgepose_training.config import Config
from edgepose_training.deploy import given


def test_images_are_crops_of_the_training_at_any_size(store):
    """Fewer crops than a batch are one batch; the points need not be the config's."""
    (batch,) = given.training_images(Config(skeleton="coco17"), store)((64, 96))
    assert batch.shape == (len(store), 3, 96, 64)
    assert np.isfinite(batch.numpy()).all()
    assert 0.1 < float(batch.std()) < 3  # normalized


def test_a_checkpoint_stays_a_file_and_what_is_missing_is_one_sentence(tmp_path):
    assert given.starting_weights("last.pt", lambda _: []).name == "last.pt"
    with pytest.raises(EdgeposeError, match="cannot read the checkpoint"):
        given.teacher(str(tmp_path / "none.pt"), lambda _: [])
    with pytest.raises(EdgeposeError, match="There is no model"):
        given.starting_weights(str(tmp_path / "none.onnx"), lambda _: [])
    for read in (given.starting_weights, given.teacher):
        with pytest.raises(EdgeposeError, match=r"edgepose-x: neither a file nor .* shipped model .*edgepose-t"):
            read("edgepose-x", lambda _: [])
