"""The children's half of Mitogen's raw messages: data as it is, without pickling."""

import bulk
import mitogen.core


def ready():
    pass


@mitogen.core.takes_router
def take(sender, count, router):
    receiver = mitogen.core.Receiver(router)
    sender.send(receiver.to_sender())
    return sum(len(receiver.get().data) for _ in range(count))


def give(sender, count):
    for _ in range(count):
        sender.context.send(mitogen.core.Message(data=bulk.block(), handle=sender.dst_handle))
