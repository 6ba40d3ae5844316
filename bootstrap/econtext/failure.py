"""econtext.failure: what a call's answer says of an exception. Fetched when the first call fails."""
from __future__ import absolute_import
import sys, traceback
from econtext.core import CallError, importer, main, text

TEXT = 65536  # characters of a message, and of a traceback
FRAMES = main.__code__.co_filename, '<frozen importlib._bootstrap>', '<frozen importlib._bootstrap_external>'


def describe(kind, value, tb, prefix):
    """The CallError of an exception, its message after `prefix`."""
    module, name = kind.__module__, getattr(kind, '__qualname__', kind.__name__)
    if module not in ('builtins', 'exceptions', '__builtin__'):
        name = '%s.%s' % (module, name)
    message = text(prefix) + text(value)
    if len(message) > TEXT:
        message = '%s... (%d more characters)' % (message[:TEXT], len(message) - TEXT)
    try:
        lines = text(''.join(format_exception(kind, value, tb)))
    except BaseException:  # a class may do anything in its str()
        lines = text('(no traceback: %s)\n' % text(sys.exc_info()[1]))
    if len(lines) > TEXT:
        lines = '%s\n... (%d characters left out)\n%s' % (
            lines[:TEXT // 2], len(lines) - TEXT, lines[-(TEXT // 2):])
    return CallError(text(name), message, lines)


def format_exception(kind, value, tb):
    """The lines of the traceback and of all that it is chained to, less the frames that are not the user's."""
    own = describe.__code__.co_filename[:-len('failure.py')]
    hidden = FRAMES + importer.modules.get('econtext.importer', ('', ''))[1:2]

    def shown(stack):
        frames = [frame for frame in stack if frame[0] not in hidden]
        # Below a call of the library's nothing is the user's to mend; without one, it is the library that failed.
        return [frame for frame in frames if not frame[0].startswith(own)] or frames

    if not hasattr(traceback, 'TracebackException'):  # 2.7
        return (['Traceback (most recent call last):\n'] + traceback.format_list(shown(traceback.extract_tb(tb))) +
                traceback.format_exception_only(kind, value))
    todo = [traceback.TracebackException(kind, value, tb)]
    for each in todo:
        each.stack[:] = shown(each.stack)
        todo += filter(None, [each.__cause__, each.__context__] + list(getattr(each, 'exceptions', None) or ()))
    return todo[0].format()
