# Every target makes what it needs: .venv with the pinned dependencies comes first.
SHELL := /bin/bash
# The Python that makes the virtual environment: 3.10 to 3.13
PYTHON ?= python3
VENV := .venv
# Beside the package: NVIDIA's builder, where there is one (pyproject.toml)
EXTRAS := rtx
# For ENGINE=tensorrt: 8.5.1.7, 10 or 11 takes an environment with that TensorRT.
TENSORRT ?=
ifneq ($(TENSORRT),)
release := $(or $(if $(filter 8.5.1.7 8.5,$(TENSORRT)),85),$(filter 10 11,$(TENSORRT)),\
	$(error TENSORRT=$(TENSORRT) is none of 8.5.1.7, 10 and 11))
VENV := .venv-tensorrt$(release)
EXTRAS := rtx,tensorrt$(release)
ifeq ($(release),85)
ifeq ($(origin PYTHON),file)
PYTHON := $(firstword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python3.10) python3.10)
endif
endif
endif
BIN := $(VENV)/bin
# What a launcher or a sweeper needs besides is installed when it is asked for
optional := $(strip $(foreach extra,ray submitit optuna,\
	$(if $(findstring $(extra),$(LAUNCHER) $(OVERRIDES)),$(extra))))
# Statistics, fitted images and fetched weights; make clean removes them
export BENCH_CACHE ?= .cache/bench

# The axes of a sweep, each a list with commas: the model, conf/model
MODEL ?= yolov8n
# Images and labels: conf/dataset
DATASET ?= shapes
# conf/calibrator
CALIBRATORS ?= minmax,entropy2,percentile,mse
# Numbers of calibration images
SIZES ?= 8,64
# Seeds of the shuffle that chooses the calibration images
SEEDS ?= 0
# Which layers stay in float: conf/plan
PLANS ?= all,float_first,float_head
# What builds and runs the INT8 model: conf/engine
ENGINE ?= openvino
# NVIDIA's engine of each Q/DQ file, built beside the measured one on Linux x86-64; ALSO_BUILD= for none
ALSO_BUILD ?= $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),\
	$(if $(filter openvino onnxruntime,$(ENGINE)),tensorrt_rtx))
# The GPUs that ALSO_BUILD and ENGINE=tensorrt_rtx build for (SM86, SM89 ...)
CAPABILITY ?=
# basic: one run after the other; joblib: on this machine's cores; ray: a Ray cluster, of this machine or
# OVERRIDES=hydra.launcher.ray.init.address=auto; submitit: SLURM (submitit_local: its local executor)
LAUNCHER ?= basic
# What may be lost of FP32 (1%): rows that lose more are marked
MAX_LOSS ?=
# true: a run ends once it is proven that it cannot be the answer, or only by a tie
RACE ?=
# The folder of results: results/MODEL-DATASET where nothing is given
OUT ?=
# The tensor that make histograms draws
TENSOR ?=
# A file of expected results for make guard; results/reference/expected.yaml where nothing is given
REFERENCE ?=
# The cases and verdicts that make guard checks (a glob)
ONLY ?=
# The key of the row that make bundle takes; the recommended one where nothing is given
RUN ?=
# The folder that make bundle writes
TO ?=
# The folder of a kit, as it came back from the target
KIT ?=
# An ONNX file of yours
MODEL_PATH ?=
# With DATASET=yolo: an Ultralytics YAML, which says where images and labels lie. With make judge: the
# files of other tools
FILE ?=
# The folder of validation images
IMAGES ?=
# With DATASET=coco: the JSON file of the validation images
ANNOTATIONS ?=
# The folder of calibration images
CALIBRATION_IMAGES ?=
# A preset of conf/experiment for make sweep, in place of the axes above: finding, quick, full, real-yolo
EXPERIMENT ?=
# Further Hydra overrides of make sweep and make diagnose, as 'KEY=VALUE KEY=VALUE'
OVERRIDES ?=
# Flags of the other commands, as --json=FILE
FLAGS ?=
# The dataset that make data fetches
NAME ?=
$(if $(EXTRA),$(error EXTRA is now OVERRIDES=... of make sweep, and FLAGS=... of other targets))
# A file of tests stays in one process, as its tests share what they measure
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
$(if $(and $(filter yolo,$(DATASET)),$(strip $(IMAGES)$(ANNOTATIONS)$(CALIBRATION_IMAGES))),\
	$(error DATASET=yolo takes FILE=data.yaml in place of IMAGES, ANNOTATIONS and CALIBRATION_IMAGES))

