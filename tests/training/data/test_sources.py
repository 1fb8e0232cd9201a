"""What is known of a data set's sources comes from files, and mistakes in them are named."""

from pathlib import Path

import pytest

from edgepose import EdgeposeError
from edgepose_training.data.sources import NO_ROLES, SHIPPED, SourceRoles


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_what_ships_loads_by_its_name(path: Path) -> None:
    roles = SourceRoles.load(path.stem)
    assert roles == SourceRoles.load(path)
    assert roles.close_ups <= roles.boxed_by_detector  # a piece of a person is no second one there either


def test_a_name_goes_before_the_file_beside_the_data(tmp_path: Path) -> None:
    assert SourceRoles.of(tmp_path, None) == SourceRoles.of(None, None) == NO_ROLES
    (tmp_path / "sources.toml").write_text('webcam = ["desk"]\n[weights]\ndesk = 2')
    assert SourceRoles.of(tmp_path, None) == SourceRoles(webcam=frozenset({"desk"}), weights={"desk": 2.0})
    assert SourceRoles.of(tmp_path, "edgepose") == SourceRoles.load("edgepose")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('webcams = ["desk"]', "unknown key 'webcams'; known are body_truth"),
        ('webcam = "desk"', "webcam expected a list of names, got 'desk'"),
        ("[weights]\ndesk = true", "weights expected a table of numbers"),
        ("webcam = [", "not valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "roles.toml"
    path.write_text(text)
    with pytest.raises(EdgeposeError, match=complaint) as raised:
        SourceRoles.load(path)
    assert str(path) in str(raised.value)
    with pytest.raises(EdgeposeError, match="nowhere: expected a TOML file of source roles, or one of edgepose"):
        SourceRoles.load("nowhere")
