#!/usr/bin/env bash
# What only a GPU can tell, kept under results/reference/tensorrt-VERSION: TensorRT's own thresholds
# beside ours, tensor by tensor, and the table of calibrators, plans and engine options.
#
#   scripts/record_tensorrt.sh            all that can be made: embedded models, and real ones that
#                                         are there
#   scripts/record_tensorrt.sh resnet18   some of: doctor yolov8n resnet18 mobilenetv2 yolov8n-coco
#                                         yolov5n-coco
#
# It makes an environment with TensorRT 8.5.1.7 first (Python 3.10, fetches 1.7 GB); PYTHON=... takes
# one that is there, with any TensorRT from 8.5 to 10. Killed, the same command goes on.
#
#   BENCH_MODELS=models                 where yolov8n_coco.onnx and yolov5n_coco.onnx are
#   IMAGES= ANNOTATIONS= CALIBRATION_IMAGES=   COCO; datasets/coco_mini if not given
#   BATCH=1                             calibration images at a time on these, which are mostly
#                                       exported with a fixed batch of 1
#   BASELINE=cuda                       the FP32 baseline on the GPU, with onnxruntime-gpu
#   OVERRIDES=                              further Hydra overrides
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z ${PYTHON:-} ]]; then
    make TENSORRT=8.5.1.7 .venv-tensorrt85/.installed
    PYTHON=.venv-tensorrt85/bin/python
fi
VERSION=$("$PYTHON" -c 'import tensorrt; print(tensorrt.__version__)' 2>/dev/null) || {
    echo "error: $PYTHON cannot import tensorrt. Unset PYTHON; $PYTHON -m bench.doctor tells more" >&2
    exit 2
}
RECORD=${RECORD:-results/record_tensorrt}
REFERENCE=${REFERENCE:-results/reference}/tensorrt-$VERSION
read -ra OVERRIDES <<<"${OVERRIDES:-}"
DATA=datasets/coco_mini
COCO=(dataset=coco dataset.images="${IMAGES:=$DATA/val/images}"
    dataset.annotations="${ANNOTATIONS:-$DATA/val/annotations.json}"
    dataset.calibration_images="${CALIBRATION_IMAGES:-$DATA/calib/images}")
FITS=calibration.preprocess=same,stretch
PLANS=plan=all,float_first,float_head,float_first_and_head
EXPLICIT=(engine=tensorrt engine.half=true)
IMPLICIT=("${EXPLICIT[@]}" engine.mode=implicit placement=implicit)

bench() {
    commands+="python -m bench --multirun $*"$'\n'
    "$PYTHON" -m bench --multirun "$@"
}

record() { # NAME FITS BATCH OVERRIDE...: thresholds and table of one model
    local name=$1 fits=$2 fed=++calibrator.batch_size=$3 commands=
    local common=("${@:4}" calibration.size=128 baseline.provider="${BASELINE:-cpu}"
        sweep.out="$RECORD/$1" "${OVERRIDES[@]}")
    # The native ones, and ours that begin with the range of a batch as they do.
    bench calibrator=tensorrt_minmax,tensorrt_entropy2,entropy2 "$fed" "$fits" $PLANS \
        "${IMPLICIT[@]}" "${common[@]}"
    bench calibrator=minmax,percentile,mse "$fits" $PLANS "${IMPLICIT[@]}" "${common[@]}"
    bench calibrator=tensorrt_entropy,entropy "$fed" "${IMPLICIT[@]}" "${common[@]}"
    bench calibrator=minmax,entropy2,percentile,mse plan=all,float_head \
        "${EXPLICIT[@]}" "${common[@]}"
    bench calibrator=minmax "${EXPLICIT[@]}" engine.streams=1,4 engine.cuda_graphs=false,true \
        "${common[@]}"
    keep "$name"
}

keep() { # NAME: table, caches (TensorRT's as it wrote them), what differs, and the commands
    local table=$RECORD/$1/table.csv to=$REFERENCE/$1 pair rule fit native own name
    mkdir -p "$to"
    cp "$RECORD/$1"/{table.csv,claims.json,report.md} "$to/"
    for pair in minmax:MinMaxCalibration entropy:EntropyCalibration \
        entropy2:EntropyCalibration2; do
        rule=${pair%:*}
        for fit in same stretch; do
            native=$(find_run "$table" "tensorrt_$rule" $fit)
            own=$(find_run "$table" "$rule" $fit)
            if [[ -z $native || -z $own ]]; then continue; fi
            name=$rule-$fit
            cp "$RECORD/$1/ranges/$native.cache" "$to/tensorrt_$name.cache"
            "$PYTHON" -m bench cache export "$RECORD/$1/ranges/$own.json" \
                --cache "$to/$name.cache" --tensorrt "$VERSION" --algorithm "${pair#*:}"
            compare "$to/tensorrt_$name.cache" "$to/$name.cache" >"$to/$name.diff"
        done
    done
    write_readme "$1" >"$to/README.md"
}

find_run() { # TABLE CALIBRATOR FIT: the key of the run with every layer in INT8, if it was made
    "$PYTHON" - "$@" <<'PYTHON'
import sys

import pandas

path, calibrator, fit = sys.argv[1:]
rows = pandas.read_csv(path).query("status == 'ok' and placement == 'implicit' and plan == 'all'")
rows = rows.query("calibrator == @calibrator and calibration_preprocess == @fit")
print(*rows["run_key"][-1:])
PYTHON
}

compare() { # A B: what differs, and that anything does is no error
    "$PYTHON" -m bench cache diff "$@" || (($? == 1))
}

write_readme() { # NAME
    cat <<README
# $1 on TensorRT $VERSION

\`tensorrt_RULE.cache\` is what TensorRT's own calibrator wrote, \`RULE.cache\` our ranges of the same
images, \`RULE.diff\` what differs between A, TensorRT's, and B, ours. Calibration images are fitted as
the model's (\`-same\`), or without a letterbox (\`-stretch\`). Ours go through max-pooling and
concatenation, where inputs take the range of the output, and only TensorRT's have constants. \`table.csv\` has one row a run, with the GPU
and the commit that it was made on.

Made by \`scripts/record_tensorrt.sh $1\`:

\`\`\`
$commands\`\`\`
README
}

one() {
    case $1 in
    doctor)
        mkdir -p "$REFERENCE"
        # What it finds wrong is in its JSON: a reason to make the rest, not to stop.
        "$PYTHON" -m bench.doctor --json "$REFERENCE/doctor.json" || (($? == 1))
        ;;
    yolov8n) record "$1" $FITS 8 model=yolov8n ;;
    resnet18 | mobilenetv2) record "$1" calibration.preprocess=same 8 model="$1" ;;
    yolov8n-coco | yolov5n-coco)
        record "$1" $FITS "${BATCH:-1}" model="${1%-coco}" "${COCO[@]}"
        ;;
    *)
        echo "error: $1 is no part of this record. See the head of $0" >&2
        exit 2
        ;;
    esac
}

if (($#)); then
    for name in "$@"; do one "$name"; done
    exit
fi
for name in doctor yolov8n resnet18 mobilenetv2; do one "$name"; done
for name in yolov8n yolov5n; do
    if [[ -f ${BENCH_MODELS:-models}/${name}_coco.onnx && -d $IMAGES ]]; then one "$name-coco"; fi
done
