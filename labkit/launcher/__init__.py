"""What `make` runs: the lab of this clone, started, watched, examined and stopped.

`__main__`, `venv` and `debian` run before anything is installed, on the standard library alone:
they make `.venv` and go on in it. The rest is on the libraries that are there then.
"""
