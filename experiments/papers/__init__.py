"""The figures and tables of the papers, each from finished runs."""
