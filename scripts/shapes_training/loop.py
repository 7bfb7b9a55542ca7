"""The training loop that detector and classifiers share.

AdamW (arXiv 1711.05101) with a linear warm-up and a cosine decay (arXiv 1608.03983), gradient
clipping, bfloat16 autocast in channels-last layout, and an exponential moving average of the
weights, which is what gets validated and exported.  The schedule follows either the steps
(`epochs`: the same result for the same seed) or the clock (`minutes`: done in time on a shared
machine).  Data order and augmentation depend on (seed, step) alone, so a resumed run goes on
exactly where its checkpoint was written.
"""

from __future__ import annotations

import copy
import math
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn
from torch import nn

from .tasks import TrainingTask

WARMUP_STEPS = 300
FINAL_LR_SHARE = 0.01
EMA_DECAY, EMA_RAMP = 0.999, 500
CLIP_NORM = 10.0
LOG_EVERY = 50
CHECKPOINT_SECONDS = 180
METRIC_SECONDS = 600
METRIC_IMAGES = 200


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; exactly one of `epochs` and `minutes` is used."""

    epochs: int
    minutes: float | None
    images: int
    batch: int
    lr: float
    weight_decay: float
    seed: int


@dataclass
class State:
    """What a checkpoint keeps besides the tensors."""

    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0


def load_checkpoint(run: Path) -> dict | None:
    path = run / "checkpoint.pt"
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


class Trainer:
    """One training run in one directory, resumed from its checkpoint if there is one."""

    def __init__(
        self,
        task: TrainingTask,
        schedule: Schedule,
        run: Path,
        device: torch.device,
        resume: bool = True,
    ) -> None:
        self.task, self.schedule, self.run_dir, self.device = task, schedule, run, device
        run.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(schedule.seed)
        self.model = task.build().to(device=device, memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = _optimizer(self.model, schedule)
        self.state = State()
        self.steps_per_epoch = len(task.train) // schedule.batch
        self.stop = False
        saved = load_checkpoint(run) if resume else None
        if saved is not None:
            if saved["schedule"] != asdict(schedule):
                self.log(f"note: checkpoint was written with {saved['schedule']}")
            self.model.load_state_dict(saved["model"])
            self.ema.load_state_dict(saved["ema"])
            self.optimizer.load_state_dict(saved["optimizer"])
            torch.set_rng_state(saved["rng"])
            self.state = State(**saved["state"])
            self.log(f"resumed at {self.state}")

    def log(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with (self.run_dir / "log.txt").open("a") as file:
            file.write(line + "\n")

    def save(self) -> None:
        """Write the checkpoint beside its final name, then rename."""
        part = self.run_dir / "checkpoint.part"
        torch.save(
            {
                "model": self.model.state_dict(), "ema": self.ema.state_dict(),
                "optimizer": self.optimizer.state_dict(), "rng": torch.get_rng_state(),
                "state": asdict(self.state), "schedule": asdict(self.schedule),
            },
            part,
        )  # fmt: skip
        os.replace(part, self.run_dir / "checkpoint.pt")

    def progress(self) -> float:
        """How much of the schedule is done, 0 to 1."""
        if self.schedule.minutes is not None:
            return min(1.0, self.state.seconds / (60 * self.schedule.minutes))
        return min(1.0, self.state.step / (self.schedule.epochs * self.steps_per_epoch))

    def _learning_rate(self) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress()))
        warmup = min(1.0, (self.state.step + 1) / WARMUP_STEPS)
        return self.schedule.lr * warmup * (FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * cosine)

    def _rows(self) -> np.ndarray:
        """The images of the current step, by a permutation that belongs to its epoch."""
        epoch, at = divmod(self.state.step, self.steps_per_epoch)
        order = np.random.default_rng([self.schedule.seed, 1, epoch]).permutation(
            len(self.task.train)
        )
        return np.sort(order[at * self.schedule.batch : (at + 1) * self.schedule.batch])

    def _step(self) -> dict[str, float]:
        rng = np.random.default_rng([self.schedule.seed, 2, self.state.step])
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = self._rows()
        loss, parts = self.task.loss(self.model, rows, rng, self.progress())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM))
        if math.isfinite(norm):
            self.optimizer.step()
            self._average()
        else:
            self.log(f"step {self.state.step}: gradient norm {norm}, step skipped")
        self.state.step += 1
        self.state.images_seen += len(rows)
        return {"loss": loss.item(), **parts}

    @torch.no_grad()
    def _average(self) -> None:
        decay = EMA_DECAY * (1 - math.exp(-(self.state.step + 1) / EMA_RAMP))
        new = self.model.state_dict()
        for name, value in self.ema.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - decay)
            else:
                value.copy_(new[name])

    def train(self) -> None:
        """Run until the schedule is done, or until SIGTERM / Ctrl-C, after which it can resume."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [
            signal.signal(number, lambda *_: setattr(self, "stop", True)) for number in numbers
        ]
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[info]}"))
        self.model.train()
        with Progress(*columns, transient=True) as bar:
            shown = bar.add_task("training", total=1.0, info="")
            base, began = self.state.seconds, time.monotonic()
            saved = scored = self.state.seconds
            sums: dict[str, Any] = {}
            since, window = began, 0
            while self.progress() < 1 and not self.stop:
                for key, value in self._step().items():
                    sums[key] = sums.get(key, 0.0) + value
                window += 1
                now = time.monotonic()
                self.state.seconds = base + now - began
                if window == LOG_EVERY:
                    text = self._summary(sums, window, now - since)
                    bar.update(shown, completed=self.progress(), info=text)
                    self.log(text)
                    since, window, sums = now, 0, {}
                if self.state.step % self.steps_per_epoch == 0:
                    checks = self.task.validate(self.ema)
                    epoch = self.state.step // self.steps_per_epoch
                    self.log(f"epoch {epoch} done: {_join(checks)}")
                    since, window, sums = time.monotonic(), 0, {}
                if self.state.seconds - scored > METRIC_SECONDS:
                    metric = self.task.metric(self.ema, METRIC_IMAGES)
                    self.log(f"metric on {METRIC_IMAGES} validation images: {metric}")
                    since, window, sums = time.monotonic(), 0, {}
                    scored = self.state.seconds
                if self.state.seconds - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = self.state.seconds
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        self.save()
        self.log("stopped, resume with the same command" if self.stop else "training done")

    def _summary(self, sums: dict[str, float], steps: int, seconds: float) -> str:
        means = {key: value / steps for key, value in sums.items()}
        done = max(self.progress(), 1e-9)
        left = self.state.seconds * (1 - done) / done / 60
        speed = steps * self.schedule.batch / seconds
        return (
            f"step {self.state.step} {done:6.1%} {_join(means)} "
            f"lr {self._learning_rate():.2e} {speed:.0f} img/s eta {left:.0f} min"
        )


def _join(values: dict[str, float]) -> str:
    return " ".join(f"{key} {value:.4f}" for key, value in values.items())


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW; biases and normalisation parameters (all one-dimensional) are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.lr)
