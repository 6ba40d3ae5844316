"""Plays the transcripts of handshakes.txt to econtext.handshake, in a context: see tests/handshakes.rs."""
from econtext import core
talks, handshake = core.load('econtext.conversation'), core.load('econtext.handshake')


def raw(value):
    parts = value.encode('utf-8').replace(b'\\n', b'\n').replace(b'\\r', b'\r').split(b'\\x')
    return parts[0] + b''.join(bytes(bytearray([int(part[:2], 16)])) + part[2:] for part in parts[1:])


def cases(text):
    """(kind, name, [(key, value)]) of each; bytes are bytes."""
    for block in text.split('\n\n'):
        lines = [line for line in block.split('\n') if line and line[0] != '#']
        if not lines:
            continue
        kind, _, name = lines[0].partition(' ')
        fields = []
        for line in lines[1:]:
            key, _, value = line.partition(' ')
            key, _, count = key.partition('*')
            fields.append((key, value if key in ('error', 'fail') else raw(value) * int(count or 1)))
        yield kind, name, fields


def cuts(pieces):
    """The pieces as they are, byte by byte, and each cut in two at every place, of long ones at some."""
    yield pieces
    yield [piece[at:at + 1] for piece in pieces for at in range(len(piece))]
    longest = max([1] + [len(piece) for piece in pieces])
    for at in range(1, longest, 1 + longest // 200):
        yield [part for piece in pieces for part in (piece[:at], piece[at:]) if part]


def same(name, what, found, wanted):
    if found != wanted:
        raise AssertionError('%s: %s is %r, not %r' % (name, what, found, wanted))


def play_stream(name, fields):
    every = lambda key: [value for other, value in fields if other == key]
    pieces, error = every('in'), ''.join(every('error'))
    for parts in cuts(pieces):
        state, rest, said = handshake.Handshake(), None, ''
        for part in parts:
            if state.stage == 2:
                rest += part
                continue
            try:
                rest = state.receive(part)
            except ValueError as raised:
                said = core.text(raised)
                break
        state.finish()
        same(name, 'stage', state.stage, int(every('stage')[0]))
        same(name, 'noise', state.noise, b''.join(every('noise')))
        if parts is pieces:
            same(name, 'error', said, error)
        same(name, 'whether there is an error', bool(said), bool(error))
        same(name, 'rest', rest, every('rest')[0] if every('rest') else None)


def play_terminal(name, fields):
    answers = dict(field for field in fields if field[0] in ('password', 'passphrase'))
    steps = [field for field in fields if field[0] not in ('password', 'passphrase', 'token')]
    token = [core.text(value) for key, value in fields if key == 'token']
    for way in cuts([value for key, value in steps if key == 'out']):
        conversation, parts, left = talks.Conversation(answers, token=token and token[0]), list(way), b''
        for at, (key, value) in enumerate(steps):
            if key == 'quiet':
                move = conversation.quiet()
            elif key == 'out':
                left = value
                while left:
                    part = parts.pop(0)
                    left = left[len(part):]
                    move = conversation.receive(part)
                    if left:
                        same(name, 'the move before the end', move, None)
            else:
                continue
            due = (steps[at + 1:] + [('', None)])[0]
            if due[0] == 'fail':
                same(name, 'failing', move and move[0], 'fail')
                if due[1] not in move[1]:
                    raise AssertionError('%s: %r does not say %r' % (name, move[1], due[1]))
            else:
                same(name, 'the move at %r' % (value or key), move, due if due[0] == 'type' else None)


def play(text):
    """How many transcripts hold."""
    played = 0
    for kind, name, fields in cases(text):
        {'stream': play_stream, 'terminal': play_terminal}[kind](name, fields)
        played += 1
    return played


def names():
    """What a password is given to where jump hosts may ask, too."""
    hosts = frozenset([u'deploy@web1'])
    asked = {}
    for shown in (u"deploy@web1's password: ", u'(deploy@WEB1) Password: ', u"me@gate's password: ", u'Password: ',
                  u"(me@gate) \rdeploy@web1's password: ", u"me@gate says\r\ndeploy@web1's password: "):
        asked[shown] = talks.Conversation({'password': b'hunter2'}, hosts).receive(shown.encode())[0]
    return sorted(shown for shown in asked if asked[shown] == 'type')


def unfit():
    """Answers that no terminal takes."""
    refused = 0
    for answer in b'a\n', b'a\r', b'\0', b'a' * 1024:
        try:
            talks.Conversation({'password': answer})
        except ValueError:
            refused += 1
    return refused
