"""Bootstrap intervals over images."""

import numpy as np

from edgepose_training.metrics import bootstrap


def test_the_interval_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(1)
    samples = generator.normal(size=(300, 80))
    estimates = [bootstrap.mean_estimate(sample, np.arange(80), resamples=400) for sample in samples]
    covered = np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])
    assert 0.90 <= covered <= 0.98


def test_people_of_one_image_are_drawn_together():
    values = np.repeat(np.random.default_rng(2).normal(size=40), 10)
    together = bootstrap.mean_estimate(values, np.repeat(np.arange(40), 10))
    apart = bootstrap.mean_estimate(values, np.arange(400))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_undefined_values_do_not_count():
    estimate = bootstrap.mean_estimate(np.array([1.0, np.nan, 3.0]), np.arange(3))
    assert (estimate.value, estimate.count) == (2, 2)
    nothing = bootstrap.mean_estimate(np.array([np.nan]), np.arange(1))
    assert nothing.count == 0
    assert str(nothing) == "–"


def test_ratio_is_a_mean_over_points():
    estimate = bootstrap.ratio_estimate(np.array([1, 9, 0]), np.array([10, 10, 0]), np.arange(3))
    assert (estimate.value, estimate.count) == (0.5, 20)


def test_statistic_interval_uses_the_draws():
    values = np.array([0.0, 1.0])
    estimate = bootstrap.statistic_estimate(0.5, 2, 2, lambda draw: draw @ values / draw.sum())
    assert (estimate.low, estimate.high) == (0, 1)
