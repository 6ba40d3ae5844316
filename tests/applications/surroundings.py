import sys
import time


def installed():
    """The directories in which something could be installed beside the standard library."""
    return [path for path in sys.path if path.endswith('-packages')]


def timed(module):
    """How long an import takes, in seconds."""
    begin = time.time()
    __import__(module)
    return time.time() - begin
