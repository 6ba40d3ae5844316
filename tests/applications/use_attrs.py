import attr


@attr.s(frozen=True)
class Point(object):
    x = attr.ib(converter=int)
    y = attr.ib(default=0, validator=attr.validators.instance_of(int))


def work():
    moved = attr.evolve(Point('3'), y=4)
    try:
        Point(1, 'two')
    except TypeError:
        return '%r %s' % (moved, sorted(attr.asdict(moved).items()))
