"""Templates: inheritance, escaping, macros, a sandbox, and an error with the template's line."""

import traceback

import jinja2
import jinja2.sandbox

TEMPLATES = {
    "base.html": "<h1>{% block title %}{% endblock %}</h1>{% block body %}{% endblock %}",
    "page.html": """{% extends 'base.html' %}
{% macro item(thing) %}<li>{{ thing.name|upper }} {{ '%.2f'|format(thing.price) }}</li>{% endmacro %}
{% block title %}{{ title }}{% endblock %}
{% block body %}<ul>{% for thing in things|sort(attribute='price') %}{{ item(thing) }}{% else %}none{% endfor %}</ul>{% endblock %}""",
    "bad.html": "line one\n{{ 1 / 0 }}",
}
environment = jinja2.Environment(loader=jinja2.DictLoader(TEMPLATES), autoescape=True)


def handler(event, context):
    page = environment.get_template("page.html").render(event)
    try:
        environment.get_template("bad.html").render()
    except ZeroDivisionError as error:
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
    try:
        jinja2.sandbox.SandboxedEnvironment().from_string("{{ ().__class__.__mro__ }}").render()
    except jinja2.exceptions.SecurityError as error:
        refused = type(error).__name__
    return {"page": page, "refused": refused, "line": line}
