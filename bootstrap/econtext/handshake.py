"""econtext.handshake: the markers that a child prints before its first frame. Fetched by who has children.

A state machine without I/O: src/connect/handshake.rs is the same and more; the transcripts in
tests/vectors/handshakes.txt hold for both.
Invariant: bytes may be cut anywhere, what is kept of them is bounded, and nothing here waits or imports.
Not here: descriptors, and why a child that ended did so: the master says that.
"""
from __future__ import absolute_import
from econtext.core import text

STARTED, RECEIVED = b'EC0\n', b'EC1\n'
TAIL_BYTES = 4096  # of what precedes EC0
# Control characters and what reorders text, as an error shows them.
SHOWN = dict((code, text('\\x%02x' % code)) for code in list(range(32)) + list(range(127, 160)))
SHOWN.update((code, text('\\u%04x' % code)) for part in ((0x61c, 0x61d), (0x200e, 0x2010), (0x2028, 0x202f),
                                                         (0x2066, 0x206a)) for code in range(*part))
SHOWN.update((ord(char), text(shown)) for char, shown in (('\n', '\\n'), ('\r', '\\r'), ('\t', '\\t')))


def printable(data):
    return text(data).translate(SHOWN)


class Handshake(object):
    """How far a child has come: `stage` is 0, 1 behind EC0, 2 behind EC1; `noise` is the end of what preceded EC0."""

    def __init__(self):
        self.stage, self.noise, self.pending = 0, b'', b''

    def receive(self, data):
        """Take bytes of the stream; give what follows both markers once they are here. ValueError says what is
        where EC1 should be."""
        self.pending += data
        if not self.stage:
            noise, marker, rest = self.pending.partition(STARTED)
            if not marker:  # it may be cut
                cut = max(0, len(noise) - len(STARTED) + 1)
                noise, rest = noise[:cut], noise[cut:]
            self.noise, self.pending = (self.noise + noise)[-TAIL_BYTES:], rest
            if not marker:
                return None
            self.stage = 1
        if not RECEIVED.startswith(self.pending[:len(RECEIVED)]):
            raise ValueError(text('"%s" where the marker EC1 should be') % printable(self.pending[:64]))
        if len(self.pending) < len(RECEIVED):
            return None
        self.stage, rest, self.pending = 2, self.pending[len(RECEIVED):], b''
        return rest

    def finish(self):
        """The stream has ended: what may have been half a marker was noise."""
        if not self.stage:
            self.noise, self.pending = (self.noise + self.pending)[-TAIL_BYTES:], b''
