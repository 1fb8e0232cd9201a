"""Mean error by the diagonal of a box."""

import numpy as np

from edgepose_training.metrics import nme


def test_error_is_the_mean_distance_over_the_diagonal():
    length = nme.box_diagonal(np.array([[0, 0, 30, 40]] * 2))
    labeled = np.zeros((2, 3, 2))
    predicted = labeled + np.array([[[3, 4], [0, 0], [100, 100]]])
    errors = nme.normalized_error(predicted, labeled, np.array([[1, 2, 0], [1, 0, 0]]), length, min_points=2)
    np.testing.assert_array_equal(errors, [2.5 / 50, np.nan])
