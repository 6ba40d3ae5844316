"""Modules of a collection that need nothing of each other."""
from boltons import cacheutils, dictutils, iterutils, setutils, strutils, tableutils, timeutils


def work():
    pairs = dictutils.OrderedMultiDict([('a', 1), ('b', 2), ('a', 3)])
    cache = cacheutils.LRU(max_size=1)
    cache['x'], cache['y'] = 1, 2
    table = tableutils.Table([['Ada', 5]], headers=['name', 'pieces'])
    return ' '.join([
        str(pairs.getlist('a')), str(list(cache)), str(iterutils.chunked(range(5), 2)), strutils.slugify('A b, c'),
        str(list(setutils.IndexedSet([3, 1, 3]))), str(timeutils.parse_timedelta('1h 30m')),
        str('Ada' in table.to_html()),
    ])
