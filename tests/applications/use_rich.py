"""A table, and code in colours, as text."""
import io
from rich.console import Console
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.table import Table


def work():
    table = Table(title='Orders')
    table.add_column('name')
    table.add_column('pieces', justify='right')
    table.add_row('Ada', '5')
    table.add_row('[bold]Grace[/bold]', '10')
    console = Console(file=io.StringIO(), width=40)
    console.print(table)
    console.print(Markdown('# A title\n* an item'))
    plain = console.file.getvalue()
    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system='truecolor')
    console.print(Syntax('def f(): pass', 'python'))
    return plain, console.file.getvalue()
