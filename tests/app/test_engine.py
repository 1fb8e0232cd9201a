"""The engine with a fake net: lost frames, old frames, and who receives an error."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import pytest
from doubles import FakeEstimator, decode_number, encode_number

from edgepose_app.engine import Engine, EngineState, Pace
from edgepose_app.mailbox import Mailbox
from edgepose_app.sources import Frame, Source
from edgepose_app.timing import Rate, TimingTable


class Numbers(Source):
    """Numbered images; live ones come by the clock, whether anybody looks or not."""

    name = "numbers"

    def __init__(
        self, count: int | None, *, live: bool = False, fps: float = 100.0, fail_at: int | None = None
    ) -> None:
        super().__init__()
        self.live, self.fps, self.count, self.fail_at = live, fps, count, fail_at
        self.made = 0
        self.closed = False

    def read(self) -> Frame | None:
        if self.stopped.is_set() or self.made == self.count:
            return None
        if self.made == self.fail_at:
            raise OSError("the cable came out")
        if self.live:
            time.sleep(1 / self.fps)
        frame = Frame(encode_number(self.made), self.made, self.made / self.fps)
        self.made += 1
        return frame

    def close(self) -> None:
        self.closed = True


def numbers_of(engine: Engine) -> list[int]:
    return [decode_number(result.frame.image) for result in engine.results() if result is not None]


def test_mailbox_newest_wins():
    box: Mailbox[int] = Mailbox()
    for item in range(5):
        assert box.put(item)
    assert box.get(0) == 4
    assert box.get(0) is None
    assert box.replaced == 4


def test_mailbox_put_can_wait():
    box: Mailbox[int] = Mailbox()
    got: list[int] = []
    reader = threading.Thread(target=lambda: [got.append(item) for _ in range(50) if (item := box.get()) is not None])
    reader.start()
    for item in range(50):
        box.put(item, wait=True)
    reader.join()
    assert got == list(range(50))
    assert box.replaced == 0


def test_mailbox_close_wakes_both_sides():
    box: Mailbox[int] = Mailbox()
    box.put(1)
    refused: list[bool] = []
    writer = threading.Thread(target=lambda: refused.append(box.put(2, wait=True)))
    writer.start()
    box.close()
    writer.join(5)
    assert refused == [False]
    assert not box.closed  # the first item is still in there
    assert box.get() == 1
    assert box.get() is None
    assert box.closed


def test_files_lose_no_frame_headless():
    source = Numbers(40)
    engine = Engine(FakeEstimator(delay=0.002), realtime=False)
    engine.open(lambda: source)
    assert numbers_of(engine) == list(range(40))
    engine.stop()
    assert source.closed


def test_a_slow_net_sees_the_newest_of_a_live_source():
    source = Numbers(None, live=True, fps=100)
    estimator = FakeEstimator(delay=0.1)
    engine = Engine(estimator, realtime=False)
    engine.open(lambda: source)
    behind = []
    for result in engine.results():
        if result is not None:
            behind.append(source.made - decode_number(result.frame.image))
        if len(behind) == 12:
            break
    engine.stop()
    # Ten images arrive while the net processes one. With a queue the distance would grow by nine per result, to a
    # median of 58; on a busy machine single results may be late.
    assert statistics.median(behind) <= 30
    assert source.made > 3 * len(behind)


def test_realtime_files_play_in_their_own_time():
    source = Numbers(30, fps=60.0)
    engine = Engine(FakeEstimator(), realtime=True)
    start = time.perf_counter()
    engine.open(lambda: source)
    seen = []
    while engine.state is not EngineState.ENDED or not seen:
        result = engine.take(0.1)
        if result:
            seen.append(result.frame.index)
        assert time.perf_counter() - start < 20
    elapsed = time.perf_counter() - start
    engine.stop()
    assert seen == sorted(seen)
    assert elapsed > 29 / 60 * 0.95  # not faster than the file


def test_pace_gives_way_when_far_behind():
    pace, stopped = Pace(), threading.Event()
    pace.wait(0.0, stopped)
    time.sleep(0.6)
    start = time.perf_counter()
    pace.wait(0.01, stopped)  # over half a second late: the clock starts anew here …
    pace.wait(0.11, stopped)  # … so this frame is due 0.1 s after that one, not at once
    assert time.perf_counter() - start > 0.09


def test_pause_stops_a_file_and_goes_on():
    source = Numbers(1000, fps=200.0)
    engine = Engine(FakeEstimator(), realtime=True)
    engine.open(lambda: source)
    assert engine.take(5.0) is not None
    engine.paused = True
    time.sleep(0.1)
    made = source.made
    time.sleep(0.2)
    assert source.made <= made + 1
    engine.paused = False
    deadline = time.monotonic() + 5
    while source.made <= made + 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    engine.stop()
    assert source.made > made + 1


def test_switching_resets_the_estimator_and_releases_the_old_source_first():
    first, second = Numbers(None, live=True), Numbers(None, live=True)
    second.is_sequence = False
    estimator = FakeEstimator()
    engine = Engine(estimator, realtime=True)
    engine.open(lambda: first)
    assert engine.take(5.0) is not None
    closed_before_opening: list[bool] = []

    def opener() -> Source:
        closed_before_opening.append(first.closed)
        return second

    engine.open(opener)
    deadline = time.monotonic() + 5
    while (result := engine.take(0.5)) is None or result.frame.stream != 2:
        assert time.monotonic() < deadline
    engine.stop()
    assert closed_before_opening == [True]
    assert estimator.resets == 2
    assert estimator.sequences[0] is True
    assert estimator.sequences[-1] is False


def test_a_failing_net_ends_the_run_with_its_error():
    engine = Engine(FakeEstimator(fail_at=3), realtime=False)
    engine.open(lambda: Numbers(None))
    with pytest.raises(RuntimeError, match="the net fell over"):
        numbers_of(engine)
    engine.stop()


def test_a_failing_source_ends_the_run_after_what_it_gave(caplog):
    engine = Engine(FakeEstimator(), realtime=False)
    engine.open(lambda: Numbers(10, fail_at=4))
    seen = []
    with pytest.raises(OSError, match="cable"):
        seen.extend(decode_number(result.frame.image) for result in engine.results() if result is not None)
    engine.stop()
    assert "capture failed" in caplog.text


def test_opening_may_fail_while_the_window_lives():
    engine = Engine(FakeEstimator(), realtime=True)

    def opener() -> Source:
        raise OSError("no such thing")

    engine.open(opener)
    wait_for(engine, EngineState.FAILED)
    assert engine.message == "no such thing"
    assert engine.error is None  # the next source may do better
    engine.open(lambda: Numbers(None, live=True))
    assert engine.take(5.0) is not None
    engine.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def wait_for(engine: Engine, state: EngineState) -> None:
    wait_until(lambda: engine.state is state)


def test_the_state_says_what_the_engine_does():
    engine, opened = Engine(FakeEstimator(), realtime=True), threading.Event()

    def opener() -> Source:
        opened.wait(20)
        return Numbers(20, fps=60.0)

    assert engine.state is EngineState.IDLE
    engine.open(opener)
    assert (engine.state, engine.message) == (EngineState.OPENING, "opening…")
    opened.set()
    wait_for(engine, EngineState.RUNNING)
    engine.paused = True
    assert engine.state is EngineState.PAUSED
    engine.paused = False
    wait_for(engine, EngineState.ENDED)
    assert engine.message == ""
    engine.stop()
    assert engine.state is EngineState.STOPPED


def test_the_end_comes_after_the_last_frame_was_looked_at_and_is_told():
    """Who opens the next source at the end loses nothing of this one."""
    told: list[EngineState] = []
    engine = Engine(FakeEstimator(delay=0.3), realtime=True, on_result=lambda: told.append(engine.state))
    seen: list[int] = []
    engine.listeners.append(lambda result: seen.append(result.frame.index))
    engine.open(lambda: Numbers(3, fps=1000.0))
    wait_for(engine, EngineState.ENDED)
    assert seen[-1] == 2
    wait_until(lambda: told[-1:] == [EngineState.ENDED])
    engine.open(lambda: Numbers(3, fps=1000.0))
    wait_until(lambda: seen.count(2) == 2)
    engine.stop()


def test_the_last_frame_is_shown_as_long_as_the_others():
    engine = Engine(FakeEstimator(), realtime=True)
    start = time.perf_counter()
    engine.open(lambda: Numbers(2, fps=4.0))
    wait_for(engine, EngineState.ENDED)
    assert time.perf_counter() - start > 0.49
    engine.stop()


def test_a_failed_estimator_is_a_state_that_no_other_source_mends():
    engine = Engine(FakeEstimator(fail_at=2), realtime=True)
    engine.open(lambda: Numbers(None))
    wait_for(engine, EngineState.FAILED)
    assert "the net fell over" in engine.message
    engine.open(lambda: Numbers(None))
    assert engine.state is EngineState.FAILED
    assert "the net fell over" in engine.message
    engine.stop()


def test_rate_and_table():
    rate = Rate(window=1.0)
    for n in range(21):
        rate.tick(n * 0.05)
    assert rate.per_second(1.0) == pytest.approx(20.0)
    assert rate.per_second(5.0) == 0.0
    table = TimingTable(warmup=1)
    table.add({"network": 1000.0})  # the first frame does not count
    for value in range(101):
        table.add({"network": float(value)})
    assert table.rows() == {"network": (50.0, 95.0, 99.0)}
    assert "p95" in table.text()
    assert "95.00" in table.text()
