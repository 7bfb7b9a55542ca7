#!/usr/bin/env bash
# Make the committed record again: every sweep of results/reference/record, and copy what it keeps.
#
#   scripts/record.sh            all that can be made: embedded models, and real ones that are there
#   scripts/record.sh claims     one of: claims resnet18 mobilenetv2 yolov8n yolov8n-coco
#                                yolov5n-coco yolox_nano-coco resnet20-cifar10 noise
#
# The real ones want models/ (yolov8n_coco.onnx, yolov5n_coco.onnx, yolox_nano_coco.onnx,
# resnet20_cifar10.onnx), datasets/coco_mini and datasets/cifar10_mini; see results/reference/README.md.
# Two runs at a time, with one thread each: accuracy is what is recorded, latencies say so.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
RECORD=results/record
TWO=(hydra/launcher=joblib hydra.launcher.n_jobs=2 engine.threads=1 timing.rounds=3 timing.seconds=0)
COCO=(dataset=coco dataset.images=datasets/coco_mini/val/images
    dataset.annotations=datasets/coco_mini/val/annotations.json
    dataset.calibration_images=datasets/coco_mini/calib/images calibration.size=128)
RULES=minmax,entropy,entropy2,entropy2_modelopt,percentile,mse,legacy,moving_average
BOTH=calibrator=minmax,entropy2
SEEDS=calibration.seed=0,1,2

CONFIRM=(confirm.seeds=0 confirm.roundings=0)

bench() { "$PYTHON" -m bench --multirun "$@" "${TWO[@]}" "${CONFIRM[@]}"; }

confirmed() { # as bench; the leaders are run with further calibration sets then
    local CONFIRM=()
    bench "$@"
}

keep() { # NAME: what stands in the record of the sweep
    mkdir -p "results/reference/record/$1"
    cp "$RECORD/$1"/{table.csv,claims.json} "results/reference/record/$1/"
    grep -v '^!\[' "$RECORD/$1/report.md" >"results/reference/record/$1/report.md" # without figures
}

shapes() { # MODEL PLANS: all calibrators, sizes, plans and seeds on the drawn scenes
    confirmed model="$1" calibrator=$RULES calibration.size=8,64 $SEEDS plan="$2" \
        sweep.out="$RECORD/$1-shapes"
    keep "$1-shapes"
}

coco() { # MODEL PLANS SEEDS: calibrators and plans; seeds and sizes
    local out=sweep.out=$RECORD/$1-coco
    bench model="$1" "${COCO[@]}" $BOTH calibration.size=8,32 "$3" "$out"
    confirmed model="$1" "${COCO[@]}" $BOTH,percentile,mse plan="$2" "$3" "$out"
}

letterbox() { # MODEL PLANS: what of Entropy's loss comes from the padding of calibration images
    local out=sweep.out=$RECORD/$1-coco plans=plan=$2
    bench model="$1" "${COCO[@]}" $BOTH "$plans" calibration.preprocess=stretch "$out"
    bench model="$1" "${COCO[@]}" $BOTH "$plans" input_range=declared "$out"
    bench model="$1" "${COCO[@]}" calibrator=entropy2 "$plans" calibration.pad=0,255,noise "$out"
}

claims() { # what conf/claim says would measure each claim, on the drawn scenes
    local out=sweep.out=$RECORD/claims plans=plan=all,float_head
    bench calibrator=minmax,percentile dataset.calibration_outlier=true,false,null "$out"
    bench $BOTH dataset.validation_domain=night dataset.calibration_domain=day,night,null "$out"
    bench model=resnet18,mobilenetv2 $BOTH "$out"
    bench model=yolov8n,resnet18,mobilenetv2 weights.granularity=per_channel,per_tensor "$out"
    bench calibrator=entropy2 "$plans" calibration.pad=null,0,255,noise "$out"
    bench calibrator=entropy2 "$plans" input_range=declared "$out"
    bench calibrator=entropy2 "$plans" calibration.preprocess=stretch "$out"
    bench $BOTH calibration.size=8,64,512 "$out"
    bench $BOTH dataset.calibration_images=1024 calibration.size=512,1024 "$out"
    bench $BOTH plan=all,float_first,float_head,float_first_and_head "$out"
    bench $BOTH placement=implicit "$out"
    keep claims
}

noise() { # what rounding alone does to the metric
    local file=results/reference/rounding-noise.csv rule model
    rm -f "$file"
    for rule in minmax entropy2; do
        for model in yolov8n resnet18 mobilenetv2; do
            "$PYTHON" scripts/rounding_noise.py model=$model calibrator=$rule --csv "$file"
        done
        "$PYTHON" scripts/rounding_noise.py model=yolov8n "${COCO[@]}" calibrator=$rule --csv "$file"
        "$PYTHON" scripts/rounding_noise.py model=yolox_nano "${COCO[@]}" calibrator=$rule \
            plan=float_depthwise --csv "$file"
    done
}

one() {
    case $1 in
    claims) claims ;;
    noise) noise ;;
    resnet18) shapes resnet18 all,float_first,float_head ;;
    mobilenetv2) shapes mobilenetv2 all,float_depthwise ;;
    yolov8n) shapes yolov8n all,float_first,float_head ;;
    yolov8n-coco)
        letterbox yolov8n all,float_head
        coco yolov8n all,float_first,float_head,float_first_and_head $SEEDS
        keep "$1"
        ;;
    yolov5n-coco)
        letterbox yolov5n all,float_head
        coco yolov5n all,float_first_and_head calibration.seed=0
        keep "$1"
        ;;
    yolox_nano-coco)
        letterbox yolox_nano all,float_depthwise
        coco yolox_nano all,float_first_and_head,float_depthwise $SEEDS
        keep "$1"
        ;;
    resnet20-cifar10)
        confirmed model=custom model.name=resnet20 model.path=models/resnet20_cifar10.onnx \
            model.head=classifier dataset=imagefolder dataset.name=cifar10 \
            dataset.root=datasets/cifar10_mini/val \
            dataset.calibration_root=datasets/cifar10_mini/calib \
            calibrator=minmax,entropy2,percentile,mse plan=all,float_first,float_head \
            calibration.size=8,128 $SEEDS sweep.out=$RECORD/resnet20-cifar10
        keep "$1"
        ;;
    *)
        echo "error: $1 is no sweep of the record. See the head of $0" >&2
        exit 2
        ;;
    esac
}

if (($#)); then
    for name in "$@"; do one "$name"; done
    exit
fi
for name in claims resnet18 mobilenetv2 yolov8n; do one "$name"; done
for name in yolov8n yolov5n yolox_nano; do
    if [[ -f models/${name}_coco.onnx && -d datasets/coco_mini ]]; then one "$name-coco"; fi
done
if [[ -f models/resnet20_cifar10.onnx && -d datasets/cifar10_mini ]]; then one resnet20-cifar10; fi
if [[ -f models/yolov8n_coco.onnx && -d datasets/coco_mini ]]; then one noise; fi
