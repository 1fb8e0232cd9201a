"""The log of a run: CSV tables, TensorBoard events if TensorBoard is installed, and one plot."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from edgepose_training.progress import duration

log = logging.getLogger("distill")

FILES = ("best.pt", "last.pt", "train.csv", "valid.csv", "curves.png")


class RunLog:
    """Appends to `train.csv` and `valid.csv` in the run's folder, so that a resumed run continues them.

    TensorBoard's writer is a thread that keeps a file open: it starts with the first row and ends at `close`. A row
    written after `close` opens another events file, which TensorBoard shows as the same run.
    """

    def __init__(self, folder: Path, measure: str = "mean OKS") -> None:
        self.folder, self.measure = folder, measure
        folder.mkdir(parents=True, exist_ok=True)
        self._events: Any = None  # SummaryWriter

    def _tensorboard(self) -> Any:
        """The open writer; None where TensorBoard is missing."""
        if self._events is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return None
            self._events = SummaryWriter(str(self.folder / "tensorboard"))
        return self._events

    def close(self) -> None:
        """Write the events that wait, and end TensorBoard's thread."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def rewind(self, step: int) -> None:
        """Drop the rows after `step`: a resumed run writes them again."""
        for table in ("train", "valid"):
            path = self.folder / f"{table}.csv"
            if path.exists():
                header, *rows = path.read_text().splitlines()
                kept = [row for row in rows if int(row.split(",")[1]) <= step]
                path.write_text("\n".join([header, *kept]) + "\n")

    def train(
        self,
        epoch: int,
        step: int,
        terms: dict[str, float],
        *,
        lr: float,
        images_per_s: float,
        waiting: float,
        place: str,
        left: float | None,
    ) -> None:
        """A row of `train.csv` and a line of the log. `place`: the epoch in words; `left`: seconds to the run's end."""
        row = {**terms, "lr": lr, "images_per_s": images_per_s, "waiting": waiting}
        text = "  ".join(f"{name} {value:.4f}" for name, value in terms.items())
        rest = "" if left is None else f", {duration(left)} left"
        log.info(
            "%s, step %d%s  %s  lr %.2e  %.0f img/s, %.0f %% waiting for data",
            place, step, rest, text, lr, images_per_s, 100 * waiting,
        )  # fmt: skip
        self._write("train", epoch, step, row)

    def valid(self, epoch: int, step: int, values: dict[str, float]) -> None:
        text = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        log.info("epoch %d  %s  %s", epoch, self.measure, text)
        self._write("valid", epoch, step, values)

    def summary(self, epochs: int, step: int, seconds: float, best_by: str) -> str:
        """The end of a run in words: how long, the best figures, and the files."""
        text = f"done: {epochs} epochs, {step} steps in {duration(seconds)}"
        table = self.folder / "valid.csv"
        if table.exists():
            with table.open() as file:
                rows = [row for row in csv.DictReader(file) if row.get(best_by) not in (None, "", "nan")]
            if rows:
                best = max(rows, key=lambda row: float(row[best_by]))
                figures = "  ".join(f"{k} {float(v):.3f}" for k, v in best.items() if k not in ("epoch", "step"))
                text += f"; best {self.measure} after epoch {best['epoch']}: {figures}"
        files = [name for name in FILES if (self.folder / name).exists()]
        return f"{text}; {self.folder} holds {', '.join(files)}"

    def _write(self, table: str, epoch: int, step: int, row: dict[str, float]) -> None:
        path = self.folder / f"{table}.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["epoch", "step", *row])
            writer.writerow([epoch, step, *(f"{value:.6g}" for value in row.values())])
        events = self._tensorboard()
        if events is not None:
            for name, value in row.items():
                events.add_scalar(f"{table}/{name}", value, step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """An image [H, W, 3] uint8 BGR as `name`.png, which replaces an older one, and in TensorBoard."""
        cv2.imwrite(str(self.folder / f"{name}.png"), image)
        events = self._tensorboard()
        if events is not None:
            events.add_image(name, image[..., ::-1].copy(), step, dataformats="HWC")

    def plot(self) -> Path | None:
        """Loss terms and validation over the steps, as `curves.png`; None where matplotlib is missing."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return None
        figure = Figure(figsize=(10, 4), layout="constrained")
        for axes, table, skip in zip(
            figure.subplots(1, 2), ("train", "valid"), (("lr", "images_per_s", "waiting"), ()), strict=True
        ):
            path = self.folder / f"{table}.csv"
            if not path.exists():
                continue
            with path.open() as file:
                rows = list(csv.DictReader(file))
            for name in rows[0]:
                if name not in ("epoch", "step", *skip):
                    axes.plot([int(r["step"]) for r in rows], [float(r[name] or "nan") for r in rows], label=name)
            axes.set(xlabel="step", title={"train": "loss terms", "valid": self.measure}[table])
            axes.legend()
        figure.savefig(self.folder / "curves.png", dpi=100)
        return self.folder / "curves.png"


class LogWindow:
    """Sums of the loss terms, and times, since the last line of the log."""

    def __init__(self) -> None:
        self.written = False  # whether the log has had a line of it
        self.clear()

    def clear(self) -> None:
        self.started, self.waited, self.steps = time.perf_counter(), 0.0, 0
        self.sums: dict[str, Tensor] = {}

    def timed(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches; the time that they are waited for counts."""
        before = time.perf_counter()
        for batch in batches:
            self.waited += time.perf_counter() - before
            yield batch
            before = time.perf_counter()

    def add(self, terms: dict[str, Tensor]) -> None:
        self.steps += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
