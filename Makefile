PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests mostly wait for real processes; a file stays together because some tell one story.
WORKERS ?= 3
# Tests start hundreds of interpreters; each would compile the code anew where the environment forbids to keep it.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo bundle test again lint format lock releases docs clean

PIP := $(BIN)/python -m pip install --disable-pip-version-check

# What the console and its demo need, without the development tools.
$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "Installing the console into $(VENV) ..."
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q console screens layouts
	touch $@

$(VENV)/.ready: requirements-dev.lock $(VENV)/.installed
	$(PIP) --quiet --require-hashes -r requirements-dev.lock
	touch $@

demo: $(VENV)/.installed  ## the app on an embedded demo cluster
	$(BIN)/dsv4-console demo
	@echo "The command is $(BIN)/dsv4-console. docs/install.md tells how to put it on your PATH."

bundle:  ## one archive that installs on a jump host without network: build/dsv4-console-VERSION.tar.gz
	.ci/bundle "$(PYTHON)"

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## everything the CI runs
	FAILED_FILES=build/failed-files $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

again: $(VENV)/.ready  ## the test files that failed in the last `make test`, alone
	xargs -r $(BIN)/pytest < build/failed-files

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate pyproject.toml -
lock:  ## renew both lock files from pyproject.toml: the development tools have their own
	$(BIN)/python -m pip install --quiet uv
	printf 'hatchling==1.27.0\neditables==0.5\n' | $(LOCK) --extra dev -o requirements-dev.lock
	printf 'hatchling==1.27.0\neditables==0.5\n' | $(LOCK) --extra demo -c requirements-dev.lock -o requirements.lock

docs: $(VENV)/.ready  ## write what follows from the program: pages of docs/, schemas, completion scripts
	$(BIN)/python -m tests.docs.generate

releases: $(VENV)/.ready  ## collect anew what releases of vLLM and vllm-ascend know; VLLM_PYTHON can import vLLM 0.21.0
	$(BIN)/python -m tests.releases.collect --vllm-python $(VLLM_PYTHON) --work $(or $(WORK),build/releases)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache
