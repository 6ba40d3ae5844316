"""Says what `ast` finds of imports at the top level of each Python file below some directories.

Lines of fields with tabs between them: `file` and its path; `import`, its line, what is imported, and `0`
if a condition that can be evaluated here keeps it from running here; `other` and the path of a file that this Python
does not parse.
"""
import ast
import os
import sys


class Facts(object):
    """What may be known of a module: of any other attribute nothing is."""

    def __init__(self, module, *names):
        self.__dict__.update((name, getattr(module, name)) for name in names)


SYS = Facts(sys, 'version_info', 'version', 'platform')
OS = Facts(os, 'name')


class Imports(ast.NodeVisitor):
    def __init__(self, tree):
        self.found = []
        self.runs = True
        # What is true of every Python, and of this one.
        self.always = dict(CONSTANTS)
        self.here = dict(self.always, sys=SYS, os=OS)
        self.learn(tree)
        self.visit(tree)

    def learn(self, tree):
        """Takes in the names that are bound once, to what is known."""
        bound = {}
        for node in ast.walk(tree):
            names = [getattr(node, 'name', None), getattr(node, 'asname', None)]
            names += getattr(node, 'names', []) if isinstance(node, ast.Global) else []
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                names.append(node.id)
            for name in names:
                bound[name] = bound.get(name, 0) + 1
        for node in tree.body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in ('sys', 'os'):
                        self.here[alias.asname or alias.name] = self.here[alias.name]
            elif isinstance(node, ast.ImportFrom) and node.module in ('sys', 'os'):
                for alias in node.names:
                    facts = vars(self.here[node.module])
                    if alias.name in facts:
                        self.here[alias.asname or alias.name] = facts[alias.name]
            elif isinstance(node, ast.Assign) and bound.get(dotted(node.targets[0])) == 1:
                for names in self.always, self.here:
                    value = combined(node.value, names)
                    if value is not UNKNOWN:
                        names[dotted(node.targets[0])] = value

    def add(self, node, text):
        self.found.append((node.lineno, text, self.runs))

    def visit_all(self, nodes):
        for node in nodes:
            if isinstance(node, ast.AST):
                self.visit(node)

    def visit_under(self, nodes, runs):
        before, self.runs = self.runs, self.runs and runs
        self.visit_all(nodes)
        self.runs = before

    def visit_Import(self, node):
        for alias in node.names:
            self.add(node, alias.name)

    def visit_ImportFrom(self, node):
        names = [alias.name for alias in node.names]
        what = '*' if names == ['*'] else '(%s)' % ','.join(names)
        self.add(node, '.' * (node.level or 0) + (node.module or '') + what)

    def visit_FunctionDef(self, node):
        self.visit_all(node.decorator_list)
        self.visit(node.args)
        self.visit_all([getattr(node, 'returns', None)])

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        pass

    def visit_ClassDef(self, node):
        self.visit_all(node.decorator_list + node.bases + getattr(node, 'keywords', []))
        self.visit_all(node.body)

    def visit_If(self, node):
        self.visit(node.test)
        always, here = combined(node.test, self.always), combined(node.test, self.here)
        if always is UNKNOWN or always:
            self.visit_under(node.body, here is UNKNOWN or here)
        if always is UNKNOWN or not always:
            self.visit_under(node.orelse, here is UNKNOWN or not here)

    def visit_While(self, node):
        self.visit(node.test)
        always, here = combined(node.test, self.always), combined(node.test, self.here)
        if always is UNKNOWN or always:
            self.visit_under(node.body, here is UNKNOWN or here)
        self.visit_all(node.orelse)

    def visit_Call(self, node):
        function = dotted(node.func)
        text = string(node.args[0]) if node.args else None
        if function in ('__import__', 'import_module', 'importlib.import_module') and text:
            if not text.startswith('.') or function != '__import__':
                self.add(node, text)
        self.generic_visit(node)


# In Python 2 the first two are names.
CONSTANTS = {
    'True': True,
    'False': False,
    'TYPE_CHECKING': False,
    '__builtins__': {},
    '__name__': 'm',
}
UNKNOWN = object()


def dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and dotted(node.value):
        return dotted(node.value) + '.' + node.attr
    return ''


def string(node):
    value = getattr(node, 's' if sys.version_info < (3, 8) else 'value', None)
    return value if isinstance(value, (type(''), type(u''))) else None


def combined(node, names):
    """The value of an expression, or what is certain of `not`, `and` and `or`."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        part = combined(node.operand, names)
        return UNKNOWN if part is UNKNOWN else not part
    if isinstance(node, ast.BoolOp):
        parts = [combined(value, names) for value in node.values]
        parts = [part if part is UNKNOWN else bool(part) for part in parts]
        decisive = isinstance(node.op, ast.Or)
        if decisive in parts:
            return decisive
        return UNKNOWN if UNKNOWN in parts else not decisive
    if dotted(node).endswith('.TYPE_CHECKING'):
        return False
    try:
        return eval(compile(ast.Expression(node), 'condition', 'eval'), names)
    except Exception:
        return UNKNOWN


# The standard library's own tests are as large as all the rest, and import little that others do not.
LEFT_OUT = 'site-packages', '__pycache__', 'test', 'tests'


def files(directory):
    for path, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if name not in LEFT_OUT)
        for name in sorted(names):
            if name.endswith('.py'):
                yield os.path.join(path, name)


def main():
    out = getattr(sys.stdout, 'buffer', sys.stdout)
    sys.setrecursionlimit(100000)
    for directory in sys.argv[1:]:
        for path in files(directory):
            with open(path, 'rb') as file:
                source = file.read()
            try:
                tree = ast.parse(source)
            except (SyntaxError, ValueError, RecursionError if sys.version_info > (3,) else RuntimeError):
                lines = [u'other\t' + path]
            else:
                imports = Imports(tree)
                lines = [u'file\t' + path]
                lines += [u'import\t%d\t%s\t%d' % found for found in imports.found]
            for line in lines:
                out.write((line + u'\n').encode('utf-8'))


main()
