#!/usr/bin/env bash
# Build the wheel, install it with the pinned dependencies into an environment of its own, and run a
# small sweep from another folder: scripts/test_wheel.sh [PYTHON]
set -euo pipefail

python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip --quiet --disable-pip-version-check)
"${pip[@]}" wheel --no-deps --wheel-dir "$folder" "$root"
"${pip[@]}" install --constraint "$root/constraints.txt" "$folder"/*.whl

mkdir "$folder/elsewhere"
cd "$folder/elsewhere"
unset PYTHONPATH
"$folder/venv/bin/int8bench" sweep model=yolov8n calibrator=minmax calibration.size=2 plan=all \
	dataset.validation_images=4 dataset.calibration_images=4 confirm.seeds=0 confirm.roundings=0 \
	timing.rounds=3 timing.seconds=0 sweep.cache="$folder/cache"
tables=(results/*/table.csv)
if [[ $(wc -l <"${tables[0]}") -ne 2 ]]; then
	echo "error: ${tables[0]} is not a table with one row" >&2
	exit 1
fi
echo "The wheel works in $("$python" --version)"
