# `make demo` and `make test` need only Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/installed

.PHONY: demo test test-full lint format lock bench clean

demo: $(STAMP)
	$(BIN)/python main.py --config=configs/demo.py

test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=10

test-full: $(STAMP)
	$(BIN)/python -m pytest -m full -n 2 --dist loadfile --durations=10

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("attn_jax needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $(STAMP)

# The exact versions, for every supported Python in one file.
lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra test --upgrade pyproject.toml --output-file constraints.txt

# Takes the machine for itself for about two hours; step_time, layer_time, saliency_time and faithfulness_time each make
# a PyTorch environment of their own (up to 5.5 GB), tpu_cost and tpu_partition one with the TPU's compiler.
BENCHMARKS = decode phantom pipeline report statistics_time step_time layer_time tpu_cost tpu_partition saliency_time faithfulness_time
bench: $(STAMP)
	mkdir -p runs
	{ for name in $(BENCHMARKS); do echo; echo "## $$name"; echo; echo '```'; $(BIN)/python benchmarks/$$name.py || exit 1; echo '```'; done; } > runs/benchmarks.md

clean:
	rm -rf $(VENV) build dist *.egg-info
