PY := .venv/bin/python
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: env test test-all lint
env: .venv/.ready

.venv/.ready: requirements/dev.txt requirements/runtime.txt pyproject.toml
	python3 -m venv .venv
	$(PY) -m pip install -q -r requirements/dev.txt
	$(PY) -m pip install -q --no-deps -e . -e plugins/mmkit-text -e plugins/mmkit-tasks
	touch $@

lint: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

test: env lint
	$(PY) -m pytest -n 2 -m "not slow"

test-all: env lint
	$(PY) -m pytest -n 2
