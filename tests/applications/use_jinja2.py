"""Templates that extend each other; what is not safe is escaped."""
import jinja2

PAGES = {
    'base': '<h1>{% block title %}{% endblock %}</h1>{% block body %}{% endblock %}',
    'page': '''{% extends "base" %}{% block title %}{{ title|upper }}{% endblock %}
        {%- block body %}{% for word in words|sort %}<li>{{ loop.index }} {{ word }}</li>{% endfor %}{% endblock %}''',
}


def work():
    pages = jinja2.Environment(loader=jinja2.DictLoader(PAGES), autoescape=True)
    return pages.get_template('page').render(title='a & b', words=['y', '<x>'])
