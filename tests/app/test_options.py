"""The command line as one frozen value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from edgepose import TopdownConfig
from edgepose_app.context import topdown_config, usable_threads
from edgepose_app.options import AppOptions, parser


def test_every_flag_has_its_field_and_the_field_its_default():
    assert AppOptions.parse([]) == AppOptions()
    assert sorted(vars(parser().parse_args([]))) == sorted(field.name for field in fields(AppOptions))


def test_what_is_typed_arrives():
    options = AppOptions.parse(
        ["--camera", "1", "--no-mirror", "--duration", "2.5", "--json", "-", "--max-people", "3"]
    )
    assert options == AppOptions(camera=1, mirror=False, duration=2.5, json="-", max_people=3)


def test_sources_by_position():
    options = AppOptions.parse(
        ["a.mp4", "b c.mp4", "--size", "640x480", "--fps", "12.5", "--format", "yuyv", "--rotate", "90"]
    )
    assert options == AppOptions(sources=("a.mp4", "b c.mp4"), size=(640, 480), fps=12.5, format="YUYV", rotate=90)
    assert AppOptions.parse(["--camera", "c920"]).camera == "c920"
    assert AppOptions.parse(["-"]).sources == ("-",)
    assert AppOptions.parse(["--headless", "--", "-dash.mp4"]).sources == ("-dash.mp4",)


def test_nobody_changes_the_options():
    with pytest.raises(FrozenInstanceError):
        AppOptions().screenshot = None  # type: ignore[misc]


def test_flags_reach_the_estimators_settings():
    assert topdown_config(AppOptions()) == TopdownConfig()
    options = AppOptions.parse(["--detect-every", "500", "--person-threshold", "0.6", "--smoothing", "2"])
    smoothing = TopdownConfig().smoothing.scaled(2)
    expected = TopdownConfig(detect_every_ms=500, person_threshold=0.6, smoothing=smoothing)
    assert topdown_config(options) == expected


@pytest.mark.parametrize("flag", ["--detector", "--detecto", "--detect", "--det"])
def test_short_names_of_the_detector_mean_it_still(flag: str):
    assert AppOptions.parse([flag, "none", "--detect-every", "500"]) == AppOptions(detector="none", detect_every=500)
    assert AppOptions.parse(["--detect-e", "500"]).detect_every == 500


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--max-people", "0"], "expected a whole number from 1, got '0'"),
        (["--threshold", "3"], "expected a number from 0 to 1, got '3'"),
        (["--threshold", "high"], "expected a number from 0 to 1, got 'high'"),
        (["--camera", "-1"], "--camera"),
        (["--camera", ""], "expected a camera's number"),
        (["--size", "640"], "expected WIDTHxHEIGHT, for example 1280x720, got '640'"),
        (["--size", "0x480"], "expected WIDTHxHEIGHT"),
        (["--fps", "0"], "expected frames a second, more than 0 up to 1000, got '0'"),
        (["--fps", "nan"], "expected frames a second"),
        (["--format", "jpg"], "expected four letters, for example mjpg or yuyv, got 'jpg'"),
        (["--rotate", "45"], "invalid choice"),
        (["--camera", "0", "a.mp4"], "not allowed with"),
        (["--source", "demo", "a.mp4"], "not allowed with"),
        (["--camera", "99999999999"], "expected a camera's number"),
        (["--duration", "-3"], "expected"),
        (["--duration", "nan"], "expected seconds, more than 0, got 'nan'"),
        (["--duration", "inf"], "expected seconds, more than 0, got 'inf'"),
        (["--camera", "0", "--source", "demo"], "not allowed with"),
        (["--detect-every", "0"], "expected milliseconds, more than 0, got '0'"),
        (["--smoothing", "-1"], "expected a number from 0 to 100"),
        (["--person-threshold", "1.5"], "expected a number from 0 to 1"),
    ],
)
def test_nonsense_is_refused(args: list[str], sentence: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as error:
        AppOptions.parse(args)
    assert error.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--frames", "--threads", "--max-people"])
@pytest.mark.parametrize("number", ["0", "-1", "1" * 10, "9" * 5000, "1e3", "²"])
def test_absurd_numbers_are_refused(flag: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        AppOptions.parse([flag, number])
    assert len(capsys.readouterr().err.splitlines()[-1]) < 200


@pytest.mark.parametrize(("wanted", "used"), [(None, None), (1, 1), (2, 2), (3, 2), (100_000, 2)])
def test_no_more_threads_than_cores(
    wanted: int | None, used: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert usable_threads(wanted) == used
    said = capsys.readouterr().err
    assert said == ("" if wanted == used else f"edgepose-app: --threads {wanted}: there are 2 cores here, so using 2\n")


@pytest.mark.parametrize("flag", ["--save", "--json", "--send"])
def test_an_output_without_a_name_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        AppOptions.parse([flag, ""])
    assert "expected a path or an address, got nothing" in capsys.readouterr().err


def test_outputs_may_be_repeated() -> None:
    options = AppOptions.parse(["--save", "a.csv", "--save", "b.mp4", "--send", "udp", "--json", "/dev/stdout"])
    assert (options.save, options.send, options.json) == (("a.csv", "b.mp4"), ("udp",), "-")
