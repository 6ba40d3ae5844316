"""econtext.conversation: questions on a terminal, and answers given beforehand. Fetched by code that starts contexts.

A state machine without I/O: src/connect/{conversation,prompt}.rs are the same and more; the transcripts in
tests/vectors/handshakes.txt hold for both.
Invariant: bytes may be cut anywhere and what is kept of them is bounded. An answer is written only to a question, and
only once: what is asked again was wrong.
Not here: descriptors and clocks (econtext.parent says when nothing more has come).
"""
from __future__ import absolute_import
from econtext import core
from econtext.core import text
SHOWN = core.load('econtext.handshake').SHOWN

TAIL_BYTES = 4096  # of a question and what precedes it
ANSWER_BYTES = 1023  # ssh reads no more
QUOTED = 300  # characters of a question
LONGEST_TAIL = 60  # characters that may follow the token in a question
# Words before `password` that make it another one than that of the login.
OTHERS = frozenset('again app change choose code confirm current expired incorrect invalid new no old one or otp repeat'
                   ' retype temporary time token wrong'.split())
MOST_WORDS = 4


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
