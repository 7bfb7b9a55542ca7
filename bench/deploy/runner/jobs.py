"""One job of a kit: an engine built, run on every image and timed, or a native calibration."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from bench.deploy.runner.cuda import Cuda, load_cuda
from bench.deploy.runner.files import Kit
from bench.deploy.runner.ground import (
    RESULT_VERSION,
    KitError,
    NotHereError,
    one_line,
    sha256,
    write_json,
    write_whole,
)
from bench.deploy.runner.ort import OrtSession, load_onnxruntime
from bench.deploy.runner.reduce import Reduced
from bench.deploy.runner.trt_build import Options, TrtBuilder, load_tensorrt
from bench.deploy.runner.trt_run import TrtSession


class Setting:
    """What all jobs of a run share: the kit, where results go, and how engines are built."""

    def __init__(self, kit: Kit, results: Path, work: Path, asked: Any) -> None:
        self.kit, self.results, self.work = kit, results, work
        self.engine = str(asked.engine)
        self.seconds, self.threads = float(asked.seconds), int(asked.threads)
        self.options = Options(
            bool(asked.half), asked.dla, float(asked.workspace_gb), str(asked.tactic_sources)
        )
        self.implicit = bool(asked.implicit) or asked.dla is not None

    def told(self) -> dict[str, Any]:
        """The options that can change a result."""
        return {
            "half": self.options.half,
            "dla": self.options.dla,
            "implicit": self.implicit,
            "workspace_gb": self.options.workspace_gb,
            "tactic_sources": self.options.tactic_sources,
        }

    @property
    def timings(self) -> Path:
        return self.work / "timing.cache"


def run_job(setting: Setting, job: dict[str, Any]) -> None:
    """Do a job and write its result, also of one that failed; every file is whole or not there."""
    started = time.time()
    result: dict[str, Any] = {
        "result": RESULT_VERSION,
        "kit": setting.kit.id,
        "job": job["id"],
        "engine": setting.engine,
        "options": setting.told(),
        "status": "ok",
        "reason": "",
    }
    try:
        result.update(_do(setting, job, result, started))
    except NotHereError as error:
        result.update({"status": "skipped", "reason": one_line(error)})
    except (KitError, RuntimeError, OSError, ValueError, TypeError, AttributeError) as error:
        kind = "" if isinstance(error, KitError) else f"{type(error).__name__}: "
        result.update({"status": "failed", "reason": kind + one_line(error)})
    _end(setting, result, started)


def _end(setting: Setting, result: dict[str, Any], started: float) -> None:
    result["wall_s"] = round(time.time() - started, 3)
    result["ended_at"] = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    write_json(setting.results / "{}.json".format(result["job"]), result)


def _do(
    setting: Setting, job: dict[str, Any], result: dict[str, Any], started: float
) -> dict[str, Any]:
    if setting.engine == "onnxruntime":
        return _with_onnxruntime(setting, job)
    trt = load_tensorrt()
    result["version"] = str(trt.__version__)
    builder = TrtBuilder(trt, setting.options, setting.timings)
    if job["kind"] == "calibrate":
        return _calibrate(setting, job, builder, result, started)
    began = time.perf_counter()
    plan, mode = _build(setting, job, builder)
    built = {
        "mode": mode,
        "build_s": round(time.perf_counter() - began, 3),
        "engine_bytes": len(plan),
    }
    source = setting.kit.facts["input"]
    session = TrtSession(
        trt, builder.log, Cuda(load_cuda()), plan, source["shape"], setting.kit.facts["outputs"]
    )
    built.update(_evaluate(setting, job, session))
    layers = session.inspect().encode()
    write_whole(setting.results / "{}.layers.json".format(job["id"]), layers)
    built["layers_sha256"] = sha256(layers)
    return built


def _build(setting: Setting, job: dict[str, Any], builder: TrtBuilder) -> Any:
    """The engine, and how it was quantized."""
    kit, kind = setting.kit, job["kind"]
    if kind == "fp32":
        return builder.float32(kit.float_model()), "fp32"
    if kind == "fp16":
        return builder.float16(kit.float_model(), kit.half_model()), "fp16"
    if kind == "native":
        cache = setting.results / "native-{}.cache".format(job["algorithm"])
        if not cache.is_file():
            raise NotHereError(f"{cache.name} is not there: calibrate first")
        return builder.implicit(kit.float_model(), cache.read_bytes(), {}), "implicit"
    row = kit.facts["rows"][job["row"]]
    if builder.major <= 10 and (row["implicit"] or setting.implicit):
        plan = builder.implicit(kit.float_model(), kit.read(row["cache"]), row["in_float"])
        return plan, "implicit"
    form = "int8" if builder.major >= 10 else "float"
    return builder.explicit(kit.row_model(job["row"], form)), "explicit"


def _calibrate(
    setting: Setting,
    job: dict[str, Any],
    builder: TrtBuilder,
    result: dict[str, Any],
    started: float,
) -> dict[str, Any]:
    """Ends the process with the writing of the cache: the engine is built again when it is run."""

    def written(cache: bytes, batches: int) -> None:
        write_whole(setting.results / "{}.cache".format(job["id"]), cache)
        result.update({"batches": batches, "cache_sha256": sha256(cache)})
        _end(setting, result, started)
        os._exit(0)

    kit = setting.kit
    builder.calibrate(
        kit.float_model(),
        job["algorithm"],
        kit.images("calibration"),
        int(kit.facts["images"]["calibration"]["count"]),
        written,
    )
    return {}


def _with_onnxruntime(setting: Setting, job: dict[str, Any]) -> dict[str, Any]:
    """FP32, and rows as their Q/DQ files say, computed in float; timed with its INT8 kernels."""
    ort, kit = load_onnxruntime(), setting.kit
    result: dict[str, Any] = {"version": str(ort.__version__)}
    if job["kind"] not in ("fp32", "row"):
        raise NotHereError("ONNX Runtime has neither FP16 on a CPU nor TensorRT's calibrators")
    explicit = job["kind"] == "row"
    model = kit.row_model(job["row"], "int8") if explicit else kit.float_model()
    began = time.perf_counter()
    session = OrtSession(ort, model, kit.facts["outputs"], exact=explicit, threads=setting.threads)
    result["build_s"] = round(time.perf_counter() - began, 3)
    result["mode"] = "exact" if explicit else "fp32"
    timed: Any | None = None
    if explicit:
        timed = OrtSession(ort, model, kit.facts["outputs"], False, setting.threads)
    result.update(_evaluate(setting, job, session, timed))
    return result


def _evaluate(
    setting: Setting, job: dict[str, Any], session: Any, timed: Any | None = None
) -> dict[str, Any]:
    """Predictions on every image, reduced and stored, then latencies (of ``timed``, if given)."""
    kit = setting.kit
    images, size = kit.images("evaluation"), int(kit.facts["input"]["shape"][0])
    reduced = Reduced(kit.facts["reduction"])
    began = time.perf_counter()
    for start, batch in images.batches(size):
        outputs = session.run(batch)
        for offset in range(min(size, len(images) - start)):
            reduced.add([output[offset] for output in outputs])
    evaluate_s = time.perf_counter() - began
    content = reduced.to_bytes()
    write_whole(setting.results / "{}.npz".format(job["id"]), content)
    latency: dict[str, Any] = {}
    if setting.seconds > 0:
        latency = (timed or session).latencies(images.batch(0, size), setting.seconds)
    return {
        "images": len(images),
        "predictions_sha256": sha256(content),
        "evaluate_s": round(evaluate_s, 3),
        "latency": latency,
    }
