#!/usr/bin/env bash
# The kit of the case that this harness began with: does Entropy-v2 harm a YOLOv8n on COCO where
# MinMax does not, on TensorRT itself? One command sweeps what is foretold here, and packs it:
#
#   scripts/mission_kit.sh yolov8n.onnx val2017 instances_val2017.json calib kit
#
# MODEL.onnx, validation images and their annotations, calibration images (128 are drawn), and the
# folder of the kit. FP32, FP16, TensorRT's own MinMax and Entropy-v2 (and Entropy), ours from
# calibration caches and as Q/DQ files, all layers in INT8 and with the first and output convolutions
# in float. Killed, the same command goes on. On the target: python3 run.py --minutes 15
#
#   SWEEP=results/mission    the sweep's folder
#   OVERRIDES=               further Hydra overrides, such as evaluation.images=500
#   PYTHON=.venv/bin/python
set -euo pipefail
if [[ $# -ne 5 ]]; then
    echo "usage: $0 MODEL.onnx IMAGES ANNOTATIONS.json CALIBRATION_IMAGES KIT" >&2
    exit 2
fi
PYTHON=${PYTHON:-$(dirname "$0")/../.venv/bin/python}
SWEEP=${SWEEP:-results/mission}
read -ra OVERRIDES <<<"${OVERRIDES:-}"
if [[ -e $5 ]]; then
    echo "error: $5 exists already. Delete it, or name another folder" >&2
    exit 2
fi

sweep() {
    "$PYTHON" -m bench --multirun model=yolov8n model.path="$1" dataset=coco dataset.images="$2" \
        dataset.annotations="$3" dataset.calibration_images="$4" calibration.size=128 timing=off \
        confirm.seeds=0 confirm.roundings=0 sweep.out="$SWEEP" "${OVERRIDES[@]}" "${@:5}"
}

# A batch of 1, as the native calibrators are fed: the range of Entropy's histogram begins with it.
sweep "${@:1:4}" calibrator=minmax plan=all placement=implicit
sweep "${@:1:4}" calibrator=entropy2 calibrator.batch_size=1 plan=all placement=implicit
sweep "${@:1:4}" calibrator=minmax,entropy2 plan=all,float_first_and_head
"$PYTHON" -m bench kit "$SWEEP" --native minmax,entropy2,entropy --to "$5"
