# Thin verbs; each also works without make: python -m course_lib VERB
PYTHON ?= python3

.PHONY: lab test notebooks check claims bench book release clean

lab test notebooks check claims bench book release clean:
	@$(PYTHON) -m course_lib $@
