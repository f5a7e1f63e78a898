# make demo   the main job on a real image: train, predict, score, look; results in demo/
# make test   all tests, those in a real viewer included
# make lint   ruff, mypy, npe2        make docs   the documentation, in site/
# make cards  the docs' pages on networks, losses, optimizers, schedules and settings, from the program's tables
# Each sets up .venv first (once). Options: make test PYTEST="-k axes" PYTHON=python3.12 QT=pyqt6 VENV=.venv-pyqt6

VENV ?= .venv
QT ?= pyside6
CONSTRAINTS ?= requirements/constraints.txt
DEMO ?= demo
PYTEST ?=
bin := $(VENV)/bin
installed := $(VENV)/installed

export VENV QT CONSTRAINTS
# Set for the shell only, so that `make PYTHON=...` works and an empty one means: look for it.
ifdef PYTHON
export PYTHON
endif

.PHONY: help setup demo test lint format docs cards screenshots samples constraints clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -5

setup: $(installed)

$(installed): pyproject.toml $(CONSTRAINTS) scripts/setup.sh
	@scripts/setup.sh $@

demo: $(installed)
	@scripts/display.sh $(bin)/napari-segnet demo --out $(DEMO)

test: $(installed)
	@scripts/display.sh --virtual $(bin)/python -m pytest --numprocesses 2 --dist loadgroup $(PYTEST)

lint: $(installed)
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy
	@$(bin)/npe2 validate napari_segnet

format: $(installed)
	@$(bin)/ruff check --fix-only --quiet .
	@$(bin)/ruff format .

$(VENV)/installed-docs: $(installed)
	@scripts/setup.sh $@ docs

docs: $(VENV)/installed-docs
	@NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict
	@echo "docs: open site/index.html"

cards: $(installed)
	@$(bin)/python docs/network_cards.py

screenshots: $(installed)
	@scripts/display.sh --virtual $(bin)/python docs/screenshots.py

samples: $(installed)
	@$(bin)/python sample_images/make.py

constraints: $(installed)
	@$(bin)/python scripts/constraints.py

clean:
	rm -rf $(VENV) demo site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
