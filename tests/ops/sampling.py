"""Where the tests of the kernels get their random examples from: `given`, `settings`, `HealthCheck`, and `st`.

That is hypothesis where it is installed. A machine that is lent for its GPU may have little more than torch and pytest:
there `seeded.py` samples, so that the same space is still explored.
"""

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:
    import seeded as st
    from seeded import HealthCheck, given, settings

__all__ = ["HealthCheck", "given", "settings", "st"]
