# make setup   a virtual environment with the package
# make demo    sets up, then exports the bundled checkpoint, verifies it and draws samples
# make test    sets up, then runs every check

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Where the wheels of PyTorch's CPU build are not in the default index, for example:
#   make setup PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: setup demo test lint types unit clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt tools/make_venv.sh
	sh tools/make_venv.sh "$(PYTHON)" "$(VENV)"
	$(PIP) install --quiet $(PIP_FLAGS) -c constraints.txt scikit-build-core
	$(PIP) install --quiet $(PIP_FLAGS) -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/ddgan-export --demo --out demo/digits --overwrite
	$(BIN)/ddgan-verify demo/digits --demo
	$(BIN)/ddgan-sample demo/digits --seeds 0-63 --out demo/digits.png --overwrite
	@echo "see demo/digits.png and demo/digits/report.html"

test: lint types unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope

clean:
	rm -rf $(VENV) build dist demo
