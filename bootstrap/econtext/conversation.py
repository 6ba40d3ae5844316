"""econtext.conversation: questions on a terminal, and their answers. Fetched by code that starts contexts.

A state machine without I/O: src/connect/{conversation,prompt}.rs are the same and more; the transcripts in
tests/vectors/handshakes.txt hold for both.
Invariant: bytes may be cut anywhere and what is kept of them is bounded. An answer is written only to a question, and
one that was given beforehand only once: what is asked again was wrong.
Not here: descriptors and clocks (econtext.parent says when nothing more has come), and who is asked (econtext.attempt).
"""
from __future__ import absolute_import
import collections
from econtext import core
from econtext.core import text
SHOWN = core.load('econtext.handshake').SHOWN
SHOWN_LINES = dict((code, SHOWN[code]) for code in SHOWN if code not in (9, 10))  # newlines and tabs stay

TAIL_BYTES = 4096  # of a question and what precedes it
ANSWER_BYTES = 1023  # ssh reads no more
QUOTED = 300  # characters of a question
LONGEST_TAIL = 60  # characters that may follow the token in a question
# Words before `password` that make it another one than that of the login.
OTHERS = frozenset('again app change choose code confirm current expired incorrect invalid new no old one or otp repeat'
                   ' retype temporary time token wrong'.split())
MOST_WORDS = 4
MOST_QUESTIONS = 100  # who asks more wants to keep a person busy
NEW_HOST = 'The authenticity of host '
KINDS = 'password', 'passphrase', 'host key'
# What on_prompt is asked: of which context, 'password', 'passphrase', 'host key' or 'other', the question and what
# stands above it, and how often it has been asked with this one: beyond 1 the last answer was wrong.
Prompt = collections.namedtuple('Prompt', 'context kind text attempt')


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
    its newline; where there is none, and `asks`, by who is asked.

    With `names`, the password is for these `user@host`, in lower case, and for nobody else who asks on the way there.
    With `token`, its question is also known by this text, which the tool was told to ask with, before ': '.
    """

    def __init__(self, answers, names=None, token=None, asks=False):
        for kind in answers:
            unfit = why_unfit(answers[kind])
            if unfit:
                raise ValueError('the %s cannot be typed: it has %s' % (kind, unfit))
        self.start = answers, names, token, asks
        self.answers, self.names, self.token, self.asks = answers, names, token, asks
        self.given, self.over = set(), False
        # How often, by question; the last about a host key; what who is asked has not answered.
        self.asked, self.host_key, self.waits_for = {}, None, None
        self.lines = self.line = b''  # since the last question: whole ones, and the unterminated one

    def anew(self, context):
        """The same for another process, which starts this context."""
        other = Conversation(*self.start)
        other.context = context
        return other

    def receive(self, data):
        """Take terminal output. What is to be done: None, ('type', bytes), ('ask', Prompt), or ('fail', why the start
        is given up, whether for a host key)."""
        self.line += data
        cut = self.line.rfind(b'\n') + 1
        self.lines, self.line = (self.lines + self.line[:cut])[-TAIL_BYTES:], self.line[cut:][-TAIL_BYTES:]
        return self.question() if self.listens() and self.is_whole(self.shown()) else None

    def quiet(self):
        """Nothing more has come for QUIET_MS: what is there is a question."""
        return self.question() if self.wants_quiet() else None

    def wants_quiet(self):
        """Whether quiet() is to be called if nothing more comes."""
        return self.listens() and self.kind(self.shown()) not in ('echo', 'touch')

    def listens(self):
        return not (self.over or self.waits_for)

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
        shown = line.replace(self.token, 'sudo password') if self.token else line
        if kind == 'host key' and NEW_HOST in lines:
            lines = lines[lines.rindex(NEW_HOST):]
        whole = '\n'.join(part.rstrip().lstrip('\r') for part in lines.split('\n')[:-1] + [shown]).strip()
        whole = whole.translate(SHOWN_LINES)
        self.lines = self.line = b''
        answer = self.answers.get(kind)
        is_named = asker(line).lower() in (self.names or ())
        if kind == 'password' and self.names is not None and (lines.strip() or not is_named):
            answer = None
        key = line.strip() if kind == 'passphrase' else kind
        if answer is not None:
            if key not in self.given:
                self.given.add(key)
                return 'type', answer + b'\n'
            if kind == 'passphrase':
                return self.fail(kind, 'the passphrase for %s is wrong' % line.translate(SHOWN)[21:].rstrip(' :'))
            return self.fail(kind, 'the password was refused')
        if not self.asks:
            return self.fail(kind, self.unanswered(kind, quoted(whole)))
        key = line.strip()
        if kind == 'host key':
            if self.host_key and line.startswith('Please type'):  # that was neither yes nor no
                whole = self.host_key
            key = self.host_key = whole
        if key not in self.asked and len(self.asked) == MOST_QUESTIONS:
            return self.fail(kind, 'more than %d questions were asked' % MOST_QUESTIONS)
        self.asked[key] = self.asked.get(key, 0) + 1
        shown_kind = text(kind if kind in KINDS else 'other')
        self.waits_for = Prompt(self.context, shown_kind, whole, self.asked[key])
        return 'ask', self.waits_for

    def answered(self, answer):
        """What was said to the last Prompt; None to give up."""
        prompt, self.waits_for = self.waits_for, None
        if answer is None:
            return self.fail(prompt.kind, '"%s" got no answer from on_prompt' % quoted(prompt.text))
        unfit = why_unfit(answer)
        if unfit:
            return self.fail(prompt.kind, 'the answer to "%s" cannot be typed: it has %s' % (
                quoted(prompt.text), unfit))
        return 'type', answer + b'\n'

    def fail(self, kind, reason):
        self.over = True
        return 'fail', text(reason), kind == 'host key'

    def unanswered(self, kind, question):
        reason, more = text('"%s" needs an answer') % question, {
            'password': 'password= or ', 'passphrase': 'passphrase= or ',
            'host key': '-o StrictHostKeyChecking=.. in args= or '}.get(kind, '')
        if kind == 'password' and kind in self.answers:
            return reason + text(', and password= is for %s alone: set on_prompt=') % ' or '.join(sorted(self.names))
        return reason + ': set %son_prompt=' % more


def why_unfit(answer):
    """What an answer has that no terminal takes, or nothing."""
    if set(answer).intersection(b'\r\n'):
        return 'the end of a line in it'
    if set(answer).intersection(b'\0'):
        return 'a NUL byte in it'
    if len(answer) > ANSWER_BYTES:
        return '%d bytes, and at most %d are read' % (len(answer), ANSWER_BYTES)


def quoted(question):
    """It on one line, for an error."""
    words = ' '.join(question.split())
    return words if len(words) <= QUOTED else words[:QUOTED] + '...'