install = $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --editable '.[$(1)]'
COMMA := ,
given = $(if $(strip $(2)),$(1)=$(2))
DATA = $(call given,model.path,$(MODEL_PATH)) \
	$(if $(filter judge,$(MAKECMDGOALS)),,$(call given,dataset.file,$(FILE))) \
	$(if $(filter imagefolder images voc,$(DATASET)),\
	$(call given,dataset.root,$(IMAGES)) $(call given,dataset.calibration_root,$(CALIBRATION_IMAGES)),\
	$(call given,dataset.images,$(IMAGES)) $(call given,dataset.annotations,$(ANNOTATIONS)) \
	$(call given,dataset.calibration_images,$(CALIBRATION_IMAGES)))
WORDS = $(if $(EXPERIMENT),$(PRESET),$(AXES))
PRESET = +experiment=$(EXPERIMENT) $(DATA) $(call given,max_loss,$(MAX_LOSS)) $(call given,sweep.race,$(RACE)) $(call given,sweep.out,$(OUT)) \
	$(OVERRIDES)
AXES = model=$(MODEL) dataset=$(DATASET) calibrator=$(CALIBRATORS) calibration.size=$(SIZES) \
	calibration.seed=$(SEEDS) plan=$(PLANS) engine=$(ENGINE) hydra/launcher=$(LAUNCHER:submitit=submitit_slurm) \
	$(call given,also_build,$(strip $(ALSO_BUILD))) \
	$(call given,$(if $(strip $(ALSO_BUILD)),also_build,engine).compute_capability,$(CAPABILITY)) \
	$(DATA) \
	$(call given,max_loss,$(MAX_LOSS)) $(call given,sweep.race,$(RACE)) $(call given,sweep.out,$(OUT)) \
	$(OVERRIDES)
first = $(firstword $(subst $(COMMA), ,$(1)))
DIAGNOSE = model=$(MODEL) dataset=$(DATASET) calibrator=$(call first,$(CALIBRATORS)) \
	calibration.size=$(lastword $(subst $(COMMA), ,$(SIZES))) \
	calibration.seed=$(call first,$(SEEDS)) $(DATA) $(call given,sweep.out,$(OUT)) $(OVERRIDES)
# FILE= names what is judged; a dataset=yolo is then OVERRIDES=dataset.file=data.yaml
JUDGE = model=$(MODEL) dataset=$(DATASET) calibration.size=$(lastword $(subst $(COMMA), ,$(SIZES))) \
	calibration.seed=$(call first,$(SEEDS)) $(DATA) \
	$(call given,sweep.out,$(OUT)) $(OVERRIDES)

.DEFAULT_GOAL := help
.PHONY: help inspect sweep diagnose judge status data report claims guard histograms bundle kit merge doctor test test-all test-launchers test-wheel test-tensorrt docs lint format benchmark chaos clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(call install,$(EXTRAS))
	@touch $@

# What tests, linters and the browser need besides
$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what tests and linters need into $(VENV) ..."
	@$(call install,$(EXTRAS)$(COMMA)dev)
	@touch $@

$(VENV)/.installed-with-%: $(VENV)/.installed
	@echo "Installing what $* needs into $(VENV) ..."
	@$(call install,$(EXTRAS)$(COMMA)$*)
	@touch $@

sweep: $(VENV)/.installed $(optional:%=$(VENV)/.installed-with-%) ## Run a sweep and write its table and report (MODEL= CALIBRATORS= SIZES= PLANS= ...)
	$(BIN)/int8bench sweep $(strip $(WORDS))

inspect: $(VENV)/.installed ## Say what a model is, how it wants its images, and what to run (MODEL_PATH=net.onnx IMAGES=folder)
	@test -n "$(strip $(MODEL_PATH))" || { echo 'error: no model to look at. Use make inspect MODEL_PATH=net.onnx IMAGES=folder' >&2; exit 2; }
	@$(BIN)/int8bench inspect $(MODEL_PATH) $(or $(IMAGES),$(FILE)) $(addprefix --annotations=,$(ANNOTATIONS)) \
		$(addprefix --calibration=,$(CALIBRATION_IMAGES)) $(FLAGS)

diagnose: $(VENV)/.installed ## Measure which layers INT8 harms, and why (MODEL= CALIBRATORS= OVERRIDES=diagnose.metric=true)
	$(BIN)/int8bench diagnose $(strip $(DIAGNOSE))

judge: $(VENV)/.installed ## Measure INT8 files, caches or ranges of other tools beside ours (FILE="a.onnx b.cache" MODEL= ...)
	@test -n "$(strip $(FILE))" || { echo 'error: no file to look at. Use make judge FILE="a.onnx b.cache"' >&2; exit 2; }
	$(BIN)/int8bench judge $(FILE) $(strip $(JUDGE))

status: $(VENV)/.installed ## Show how far a sweep is, and what failed (OUT=results/...)
	@$(BIN)/int8bench status $(or $(OUT),results/$(MODEL)-$(DATASET))

