"""The pages are doctested; what makes the site of them is not, and neither are the examples that it executes."""

collect_ignore = ["conf.py", "_build", "_sphinx", "gallery", "generated"]
