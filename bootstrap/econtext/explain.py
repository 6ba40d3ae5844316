"""econtext.explain: why a start failed that code in this context has asked for. Fetched when the first one does.

Pure functions of what was printed: src/connect/{handshake,failure,refusal}.rs and `exit_reason` of src/bootstrap.rs are
the same. The tables of econtext.rules are those of Rust, with advice for Python.
"""
from __future__ import absolute_import
import re
from econtext import core
from econtext.core import text
handshake, conversation, rules = map(core.load, ('econtext.handshake', 'econtext.conversation', 'econtext.rules'))

PARENT, SPAWN, CONNECT, HOST_KEY, LOGIN, PYTHON, CORE, HELLO = range(len(rules.STAGES))
TAIL_BYTES = 4096
LONGEST = 1000  # characters of an error's line
NEEDED = 'Python 2.7 or 3.6 and later is needed'
# By exit status; the head of bootstrap/first_stage.py has the same table.
STATUSES = {92: 'the first stage could not fork, or make a pipe',
            93: 'the interpreter could not be executed a second time',
            94: 'the core arrived damaged: something ate or changed bytes on their way',
            95: 'the stream ended inside the first stage',
            96: 'the stream ended inside the core or the configuration'}
# What Python raises when it is given a part of a program, or compressed bytes.
GARBLED = 'SyntaxError', 'IndentationError', 'NameError', 'TypeError', 'UnicodeDecodeError', 'ValueError'
EITHER = '; it takes a key of the account, with passphrase= where it has one, or password='
KEY = '; no key that ssh could use opens the account; one with a passphrase needs passphrase='
CHATTER = rules.LOGGED_IN + rules.CHATTER + ('Permission denied, please try again.',)
STARTS = tuple(filter(None, (pattern.partition('*')[0].encode() for pattern in CHATTER)))


def fits(pattern, line):
    """Whether the line is what the pattern describes: see src/connect/failure/rules.rs. (A regular expression would
    take more than linear time.)"""
    parts = re.findall('([*#]?)([^*#]*)', pattern)[:-1]
    last = len(parts) - 1
    for at, (wildcard, piece) in enumerate(parts):
        if wildcard == '*':
            if at == last:
                return line.endswith(piece)
            found = line.find(piece)
            if found < 0:
                return False
            line = line[found:]
        elif wildcard:
            rest = line.lstrip('0123456789')
            if rest == line:
                return False
            line = rest
        if not line.startswith(piece):
            return False
        line = line[len(piece):]
    return not line


def any_fits(patterns, line):
    return any(fits(pattern, line) for pattern in patterns)


def has_logged_in(line):
    """Whether ssh says that the server has let us in."""
    return any_fits(rules.LOGGED_IN, line)


def may_be_sshs(line):
    """Whether the bytes of a line may be what the next function knows, which takes longer."""
    return line.startswith(STARTS) or b': Removed ' in line[:1024]


def is_chatter(line):
    """Whether this is of ssh's account of an ordinary connection, or of its questions."""
    return any_fits(CHATTER, line)


def tail(data):
    shown = text(data[-TAIL_BYTES:]).replace('\r\n', '\n').strip()
    return shown.translate(conversation.SHOWN_LINES)


# What the first stage and the search say.

def exit_reason(status, lines, candidates):
    words = [line.strip()[10:] for line in lines if line.strip().startswith('econtext: ')][-1:]
    if status == 97:
        return no_candidate(words[0] if words else '', candidates)
    if status == 98:
        name = ', '.join(candidates)
        if words and words[0].endswith(' is too old'):
            return '%s is %s, which is too old (%s)' % (name, words[0][:-len(' is too old')], NEEDED)
        return '%s is too old (%s)' % (name, NEEDED)
    return STATUSES.get(status) and ': '.join([STATUSES[status]] + words)


def no_candidate(line, candidates):
    """The words for the line `econtext: python3:98 python:127` of the search. Names may hold blanks."""
    missing, more, old = [], [], []
    forbidden, broken = [], []
    for name in candidates:
        status, (_, found, rest) = None, line.partition(name + ':')
        if found:
            digits = re.match('[0-9]*', rest).group()
            status, line = int(digits or 0), rest[len(digits):]
        if status in (None, 127):
            missing.append(name)
        elif status == 126:
            forbidden.append(name + ' may not be executed')
        elif status == 98:
            old.append('%s is too old (%s)' % (name, NEEDED))
        else:
            broken.append('%s does not work (exit status %d)' % (name, status))
    if missing:
        more = ['none of %s found' % ', '.join(missing) if missing[1:] else missing[0] + ' not found']
    return '; '.join(more + forbidden + broken + old)


# What sudo and its kin say.

def refusal(lines):
    """(reason, whether another way may fare better) of the last line that is known."""
    for line in reversed([line.strip() for line in lines]):
        for (pattern, what, advice), retry in rules.REFUSALS:
            if fits(pattern, line):
                return '%s: "%s"%s' % (what, line, advice), retry


# What ssh says: (stage, what it said, what to do, whether it may be better soon).

def ssh_words(lines, status, reached):
    lines = [line for line in (line.strip() for line in lines) if not is_noise(line)]
    found = None
    if status in (None, 255):
        found = before_login(lines) if reached < PYTHON else lost(lines, reached)
    return found or shell(lines, status, reached)


def is_noise(line):
    return (not line or any_fits(rules.LOGGED_IN + rules.CHATTER, line) or is_usage(line) or line.startswith('** ') or
            any_fits(rules.NOISE, line))


def is_usage(line):
    return line.startswith('[-') and line.endswith(']')


def is_epilogue(line):
    line = line.strip()
    return is_usage(line) or look_up(rules.ENDINGS, line) is not None or any_fits(rules.EXCHANGE, line)


