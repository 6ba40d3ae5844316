"""econtext.clock: has functions called later, on the thread that leads. Fetched by who has children.

Its own thread is there only while something is due, so that nothing wakes up without cause.
"""
from __future__ import absolute_import
import os
from econtext import core
from econtext.core import clock, router, _thread
LONGEST_MS = core.load('econtext.process').LONGEST_MS


class Clock(object):
    """Timers; each is (when, function)."""

    def __init__(self):
        self.lock, self.timers, self.running = _thread.allocate_lock(), [], False
        self.fd, self.end = core.pipe()
        core.private(self.end, os.O_NONBLOCK)

    def after(self, seconds, function):
        timer = clock() + seconds, function
        with self.lock:
            self.timers.append(timer)
            if self.running:
                router.rouse(self.end)
            else:
                try:
                    _thread.start_new_thread(self.run, ())
                    self.running = True
                except Exception:  # there are no more threads: the next timer tries again
                    pass
        return timer

    def cancel(self, timer):
        """Gives the seconds that were left."""
        with self.lock:
            if timer in self.timers:
                self.timers.remove(timer)
                if not self.timers:  # the thread need not stay until then
                    router.rouse(self.end)
        return timer and max(0, timer[0] - clock())

    def run(self):
        poll = core.Poll()
        poll.register(self.fd, 1)
        while True:
            with self.lock:
                now = clock()
                due = [timer for timer in self.timers if timer[0] <= now]
                self.timers = [timer for timer in self.timers if timer[0] > now]
                if not (due or self.timers):
                    self.running = False
                    return
                wait_ms = 0 if due else min(LONGEST_MS, (min(timer[0] for timer in self.timers) - now) * 1000 + 1)
            for timer in due:
                router.defer(timer[1])
            if router.poll(poll, wait_ms):
                os.read(self.fd, core.LARGE)


timers = Clock()
