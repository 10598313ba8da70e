"""One file for each algorithm: configuration, state, update, and ``ALGORITHM``, by which the registry finds it.

The file's name is the algorithm's name on the command line, and the first line of its docstring is the summary.
"""
