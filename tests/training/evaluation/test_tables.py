"""Tables of an evaluation: nothing without content in them."""

from dataclasses import asdict

from edgepose_training.evaluation import tables
from edgepose_training.metrics.bootstrap import Estimate

FIGURE = asdict(Estimate(0.5, 0.4, 0.6, 3))


def summary(*sources: str) -> dict:
    row = {"mean_oks": FIGURE, "ap": FIGURE}
    by_source = {source: {"body": {"mean_oks": FIGURE, "ap": 0.5}} for source in sources}
    return {"parts": {"body": row}, "sources": by_source}


def test_figures_by_source_only_where_a_source_has_a_name():
    assert "by source" not in tables.markdown({"mine": summary("")})
    text = tables.markdown({"mine": summary("", "coco")})
    assert "| not named | .500 / .500 (3) |" in text
    assert "| coco | .500 / .500 (3) |" in text
