"""econtext.methods: how code in a context starts others from there, by econtext.parent.local(..), ssh(..) and so on.

Each composes plans, the words of which are those of the methods in src/connect, for econtext.parent to run, and gives
the core.Context once it is up, or raises parent.ConnectError; what cannot be a plan is a ValueError, and starts nothing.
src/remote.rs is what users read of them.
Words and paths are text or bytes. `python` is an interpreter's name or path, without arguments, or a list of those to
be tried; `name` is the context's, in errors and in the log; `timeout` is in seconds, for all of the start.
Not here: more options. A program that has them starts contexts itself, below any context.
"""
from __future__ import absolute_import
import binascii, os, pwd
from econtext import core
from econtext.core import text
attempt, conversation, handshake, process, texts = map(core.load, (
    'econtext.attempt', 'econtext.conversation', 'econtext.handshake', 'econtext.process', 'econtext.texts'))

PADDING = 16384  # newlines for login scripts that read
CORE_STALLS_MS = 10000  # an interpreter that is there and waits for so long waits for what a login script ate
PLAIN = frozenset(bytearray(b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/.-_+'))
BAD = frozenset(bytearray(range(32)) + b"'!`\x7f")  # no quotes hold these in every shell


def raw(word):
    return word if isinstance(word, bytes) else text(word).encode('utf-8', 'surrogateescape')


def listed(name, words):
    """The words of an argument that takes several."""
    if isinstance(words, (bytes, core.text_type)):
        raise TypeError('%s= takes a list of words, and %r is one' % (name, words))
    words = list(words)
    if None in words:
        raise ValueError('%s= takes words, and not None' % name)
    return list(map(raw, words))


def needed(name, word):
    if word is None or word in (b'', ''):
        raise ValueError('%s= takes a word that is not empty, and not %r' % (name, word))
    return word


def check_prompt(on_prompt):
    if on_prompt is not None and not callable(on_prompt):
        raise TypeError('on_prompt= takes a function, and not %r' % (on_prompt,))


def process_name():
    """What ps shows: who started it."""
    try:
        user = pwd.getpwuid(os.getuid())[0]
    except KeyError:
        user = 'uid%d' % os.getuid()
    name = text('econtext:%s@%s:%d') % (user, text(os.uname()[1]), os.getpid())
    return raw(''.join(char if ' ' <= char <= '~' and char not in '\'"\\/' else '_' for char in name))


def launch(python, read=texts.READ):
    """The command of a child, and its first stage."""
    stage = texts.HEAD % (process_name(), len(core.core_source)) + texts.FIRST_STAGE
    loader = texts.LOADER % (len(stage), read)
    if isinstance(python, (bytes, core.text_type)):
        needed('python', python)
        return [raw(python), b'-c', loader], stage
    return [b'/bin/sh', b'-c', texts.SEARCH, loader] + listed('python', python or texts.CANDIDATES), stage


def command_line(words):
    """The words as one, for a login shell that nobody knows."""
    return b' '.join([b'exec'] + [quoted(word) for word in words])


def quoted(word):
    home, rest = b'', word
    at = word.find(b'/')
    if word[:1] == b'~' and at > 0 and PLAIN.issuperset(bytearray(word[1:at])):  # is the shell's to find
        home, rest = word[:at], word[at:]
    if rest and PLAIN.issuperset(bytearray(rest)):
        return word
    if BAD.intersection(bytearray(rest)) or rest.endswith(b'\\') or b'\\\\' in rest:
        raise ValueError("'%s' cannot be quoted for every login shell: it has one of ' ! ` in it, a control "
                         'character, or two backslashes' % handshake.printable(word))
    return home + b"'" + rest + b"'"


def plan(name, argv, stage, timeout=30, python=(), **more):
    if not (hasattr(timeout, '__float__') and 0 < timeout < float('inf')):
        raise ValueError('timeout= takes seconds, more than none, and not %r' % (timeout,))
    one = isinstance(python, (bytes, core.text_type))
    candidates = [text(raw(word)) for word in ([python] if one else python or texts.CANDIDATES)]
    return dict(more, name=text(name), argv=argv, stage=stage, candidates=candidates,
                timeout_ms=max(1, min(int(timeout * 1e3), 1 << 31)))


def local(python=None, name=None, env=None, cwd=None, timeout=30):
    """A context on this machine, of the same user: with these variables beside what this process has, and in that
    directory, or in this one's."""
    command, stage = launch(python)
    for key in env or ():
        if env[key] is None:
            raise ValueError('env= takes text for %s, and not None' % text(needed('env', key)))
    env = [(raw(key), raw((env or {})[key])) for key in env or ()]
    return attempt.begin(name or 'local', [(plan(name or 'local', command, stage, timeout, python, env=env,
                                                 cwd=cwd and raw(cwd), name_has_pid=not name), None)])


def argv(prefix, python=None, name=None, timeout=30):
    """A context by any program: the words `prefix`, and behind them those of the command."""
    prefix = listed('prefix', prefix)
    if not prefix:
        raise ValueError('argv() got no words: without a program, use local()')
    program = text(os.path.basename(prefix[0]))
    name = name or text('exec.%s') % program
    command, stage = launch(python)
    return attempt.begin(name, [(plan(name, prefix + command, stage, timeout, python, program=program), None)])


def ssh(host, user=None, port=None, identity=None, password=None, passphrase=None, config_file=None, args=(),
        python=None, name=None, on_prompt=None, timeout=30):
    """A context on another machine, by this machine's ssh and its configuration. `identity` is the file of a key; the
    password is for the host itself, not for those on the way there."""
    check_prompt(on_prompt)
    host, user = raw(needed('host', host)), user and raw(user)
    if not host or host.startswith(b'-'):
        raise ValueError("'%s' cannot be a host's name" % handshake.printable(host))
    words = ssh_words(user, port, identity, config_file, args)
    answers = dict((kind, raw(answer)) for kind, answer in (('password', password), ('passphrase', passphrase))
                   if answer is not None)
    end, talk = [b'-o', b'BatchMode=yes'], None
    if answers or on_prompt:
        names = password_names(words, user, host) if 'password' in answers else None
        end = [b'-o', b'BatchMode=no', b'-o', b'NumberOfPasswordPrompts=3']
        talk = conversation.Conversation(answers, names, asks=bool(on_prompt))
    line = lambda launched: words + end + [b'--', host, command_line(launched[0])]
    first, second = launch(python), launch(python, texts.READ_PADDED)
    name = name or text('ssh.%s%s') % (text(host.rpartition(b'@')[2]), ':%s' % port if port else '')
    eaten = dict(argv=line(second), stage=second[1], padding=PADDING, stalls_ms=None)
    plans = plan(name, line(first), first[1], timeout, python, env=list(texts.SSH_ENVIRONMENT), ssh=True,
                 asks='terminal' if talk else 'nowhere', stalls_ms=CORE_STALLS_MS, eaten=eaten)
    return attempt.begin(name, [(plans, talk)], on_prompt)


def ssh_words(user, port, identity, config_file, args):
    words = [b'ssh'] + listed('args', args)
    if config_file:
        words += [b'-F', raw(config_file)]
    words += [b'-o', b'IgnoreUnknown=*', b'-T', b'-x']
    for option, value in texts.SSH_OPTIONS + ((b'Compression', b'no'), (b'ServerAliveInterval', b'15'),
                                              (b'ServerAliveCountMax', b'3'), (b'ControlPath', b'none')):
        words += [b'-o', option + b'=' + value]
    if identity:
        words += [b'-o', b'IdentityFile="%s"' % path_value(raw(identity))]
    if port:
        words += [b'-p', raw(port)]
    return words + ([b'-l', user] if user else [])


def path_value(path):
    """A path as ssh_config(5) has it between quotation marks. `~` is what HOME says."""
    home = os.environ.get('HOME')
    if home and (path == b'~' or path.startswith(b'~/')):
        path = os.path.join(raw(home), path[2:])
    if b'${' in path or set(bytearray(b'"\n')).intersection(bytearray(path)):
        raise ValueError("'%s' cannot be told to ssh: it has a quotation mark, a newline or ${ in it" %
                         handshake.printable(path))
    return path.replace(b'%', b'%%')


def password_names(words, user, host):
    """Who asks for the host's password, user@host in lower case; None where nobody else can ask."""
    configured = {}
    for line in text(process.output(words + [b'-G', b'--', host])).splitlines():
        key, _, value = line.partition(' ')
        configured.setdefault(key.lower(), []).append(value.strip().lower())
    hosts = configured.get('hostname')
    if not hosts:
        given, _, host = text(host).lower().rpartition('@')
        return frozenset(['%s@%s' % (text(user).lower() if user else given, host)])
    if not set(configured.get('proxyjump', []) + configured.get('proxycommand', [])).difference(['none']):
        return None
    users = configured.get('user', [])[:1]
    return frozenset('%s@%s' % (user, host) for user in users for host in hosts + configured.get('hostkeyalias', []))


def sudo(user='root', password=None, args=(), python=None, name=None, on_prompt=None, timeout=30):
    """A context of another user of this machine: without a password if sudo wants none, else with this."""
    check_prompt(on_prompt)
    name = name or text('sudo.%s') % text(needed('user', user))
    command, stage = launch(python)
    options = [b'sudo', b'-u', raw(user)] + listed('args', args)
    silent = options + [b'-n', b'--'] + command
    if password is None and not on_prompt:  # somebody may want a terminal though nothing is asked there
        last, talk = silent, None
    else:
        token = binascii.hexlify(os.urandom(8))
        last = options + [b'-p', token + b': ', b'--'] + command
        answers = {} if password is None else {'password': raw(password)}
        talk = conversation.Conversation(answers, token=text(token), asks=bool(on_prompt))
    ways = [(plan(name, silent, stage, timeout, python, program='sudo'), None),
            (plan(name, last, stage, timeout, python, program='sudo', asks='terminal'), talk)]
    return attempt.begin(name, ways, on_prompt)
