"""econtext.metadata: what importlib.metadata says of served wheels. Fetched when it is first asked.

The directories of metadata that the roots have are those of the package without a name.
"""
from __future__ import absolute_import
import re, sys, zlib
from econtext import core

resources = core.load('econtext.resources')
made = {}  # classes of distributions, by the one that they extend: importlib's, or that of its backport


def find_distributions(server, context=None):
    if context is None:
        from importlib.metadata import DistributionFinder
        context = DistributionFinder.Context()
    if 'path' in vars(context):  # certain directories, none of which is served
        return
    name = context.name and normal(context.name)
    folders = {}
    for entry in resources.entries('', ''):
        folder = entry.partition('/')[0]
        folders.setdefault(normal(folder.rpartition('.')[0].partition('-')[0]), folder)
    folders = dict((each, folders[each]) for each in folders if name in (None, each))
    if folders:  # what is installed precedes them
        wanted = context if name is None else type(context)(name=name)  # 3.8 and 3.9 do not normalise all
        for finder in sys.meta_path:
            if finder is not server.finder and hasattr(finder, 'find_distributions'):
                for found in finder.find_distributions(wanted):
                    known = getattr(found, '_normalized_name', None) or found.metadata['Name'] or ''
                    folders.pop(normal(known), None)
    base = sys.modules[type(context).__module__].Distribution
    if base not in made:
        made[base] = make(base)
    for each in sorted(folders):
        yield made[base](folders[each], each)


def normal(name):
    return re.sub('[-_.]+', '_', name).lower()


def make(base):
    class Distribution(base):
        _normalized_name = None  # a property of the base's, which would read the metadata for it

        def __init__(self, folder, name):
            self.folder, self._normalized_name, self._path = folder, name, File('', folder)

        def read_text(self, filename):
            known, where = core.importer.modules, '%s/%s' % (self.folder, filename)
            record = known.get('/%s/RECORD' % self.folder)
            if '/' + where in known or not record or where.encode('utf-8') in zlib.decompress(record[2]):
                try:
                    found = resources.fetch('/' + where, where)  # kept, if it is not long: it is read again and again
                    whole = resources.read('/' + where, where) if found[3] else zlib.decompress(found[2])
                    return whole.decode('utf-8')
                except IOError as error:
                    if error.errno != 2:
                        raise

        def locate_file(self, path):
            package, _, where = str(path).partition('/')
            return File('', str(path)) if package == self.folder or not where else File(package, where)

    return Distribution


class File(resources.Path):
    def exists(self):
        """Without a question for each file that is listed."""
        return not set(self.where.split('/')).intersection(('..', '__pycache__'))
