"""The order in which crops are seen, shared between processes."""

import pytest

pytest.importorskip("torch")

from edgepose_training.data.loaders import EpochSampler


def test_the_sampler_splits_without_overlap_and_can_start_late():
    whole = list(EpochSampler(11, seed=1, epoch=2))
    assert sorted(i for i, _ in whole) == list(range(11))
    parts = [list(EpochSampler(11, 1, 2, rank, 2)) for rank in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == 5
    assert not {i for i, _ in parts[0]} & {i for i, _ in parts[1]}
    assert list(EpochSampler(11, 1, 2, skip=4)) == whole[4:]
    assert whole != list(EpochSampler(11, 1, 3))
