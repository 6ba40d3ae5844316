"""econtext.handshake: what a child, and the tool that carries it, print before the first frame. Fetched by parents.

Two state machines without I/O: the markers on the stream, and the questions on a terminal for which there are
answers given beforehand. src/connect/{handshake,conversation,prompt}.rs are the same and more; the transcripts in
tests/vectors/handshakes.txt hold for both.
Invariant: bytes may be cut anywhere, what is kept of them is bounded, and nothing here waits or imports. An answer is
written only to a question, and only once: what is asked again was wrong.
Not here: descriptors and clocks (a caller waits QUIET_MS), and why a child that ended did so: the master says that.
"""
from __future__ import absolute_import
from econtext.core import text

STARTED, RECEIVED = b'EC0\n', b'EC1\n'
TAIL_BYTES = 4096  # of what precedes EC0, or a question
QUIET_MS = 300  # without output, after which an unterminated line of unknown words is a question
ANSWER_BYTES = 1023  # ssh reads no more
QUOTED = 300  # characters of a question
LONGEST_TAIL = 60  # characters that may follow the token in a question
# Control characters and what reorders text, as an error shows them.
SHOWN = dict((code, text('\\x%02x' % code)) for code in list(range(32)) + list(range(127, 160)))
SHOWN.update((code, text('\\u%04x' % code)) for part in ((0x61c, 0x61d), (0x200e, 0x2010), (0x2028, 0x202f),
                                                         (0x2066, 0x206a)) for code in range(*part))
SHOWN.update((ord(char), text(shown)) for char, shown in (('\n', '\\n'), ('\r', '\\r'), ('\t', '\\t')))
# Words before `password` that make it another one than that of the login.
OTHERS = frozenset('again app change choose code confirm current expired incorrect invalid new no old one or otp repeat'
                   ' retype temporary time token wrong'.split())
MOST_WORDS = 4


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


def split_name(line):
    """Who asks, where OpenSSH 8.5 or later says so, and what."""
    name, end, question = line[1:].partition(') ')
    if line[:1] == '(' and end and '@' in name and ' ' not in name:
        return name, question
    return '', line


def asker(line):
    """The `user@host` who asks, or nothing."""
    name, question = split_name(line)
    if not name:
        name, quote, rest = question.partition("'")
        if rest.rstrip() != 's password:' or '@' not in name:
            return ''
    return name


def asks_for_password(question):
    words = ''.join(char if char.isalnum() else ' ' for char in question.lower()).split()
    if 'password' not in words:
        return False
    at = words.index('password')
    before, after = words[:at], words[at + 1:]
    return at <= MOST_WORDS and not OTHERS.intersection(before) and (
        not after or after[0] == 'for' and len(after) <= 1 + MOST_WORDS)


def understand(line):
    """What an unterminated line is, as far as its words are known."""
    if all(char == '*' or char.isspace() or ord(char) in SHOWN for char in line):
        return 'echo'
    if line.startswith('Enter passphrase for '):
        return 'passphrase'
    if line.startswith(('Are you sure you want to continue connecting (yes/no', "Please type 'yes'")):
        return 'host key'
    if line.startswith('Confirm user presence for key'):
        return 'touch'
    question = split_name(line)[1]
    if asker(question) or asks_for_password(question):
        return 'password'
    return 'other'


class Conversation(object):
    """What is asked on one terminal, and answered out of `answers`: by 'password' and 'passphrase', the answer without
    its newline.

    With `names`, the password is for these `user@host`, in lower case, and for nobody else who asks on the way there.
    With `token`, its question is also known by this text, which the tool was told to ask with, before ': '.
    """

    def __init__(self, answers, names=None, token=None):
        for answer in answers.values():
            if len(answer) > ANSWER_BYTES or set(answer).intersection(b'\r\n\0'):
                raise ValueError('an answer cannot be typed: it has the end of a line or a NUL byte in it, or more '
                                 'than %d bytes' % ANSWER_BYTES)
        self.answers, self.names, self.token = answers, names, token
        self.given, self.over = set(), False
        self.lines = self.line = b''  # since the last question: whole ones, and the unterminated one

    def receive(self, data):
        """Take terminal output. What is to be done: None, ('type', bytes), or ('fail', why the start is given up)."""
        self.line += data
        cut = self.line.rfind(b'\n') + 1
        self.lines, self.line = (self.lines + self.line[:cut])[-TAIL_BYTES:], self.line[cut:][-TAIL_BYTES:]
        return self.question() if not self.over and self.is_whole(self.shown()) else None

    def quiet(self):
        """Nothing more has come for QUIET_MS: what is there is a question."""
        return self.question() if self.wants_quiet() else None

    def wants_quiet(self):
        """Whether quiet() is to be called if nothing more comes."""
        return not self.over and self.kind(self.shown()) not in ('echo', 'touch')

    def shown(self):
        return text(self.line).lstrip('\r')  # ssh moves to the left edge before it asks

    def around_token(self, line):
        """What stands before the token and what behind it; None where it is not in the line."""
        if self.token and self.token in line:
            return line.rpartition(self.token)[::2]

    def kind(self, line):
        """What the line is."""
        around = self.around_token(line)
        if around:  # what follows are a few words of the tool's, or stars for what has been typed
            return 'echo' if '*' in around[1] or len(around[1]) > LONGEST_TAIL else 'password'
        return understand(line)

    def is_whole(self, line):
        """Whether the line is a question that is known to its end."""
        around = self.around_token(line)
        if around and (around[1] == ': ') == bool(around[0]):  # `[sudo: TOKEN: ] Password: ` has not ended there
            return False
        return line.endswith((': ', '? ')) and self.kind(line) not in ('echo', 'touch', 'other')

    def question(self):
        line, lines = self.shown(), text(self.lines)
        kind = self.kind(line)
        quoted = ' '.join(part.translate(SHOWN) for part in (lines + line).split())
        if self.token:
            quoted = quoted.replace(self.token, 'sudo password')
        if len(quoted) > QUOTED:
            quoted = quoted[:QUOTED] + '...'
        self.lines = self.line = b''
        answer = self.answers.get(kind)
        if kind == 'password' and self.names is not None and (lines.strip() or asker(line).lower() not in self.names):
            answer = None
        key = line.strip() if kind == 'passphrase' else kind
        if answer is not None and key not in self.given:
            self.given.add(key)
            return 'type', answer + b'\n'
        self.over, reason = True, text('"%s" needs an answer, which was not given') % quoted
        if answer is not None:
            reason = text('the password was refused')
            if kind == 'passphrase':
                reason = text('the passphrase for %s is wrong') % line.translate(SHOWN)[21:].rstrip(' :')
        return 'fail', reason
