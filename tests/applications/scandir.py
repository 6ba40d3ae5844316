"""Stands in for the package of this name, which for Python 2.7 is no wheel. Nothing here is asked for it."""


def scandir(path):
    raise NotImplementedError(path)
