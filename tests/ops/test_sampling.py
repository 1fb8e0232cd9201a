"""The stand-in for hypothesis: it explores, it fails false claims, and all tests load with it."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import seeded

ROOT = Path(__file__).parents[2]
BARE = """
import sys
class Missing:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("hypothesis", "ml_dtypes", "scipy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing)
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *sys.argv[1:]]))
"""


@seeded.composite
def pairs(draw, least):
    low = draw(seeded.integers(least, 9))
    return low, draw(seeded.integers(low, 9))


def explored(count):
    """What a test has seen of every strategy, in `count` examples."""
    seen = []

    @seeded.settings(max_examples=count, deadline=None, suppress_health_check=[])
    @seeded.given(
        pair=pairs(2),
        number=seeded.one_of(seeded.floats(-1, 1), seeded.sampled_from([7.0, 8.0])),
        data=seeded.data(),
    )
    def look(start, pair, number, data):
        assert start == "from a fixture"
        seen.append((pair, number, data.draw(seeded.booleans()), data.draw(seeded.integers(0, 2**32))))

    look(start="from a fixture")
    return seen


def test_examples_cover_the_space_and_are_the_same_at_every_run():
    seen = explored(300)
    assert len(seen) == 300
    assert seen == explored(300)
    made, numbers, flags, large = zip(*seen, strict=True)
    assert set(made) == {(low, high) for low in range(2, 10) for high in range(low, 10)}
    assert {-1.0, 1.0, 7.0, 8.0} <= set(numbers)
    assert len({n for n in numbers if -1 < n < 1}) > 60
    assert set(flags) == {False, True}
    assert {0, 2**32} <= set(large)
    assert len(set(large)) > 200


def test_pytest_sees_the_fixtures_alone():
    @seeded.settings(max_examples=3)
    @seeded.given(a=seeded.booleans())
    def check(fixture, a): ...

    assert list(inspect.signature(check).parameters) == ["fixture"]


def test_a_false_property_fails_and_names_its_example():
    @seeded.given(data=seeded.data(), small=seeded.sampled_from([3]))
    def check(data, small):
        assert data.draw(seeded.integers(0, 20)) + small != 11

    with pytest.raises(AssertionError) as caught:
        check()
    (note,) = caught.value.__notes__
    assert "{'data': sampled [8], 'small': 3}" in note


def bare(*arguments):
    """pytest on a machine without hypothesis, ml_dtypes and scipy."""
    command = [sys.executable, "-c", BARE, *arguments]
    environment = {**os.environ, "EDGEPOSE_EXAMPLES": "4"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_all_tests_load_without_hypothesis_and_ml_dtypes():
    code, said = bare("--collect-only", "tests/ops", "-m", "gpu or not slow")
    assert code == 0, said
    assert "test_simcc_kl_div.py::test_kernel_matches_reference[cuda]" in said
    assert "bfloat16]" not in said.replace("test_torch", "")


@pytest.mark.slow
def test_a_property_test_runs_without_hypothesis_and_ml_dtypes():
    code, said = bare("tests/ops/test_simcc_kl_div.py", "-k", "test_kernel_matches_reference and scalar")
    assert code == 0, said
    assert "1 passed" in said
