"""One plug-in of each kind: a loss, a solver, a theorem, a solver under test, a figure."""
