PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests mostly wait for real processes; a file stays together because some tell one story.
WORKERS ?= 3
# Tests start hundreds of interpreters; each would compile the code anew where the environment forbids to keep it.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test again lint format lock releases docs clean

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q console screens layouts
	touch $@

demo: $(VENV)/.ready  ## the app on an embedded demo cluster
	$(BIN)/dsv4-console demo

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## everything the CI runs
	FAILED_FILES=build/failed-files $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

again: $(VENV)/.ready  ## the test files that failed in the last `make test`, alone
	xargs -r $(BIN)/pytest < build/failed-files

lock:  ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	printf 'hatchling==1.27.0\neditables==0.5\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml - -o requirements.lock

docs: $(VENV)/.ready  ## write the pages of docs/ that follow from the program: commands, keys, known failures, rules
	$(BIN)/python -m tests.docs.generate

releases: $(VENV)/.ready  ## collect anew what releases of vLLM and vllm-ascend know; VLLM_PYTHON can import vLLM 0.21.0
	$(BIN)/python -m tests.releases.collect --vllm-python $(VLLM_PYTHON) --work $(or $(WORK),build/releases)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache
