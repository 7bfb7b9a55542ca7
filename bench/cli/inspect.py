"""``int8bench inspect NET.onnx [IMAGES]``: what a model is, how it wants its images, what to do."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli.command import Parser
from bench.cli.compose import build_typed
from bench.cli.custom_model import name_of
from bench.cli.heads import ChosenHead, all_heads, head_named
from bench.cli.messages import command
from bench.cli.recognise import Recognised, recognise
from bench.cli.words import words_of
from bench.data.preprocess import Preprocess
from bench.errors import ConfigError, ModelError
from bench.model.class_names import COCO, class_names
from bench.model.facts import ModelFacts, model_facts
from bench.model.graph import Graph
from bench.model.heads.base import shown
from bench.model.heads.fitting import Fit, fitting_heads, output_shapes, settle_head
from bench.model.onnx_model import OnnxModel, load_model
from bench.run.shared import Shared
from bench.search.preprocessing import Ranking, search_preprocessing

MOST_NAMES = 5
DETECTOR_IMAGES, CLASSIFIER_IMAGES = 32, 150


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print what there is to know; exit status 2: it cannot be used as it is."""
    asked = _parser().parse_args(argv)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    network = load_model(asked.model)
    graph = Graph(network)
    facts = model_facts(network, graph)
    try:
        fit: Fit | ModelError = _fit(asked.head, network, graph)
    except ModelError as error:
        fit = error
    _print_model(console, network, graph, facts, fit)
    if isinstance(fit, ModelError):
        raise fit
    chosen = head_named(fit.name)
    if asked.images is None:
        console.print("\nPreprocessing: give a folder of images, and it is tried. Usual with this "
                      f"head: {_shown_options(chosen.convention)}")  # fmt: skip
        console.print(f"\nNext:\n  int8bench inspect {shlex.quote(str(asked.model))} IMAGES")
        return 0
    recognised = recognise(
        asked.images, chosen.head.task, fit.n_classes,
        asked.annotations, asked.labels, asked.calibration,
    )  # fmt: skip
    model_keys = {"model": "custom", "model.path": asked.model, "model.head": fit.name}
    ranking = _search(model_keys, recognised, chosen, asked)
    _print_ranking(console, ranking, recognised)
    _print_command(
        console, model_keys, ranking.best.preprocess, chosen, recognised, network.input_shape[0]
    )
    return 0


def _parser() -> Parser:
    parser = Parser(
        "int8bench inspect",
        description="Say what an ONNX model is, try how it wants its images, and print the sweep.",
    )
    parser.add_argument("model", metavar="NET.onnx", type=Path, help="the FP32 model")
    parser.add_argument(
        "images", metavar="IMAGES", type=Path, nargs="?",
        help="a folder of images, or an Ultralytics data.yaml; labels beside them are used",
    )  # fmt: skip
    parser.add_argument("--annotations", metavar="FILE", type=Path, help="COCO's JSON")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="lines of an image, its class")
    parser.add_argument("--calibration", metavar="FOLDER", type=Path, help="calibration images")
    parser.add_argument("--head", metavar="NAME", help="where the outputs fit several heads")
    parser.add_argument("--count", metavar="N", type=int, help="images to try on (32 or 150)")
    return parser


def _fit(asked: str | None, network: OnnxModel, graph: Graph) -> Fit:
    if asked is None:
        return settle_head(all_heads(), network, graph)
    head = head_named(asked).head
    shapes = output_shapes(graph)
    fits = fitting_heads({asked: head}, shapes, (network.height, network.width))
    if not fits:
        raise ModelError(
            f"the model's outputs ({shown(shapes)}) do not fit head {asked}", "Drop --head"
        )
    return fits[0]


def _print_model(
    console: Console, network: OnnxModel, graph: Graph, facts: ModelFacts, fit: Fit | ModelError
) -> None:
    batch = network.input_shape[0]
    lines = [("model", f"{name_of(str(network.path))} ({network.path})")]
    if isinstance(fit, Fit):
        task = head_named(fit.name).head.task
        lines += [
            ("task", f"{task}, head {fit.name}"),
            ("classes", _shown_classes(fit, facts, task)),
        ]
    size = f"{network.height}x{network.width}"
    lines += [
        ("input", f"{network.input_name}, float32 NCHW, batch {batch or 'open'}, 3x{size}"),
        ("outputs", ", ".join(
            f"{name} {shown([shape])}"
            for name, shape in zip(graph.output_names, output_shapes(graph), strict=True)
        )),
        ("opset", f"{facts.opset}{f', made by {facts.producer}' if facts.producer else ''}"),
        ("work", f"{facts.products} convolutions and matrix products, "
                 f"{facts.multiply_accumulates / 1e9:.2f} billion multiply-accumulates, "
                 f"{facts.n_weights / 1e6:.1f} million weights"),
    ]  # fmt: skip
    for name, text in lines:
        console.print(f"{name:<9} {text}")
    for doubt in facts.doubts:
        console.print(f"! {doubt}")


def _shown_classes(fit: Fit, facts: ModelFacts, task: str) -> str:
    if fit.n_classes is None:
        return "the outputs do not say how many"
    names = class_names(fit.n_classes, dict(facts.noted), task == "detection")
    if names[0] == "0":
        known = " (as many as ImageNet-1K has)" if fit.n_classes == 1000 else ""
        return f"{fit.n_classes}{known}"
    kind = "COCO's: " if names == COCO else ""
    more = ", ..." if len(names) > MOST_NAMES else ""
    return f"{fit.n_classes} ({kind}{', '.join(names[:MOST_NAMES])}{more})"


def _search(
    model_keys: Mapping[str, object], recognised: Recognised, chosen: ChosenHead, asked: Namespace
) -> Ranking:
    usual = DETECTOR_IMAGES if chosen.head.task == "detection" else CLASSIFIER_IMAGES
    if asked.count is not None and asked.count < 1:
        raise ConfigError(f"--count={asked.count} is below 1", "Use 1 or more")
    batch = load_model(asked.model).input_shape[0] or 1
    words = words_of(
        [
            {**model_keys, **recognised.keys},
            {"evaluation.images": asked.count or usual, "evaluation.batch_size": batch},
        ]
    )
    with Shared() as shared:
        run = build_typed([*words, "calibration.size=1"], shared)
        run.check()
        stderr = Console(stderr=True)
        with stderr.status("trying preprocessings") as status:
            return search_preprocessing(run, lambda name: status.update(f"trying {name}"))


def _print_ranking(console: Console, ranking: Ranking, recognised: Recognised) -> None:
    best = ranking.best
    console.print(
        f"\nPreprocessing, tried on {best.n_images} images with {recognised.what}; "
        f"by {ranking.metric}:"
    )
    for attempt in ranking.leading:
        mark = "★" if attempt is best else "≈" if attempt in ranking.as_good else " "
        console.print(f"  {mark} {attempt.value:6.3f}  {attempt.scaling}, {attempt.fit}")
    console.print(f"  on the first {ranking.first[0].n_images} alone:")
    shown_already = {attempt.scaling for attempt in ranking.leading}
    for attempt in ranking.first:
        if attempt.scaling not in shown_already:
            console.print(f"    {attempt.value:6.3f}  {attempt.scaling}, {attempt.fit}")
    console.print(f"Scale and colours: {_sureness(ranking)}.")
    if not ranking.labelled:
        console.print("Without labels the fit cannot be decided: it is the usual one of the head.")
    if ranking.as_good:
        console.print("≈: these images cannot separate it from the one that is used.")
    if recognised.remark:
        console.print(f"! {recognised.remark}")


def _sureness(ranking: Ranking) -> str:
    share = ranking.sureness
    word = "sure" if share >= 0.95 else "likely" if share >= 0.75 else "not sure"
    return f"{word} ({ranking.best.scaling} is ahead in {share:.0%} of half-samples of the images)"


def _print_command(
    console: Console,
    model_keys: Mapping[str, object],
    preprocess: Preprocess,
    chosen: ChosenHead,
    recognised: Recognised,
    batch: int | None,
) -> None:
    keys: dict[str, Any] = {
        **model_keys,
        **_changed(preprocess, chosen.convention),
        **recognised.keys,
    }
    words = [*words_of([keys]), "calibrator=minmax,entropy2,percentile,mse"]
    words += ["calibration.size=8,64", "plan=all,float_head"]
    words += [f"evaluation.batch_size={batch}"] if batch not in (None, 1) else []
    console.print("\nNext:\n  int8bench sweep " + " ".join(map(shlex.quote, words)))


def _changed(preprocess: Preprocess, convention: Mapping[str, Any]) -> dict[str, object]:
    """The keys of a preprocessing that are not as the head's convention has them."""
    plain = {"pad": 114, "resize": None, "color": "rgb", "scale": 1 / 255,
             "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}  # fmt: skip
    usual = {**plain, **convention}
    wanted = {
        "fit": preprocess.fit, "resize": preprocess.resize, "color": preprocess.color,
        "scale": preprocess.scale, "mean": list(preprocess.mean), "std": list(preprocess.std),
    }  # fmt: skip
    return {
        f"model.preprocess.{key}": value
        for key, value in wanted.items()
        if value != (list(usual[key]) if isinstance(usual[key], (list, tuple)) else usual[key])
    }


def _shown_options(options: Mapping[str, Any]) -> str:
    return " ".join(f"model.preprocess.{key}={value}" for key, value in options.items())