def look_up(table, line):
    for stage, (pattern, what, advice), retry in table:
        if fits(pattern, line):
            return stage, '%s: "%s"' % (what, line), advice, retry


def on_the_way(found):
    return CONNECT, 'by way of a jump host or proxy command: ' + found[1], '', found[3]


def before_login(lines):
    ending, is_carriers, is_proxied = None, False, False
    for at in reversed(range(len(lines))):
        line = lines[at]
        known = denied(line, lines[:at]) or host_key(line, lines[:at]) or look_up(rules.SSH, line)
        if known and (not is_carriers or known[3]):
            return known
        if known and known[0] > SPAWN:
            return on_the_way(known)
        found = look_up(rules.ENDINGS, line)
        if found:
            is_exchange = any_fits(rules.EXCHANGE, line)
            is_proxied = is_proxied or ' UNKNOWN port ' in line
            ending = on_the_way(found) if is_carriers or is_exchange and is_proxied else found
            is_carriers = is_carriers or is_exchange
        elif is_carriers:
            return on_the_way((CONNECT, 'it failed: "%s"' % line, '', 0))
        elif ending:
            return ending[0], '%s; before that: "%s"' % (ending[1], line), ending[2], ending[3]
    return ending


def denied(line, before):
    found = re.match(r'([^ ]*: +|)Permission denied \(([A-Za-z0-9.,@-]*)\)\.$', line)
    if not found:
        return None
    said, methods = 'the server refused the login: "%s"' % line, found.group(2).split(',')
    trouble = [line for line in before if any_fits(rules.KEY_TROUBLE, line)]
    if trouble:
        return LOGIN, '%s; a key could not be used: "%s"' % (said, trouble[-1]), '', 0
    either = 'password' in methods or 'keyboard-interactive' in methods
    return LOGIN, said, EITHER if either else KEY if 'publickey' in methods else '', 0


def host_key(line, before):
    if not fits('*ost key for * has changed and you have requested strict checking.', line):
        return None
    said = 'the host key has changed: "%s"' % line
    known = [line for line in before if re.match('Offending [^ ]* key in ', line)]
    if known:
        said += '; the one that is known is in %s, to be removed if this was expected' % known[-1].split(' ', 4)[4]
    return HOST_KEY, said, '', 0


def lost(lines, reached):
    for line in lines[-3:]:
        found = look_up(rules.LOST, line)
        if found:
            return (reached,) + found[1:]


def shell(lines, status, reached):
    if status is None or status < 0 or reached >= CORE:
        return None
    for line in reversed(lines):
        found = look_up(rules.SHELL, line)
        if found:
            return found
    said = None
    if reached < PYTHON:
        return None
    if not lines:
        said = 'the login shell ended without a word; does it run commands at all?'
    elif status == 127:
        missing = [line for line in lines if any_fits(rules.MISSING, line)]
        said = 'the login shell does not find what it is to run: "%s"' % (missing or lines)[-1]
    elif status == 126:
        said = 'the login shell may not execute what it is to run: "%s"' % lines[-1]
    elif status == 1 and len(lines) == 1 and fits('/*: No such file or directory', lines[0]):
        said = 'the login shell cannot be started: "%s"' % lines[0]
    return said and (PYTHON, said, '', 0)


# All of it.

def points_to_help(line):
    return line.startswith(("Run '", "See '", "Try '")) and "--help'" in line


def failure(plan, reached, noise, said, cause, status):
    """Of an attempt that came so far: the stage, the reason, what was printed, and why another may fare better:
    'busy', 'eaten', 'next way' or None. `cause` is what is known better than by what was printed."""
    printed = '\n'.join(filter(None, (tail(noise), tail(said))))
    lines, program, is_ssh = printed.split('\n'), plan.get('program'), plan.get('ssh')
    stage, again, is_told = reached, None, lambda line: False
    reason = exit_reason(status, lines, plan.get('candidates', ()))
    if reason:
        stage, is_told = max(stage, PYTHON), lambda line: line.startswith('econtext:')
    reason = cause or reason
    if not reason and is_ssh:
        found = ssh_words(lines, status, reached)
        if found:
            stage, reason, again, is_told = found[0], found[1] + found[2], found[3] and 'busy' or None, is_epilogue
    elif not reason and program and stage < CORE:
        found = refusal(lines)
        if found:
            stage, reason = LOGIN, found[0]
            is_told = lambda line: any_fits(rules.EPILOGUES, line.strip())
        elif stage == LOGIN:
            reason = '%s refused the answer to its question, or failed after it' % program
        else:
            reason = '%s ended before Python ran' % program
        again = 'next way' if not found or found[1] else None
    lines = [line for line in lines if not (is_told(line) or reached < CORE and points_to_help(line))]
    if is_ssh and reached == CORE and (status in (94, 95, 96) or status == 1 and lines[-1:] and
                                       lines[-1].partition(':')[0] in GARBLED):
        again = 'eaten'
    reason = reason or ('the stream ended' if status is None else 'the process ended')
    return stage, reason, '\n'.join(lines), again


def line(name, stage, reason, printed, status):
    """All of it in one line."""
    shown = '%s: %s: %s' % (name, rules.STAGES[stage], reason)
    if status is not None:
        shown += ' (killed by signal %d)' % -status if status < 0 else ' (exit status %d)' % status
    last = [line.strip() for line in printed.split('\n') if line.strip()][-1:]
    if last and last[0] not in reason:
        shown += '; it printed: ' + last[0]
    shown = text(shown[:LONGEST] + '...' if len(shown) > LONGEST else shown)
    return shown.translate(handshake.SHOWN)