data: $(VENV)/.installed ## Fetch a public dataset (NAME=coco-val2017, coco-calib or coco128)
	@$(BIN)/int8bench data $(NAME)

report: $(VENV)/.installed ## Redraw the report from a sweep's table (OUT=results/... MAX_LOSS=1%)
	$(BIN)/int8bench report $(or $(OUT),results/$(MODEL)-$(DATASET)) \
		$(addprefix --max-loss=,$(MAX_LOSS))

claims: $(VENV)/.installed ## Judge published claims on a sweep's rows (OUT=results/...)
	$(BIN)/int8bench claims $(or $(OUT),results/$(MODEL)-$(DATASET))

guard: $(VENV)/.installed ## Check results against those expected (REFERENCE=file.yaml ONLY='yolov8n-*')
	@$(BIN)/int8bench guard $(REFERENCE) $(if $(ONLY),--only='$(ONLY)') $(addprefix --out=,$(OUT)) $(FLAGS)

histograms: $(VENV)/.installed ## Draw every threshold on the histograms (OUT=results/... TENSOR=images)
	$(BIN)/int8bench histograms $(or $(OUT),results/$(MODEL)-$(DATASET)) \
		$(addprefix --tensor=,$(TENSOR)) $(FLAGS)

bundle: $(VENV)/.installed ## Turn a row into a folder to deploy (OUT=results/... RUN=key TO=folder FLAGS=--engine=SM89)
	$(BIN)/int8bench bundle $(or $(OUT),results/$(MODEL)-$(DATASET)) \
		$(addprefix --run=,$(RUN)) $(addprefix --to=,$(TO)) $(FLAGS)

kit: $(VENV)/.installed ## Pack rows to be measured on a Jetson or server without this package (OUT=results/... TO=kit RUN=key)
	$(BIN)/int8bench kit $(or $(OUT),results/$(MODEL)-$(DATASET)) \
		$(addprefix --run=,$(RUN)) $(addprefix --to=,$(TO)) $(FLAGS)

merge: $(VENV)/.installed ## Add what targets measured of a kit to its sweep's table and report (KIT=kit)
	$(BIN)/int8bench merge $(or $(KIT),kit) $(addprefix --sweep=,$(OUT)) $(FLAGS)

doctor: $(VENV)/.installed ## Check this machine for sweeps and TensorRT (FLAGS=--json=FILE)
	$(BIN)/int8bench doctor $(FLAGS)

test: $(VENV)/.installed-dev ## Run the tests but the slow ones, on every core (6.5 minutes on two)
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: $(VENV)/.installed-dev ## Run all tests, and measure what share of bench/ they reach (15 minutes)
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term

test-launchers: $(VENV)/.installed-dev $(patsubst %,$(VENV)/.installed-with-%,ray submitit optuna) ## Check sweeps on joblib, submitit, SLURM, two Ray nodes, and Optuna
	$(BIN)/python -m pytest tests/e2e/test_workers.py

test-wheel: ## Build the wheel, install it into an environment of its own, and run a small sweep there
	@scripts/test_wheel.sh $(PYTHON)

test-tensorrt: ## Check engine=tensorrt on the real TensorRT 8.5.1.7, without a GPU (Python 3.10)
	@test -e .venv-tensorrt85/.installed-dev || echo "TensorRT 8.5.1.7 with cuDNN and cuBLAS: downloads about 1.7 GB"
	@$(MAKE) --silent TENSORRT=8.5.1.7 .venv-tensorrt85/.installed-dev
	.venv-tensorrt85/bin/python -m pytest -m tensorrt tests/engine/test_trt_real.py

docs: $(VENV)/.installed $(VENV)/.installed-with-docs ## Build the documentation into site/ (Python 3.11 or later)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open site/index.html; its search needs a server: $(BIN)/python -m http.server --directory site"

lint: $(VENV)/.installed-dev $(VENV)/.installed-with-docs ## Check style, types, shell scripts, import floors and known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck .ci/run scripts/*.sh
	$(BIN)/lint-imports
	@$(BIN)/python scripts/audit.py

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/.installed-dev ## Measure what calibration costs, and how often intervals cover (MODEL_PATH= OUT=)
	$(BIN)/python -m tests.benchmarks $(strip $(call given,--model,$(MODEL_PATH)) \
		$(call given,--out,$(OUT)) $(FLAGS))

chaos: $(VENV)/.installed-dev ## Kill sweeps and damage their files: nothing may be lost or wrong (20 minutes; FLAGS=--seed=1)
	$(BIN)/python -m tests.chaos $(FLAGS)

clean: ## Remove the virtual environment, caches and results (not results/reference)
	rm -rf .venv .venv-tensorrt* site .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
	find results -mindepth 1 -maxdepth 1 ! -name reference ! -name README.md -exec rm -rf {} +
