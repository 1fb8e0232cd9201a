"""The source of random examples for the kernel tests: `given`, `settings`, `HealthCheck`, and `st`.

They come from hypothesis where it is installed. A rented GPU machine may have little more than torch and pytest: there
`seeded.py` samples the same space.
"""

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:
    import seeded as st
    from seeded import HealthCheck, given, settings

__all__ = ["HealthCheck", "given", "settings", "st"]
