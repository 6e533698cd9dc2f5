# Everything happens in labkit/launcher, which needs nothing but a Python of 3.11 or newer.
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)
LAB = @$(if $(PYTHON),$(PYTHON) -m labkit.launcher $@,$(error The lab needs Python 3.11 or newer. Install it (Debian, Ubuntu: sudo apt install python3 python3-venv. macOS: brew install python@3.13) and run make again))

.PHONY: lab test unit docs site up down demo doctor bench soak pairs mutants

lab:    ; $(LAB)
test:   ; $(LAB)
unit:   ; $(LAB)
docs:   ; $(LAB)
site:   ; $(LAB)
up:     ; $(LAB)
down:   ; $(LAB)
demo:   ; $(LAB)
doctor: ; $(LAB)
bench:  ; $(LAB)
soak:   ; $(LAB)
pairs:  ; $(LAB)
mutants: ; $(LAB)
