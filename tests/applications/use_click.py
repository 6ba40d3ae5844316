"""A command line, run as click's own tests do."""
import click
from click.testing import CliRunner


@click.group()
def cli():
    pass


@cli.command()
@click.option('--count', default=1, type=click.IntRange(1, 3))
@click.argument('name')
def greet(count, name):
    for _ in range(count):
        click.echo('Hello %s' % name)


def work(words=('greet', 'Ada')):
    result = CliRunner().invoke(cli, list(words))
    return '%d %s' % (result.exit_code, result.output)
