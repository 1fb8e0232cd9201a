"""Stands in for hypothesis where it is not installed: N seeded examples per test, of the strategies used here.

It draws from the same space, the ends of a range more often than chance would, and the same examples at every run. It
does not shrink what fails, nor remember it: the failing example is named in a note of the error.
"""

import enum
import functools
import inspect
import zlib

import numpy as np

HealthCheck = enum.Enum("HealthCheck", "function_scoped_fixture too_slow")
AT_AN_END = 1 / 8  # of a range


class Strategy:
    """What can be sampled: a function of a random generator."""

    def __init__(self, example):
        self.example = example


class Data:
    """Draws inside of a test's body, and remembers what for the note of a failure."""

    def __init__(self, rng):
        self.rng, self.sampled = rng, []

    def draw(self, strategy):
        self.sampled.append(strategy.example(self.rng))
        return self.sampled[-1]

    def __repr__(self):
        return f"sampled {self.sampled}"


def integers(low, high):
    def example(rng):
        return int((low, high)[rng.integers(2)] if rng.random() < AT_AN_END else rng.integers(low, high, endpoint=True))

    return Strategy(example)


def floats(low, high):
    def example(rng):
        return float((low, high)[rng.integers(2)] if rng.random() < AT_AN_END else rng.uniform(low, high))

    return Strategy(example)


def sampled_from(values):
    return Strategy(lambda rng: values[rng.integers(len(values))])


def booleans():
    return sampled_from([False, True])


def one_of(*strategies):
    return Strategy(lambda rng: strategies[rng.integers(len(strategies))].example(rng))


def data():
    return Strategy(Data)


def composite(function):
    """`function(draw, …)` → a function of the rest that gives a strategy."""

    def strategy(*args, **options):
        return Strategy(lambda rng: function(Data(rng).draw, *args, **options))

    return strategy


def settings(max_examples=100, **_):
    """Of hypothesis' settings only the number of examples means something here."""

    def decorate(test):
        test.max_examples = max_examples
        return test

    return decorate


def given(**strategies):
    def decorate(test):
        @functools.wraps(test)
        def run(*args, **fixtures):
            for i in range(run.max_examples):
                rng = np.random.default_rng((zlib.crc32(test.__qualname__.encode()), i))
                example = {name: strategy.example(rng) for name, strategy in strategies.items()}
                try:
                    test(*args, **fixtures, **example)
                except Exception as error:
                    error.add_note(f"example {i} of {run.max_examples}: {example}")
                    raise

        run.max_examples = getattr(test, "max_examples", 100)
        signature = inspect.signature(test)  # pytest takes what is left for fixtures
        left = [each for name, each in signature.parameters.items() if name not in strategies]
        run.__signature__ = signature.replace(parameters=left)
        return run

    return decorate
