"""Train one of the benchmark's own networks on generated shapes and export it to ONNX.

    python scripts/train_shapes.py yolov8n                 # recipe's epochs, reproducible
    python scripts/train_shapes.py yolov8n --minutes 90    # done in 90 minutes
    python scripts/train_shapes.py yolov8n --export-only   # what the checkpoint holds now

A run resumes from the checkpoint in its directory.  Needs torch, onnx, numpy, pillow and rich;
onnxruntime (export check) and pycocotools (mAP) are used if they are there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from shapes_training.export import write_card, write_onnx  # noqa: E402
from shapes_training.loop import Schedule, Trainer, load_checkpoint  # noqa: E402
from shapes_training.tasks import NAMES, RECIPES, make_task  # noqa: E402

CACHE = ROOT / "datasets" / "shapes_training"
WEIGHTS = ROOT / "bench" / "model" / "weights"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=NAMES)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="train this many epochs")
    length.add_argument("--minutes", type=float, help="train this long by the clock")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--scenes", type=int, help="number of training images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="run directory (checkpoint and log)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="rendered images")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where the ONNX file goes")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--export-only", action="store_true")
    return parser.parse_args()


def export(trainer: Trainer, name: str, weights: Path) -> None:
    """Score the averaged weights, write the ONNX file and its card."""
    recipe, task, state = RECIPES[name], trainer.task, trainer.state
    detector = name == "yolov8n"
    metric_name, images = recipe.metric_name, recipe.metric_images
    value = task.metric(trainer.ema, images)
    if value is None:
        metric_name, images = "validation_loss", 200
        value = task.validate(trainer.ema)["validation_loss"]
    input_name = "images" if detector else "input"
    path = weights / f"{name}_shapes.onnx"
    sha = write_onnx(trainer.ema, path, task.size, input_name, task.outputs)
    shape = f"[batch, 3, {task.size}, {task.size}] float32"
    anchors = sum((task.size // stride) ** 2 for stride in (8, 16, 32))
    card = {
        "architecture": name,
        "dataset": f"shapes, {len(task.train)} generated training "
        + ("scenes" if detector else "pictures"),
        "parameters": sum(p.numel() for p in trainer.ema.parameters()),
        "seed": trainer.schedule.seed,
        "epochs": round(state.step / trainer.steps_per_epoch, 2),
        "training_seconds": round(state.seconds),
        "images_seen": state.images_seen,
        "input": f"{input_name} {shape}",
        "output": f"output0 [batch, 14, {anchors}] float32" if detector
        else "logits [batch, 10] float32",
        "metric_name": metric_name,
        "metric_value": round(value, 4),
        "metric_images": images,
        "sha256": sha,
        "torch_version": torch.__version__,
        "licence": "Apache-2.0",
    }  # fmt: skip
    write_card(path.with_suffix(".json"), card)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {metric_name} {value:.4f}", flush=True)


def main() -> None:
    args = arguments()
    recipe = RECIPES[args.name]
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    run = args.out or args.cache / "runs" / args.name
    schedule = Schedule(
        epochs=args.epochs or recipe.epochs,
        minutes=args.minutes,
        images=args.scenes or recipe.images,
        batch=args.batch or recipe.batch,
        lr=args.lr or recipe.lr,
        weight_decay=recipe.weight_decay,
        seed=args.seed,
    )
    if args.export_only:
        saved = load_checkpoint(run)
        if saved is None:
            raise SystemExit(f"{run} holds no checkpoint yet")
        schedule = Schedule(**saved["schedule"])
    task = make_task(args.name, schedule.images, args.cache, device, args.threads)
    trainer = Trainer(task, schedule, run, device, args.resume or args.export_only)
    if not args.export_only:
        trainer.train()
    if not trainer.stop:
        export(trainer, args.name, args.weights)


if __name__ == "__main__":
    main()
