"""The loop of a contender in Python: a line with a command comes, a line with numbers goes."""

import sys
import threading
import time


def serve(*functions, **named):
    """Answer each line, a function's name and its words with tabs between, by `[number, ..]` or by what failed."""
    commands = {function.__name__: function for function in functions}
    commands.update(named)
    for line in sys.stdin:
        name, *words = line.rstrip('\n').split('\t')
        command = commands.get(name)
        try:
            answer = [float(it) for it in command(*words)] if command else 'cannot: ' + name
        except Exception as error:
            answer = ' '.join(('%s: %s' % (type(error).__name__, error)).split())
        print(answer, flush=True)


class Clock:
    """`with Clock() as clock: ..`, then `clock.seconds`."""

    def __enter__(self):
        self.begin = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.begin


def at_once(function, count):
    """Calls it in as many threads, since making a child blocks in both; gives the seconds until all are done."""
    errors = []

    def one():
        try:
            function()
        except Exception as error:
            errors.append(error)

    with Clock() as clock:
        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise RuntimeError('%d of %d failed, the first by %r' % (len(errors), count, errors[0]))
    return clock.seconds


def check(found, expected):
    """What was not done in full is not measured."""
    if found != expected:
        raise AssertionError('%r instead of %r' % (found, expected))
