# make train   set up .venv, then train the default VAE on 5,000 real digits (ARGS="model=beta_vae ..." passes overrides on)
# make test    set up .venv, then run the tests (ARGS="-k dcgan" passes options on)
# make test-slow  the others, which are marked slow: several processes, wheels, compiled parts, long trainings
# make tools   Chromium and Slurm (Debian's packages, by root), Playwright, axe-core, MLflow, trackio and datasets
# make test-tools  the tests that need them, in a real browser, on a real cluster; here a skip is a failure
# make coverage  the whole suite, then list the lines of lightning_gen that no test runs
# make lint    check style and types
# make docs    build the site of the documentation in build/docs/html; dead links fail
.PHONY: train test test-slow tools test-tools coverage lint format docs clean
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV = $$(command -v uv || echo $(BIN)/uv)
CONSTRAINTS ?= constraints.txt # empty: the newest versions that pyproject.toml allows

train: $(READY)
	$(BIN)/python train.py $(ARGS)

# Two processes on two cores: more threads would only wait.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test: $(READY)
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(READY)
	$(PYTEST) -m slow $(ARGS)

# pyproject.toml leaves pandas out (tool.uv), which datasets and MLflow's server need.
tools: $(READY)
	apt-get update -qq
	apt-get install --yes -qq --no-install-recommends chromium slurmctld slurmd slurm-client >/dev/null
	$(UV) pip install --quiet --python $(BIN)/python $(addprefix --constraint ,$(CONSTRAINTS)) \
		playwright axe-playwright-python --editable '.[huggingface,mlflow,trackio]'
	$(UV) pip install --quiet --python $(BIN)/python $(addprefix --constraint ,$(CONSTRAINTS)) --no-config pandas

# One after the other: a cluster's time limits are real ones.
test-tools: $(READY)
	OMP_NUM_THREADS=1 REQUIRE_TOOLS=1 $(BIN)/python -m pytest -m tools $(ARGS)

coverage: $(READY)
	$(PYTEST) --cov --cov-report=term-missing:skip-covered $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/api_pages.py
	$(BIN)/python scripts/docs_site.py llms=true

docs: $(READY)
	$(BIN)/python scripts/docs_site.py
	@echo "to look at it, with its search: $(BIN)/python -m http.server --bind 127.0.0.1 -d build/docs/html"

# Bytecode is compiled at installation: without it every start is 2.5 to 3 times slower.
$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	command -v uv >/dev/null || $(BIN)/python -m pip install --quiet uv
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode $(addprefix --constraint ,$(CONSTRAINTS)) \
		--editable '.[offline,fidelity,tensorboard,video,dev]'
	touch $@

clean:
	rm -rf $(VENV)
