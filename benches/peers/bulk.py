"""What the children of all contenders are asked to do with blocks of data."""

import os

SIZE = 4 << 20
made = []


def block():
    """Random bytes, made when they are first wanted: the import of this module is measured too."""
    if not made:
        made.append(os.urandom(SIZE))
    return made[0]


def take(data):
    return len(data)


def give():
    return block()
