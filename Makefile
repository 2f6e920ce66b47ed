PY := .venv/bin/python
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: env demo docs test test-all soak lint reference bench
env: .venv/.ready

.venv/.ready: requirements/dev.txt requirements/runtime.txt pyproject.toml
	python3 -m venv .venv
	$(PY) -m pip install -q -r requirements/dev.txt
	$(PY) -m pip install -q --no-deps -e . -e plugins/mmkit-image -e plugins/mmkit-audio -e plugins/mmkit-text -e plugins/mmkit-tasks
	touch $@

lint: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy mmkit
	for p in image audio text tasks; do .venv/bin/mypy plugins/mmkit-$$p/mmkit_$$p || exit 1; done
	.venv/bin/mypy examples/mmkit-ecg/mmkit_ecg
	.venv/bin/lint-imports

test: env .venv/.docs lint
	$(PY) -m pytest -n 2 -m "not slow"

test-all: env .venv/.docs lint
	$(PY) -m pytest -n 2 -m "not soak"

soak: env
	$(PY) -m pytest -s -m soak

.venv/.demo: .venv/.ready requirements/demo.txt
	$(PY) -m pip install -q -r requirements/demo.txt
	touch $@

demo: .venv/.demo
	env -u OMP_NUM_THREADS $(PY) -m recipes.quickstart.run

.venv/.bench: .venv/.ready requirements/bench.txt
	$(PY) -m pip install -q -r requirements/bench.txt
	touch $@

bench: .venv/.bench
	env -u OMP_NUM_THREADS $(PY) -m benchmarks.all
	$(PY) -m benchmarks.table

.venv/.docs: .venv/.ready requirements/docs.txt
	$(PY) -m pip install -q -r requirements/docs.txt
	touch $@

docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "built build/site: open build/site/index.html by a server, python -m http.server -d build/site"

reference: env
	$(PY) -m docs.generate
