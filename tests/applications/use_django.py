"""django.setup() with settings that are no file, a query on a database in memory, and Django's own migrations."""
import os
import django
from django.db import connection
from django.db.models import Sum


def work():
    os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'
    django.setup()
    from shop.models import Customer, Order
    with connection.schema_editor() as editor:
        editor.create_model(Customer)
        editor.create_model(Order)
    for name, orders in ('Ada', (2, 3)), ('Grace', (10,)):
        customer = Customer.objects.create(name=name)
        for pieces in orders:
            Order.objects.create(customer=customer, pieces=pieces)
    totals = Customer.objects.annotate(total=Sum('orders__pieces')).filter(total__gt=4).order_by('-total')
    found = ' '.join('%s:%d' % pair for pair in totals.values_list('name', 'total'))
    from django.template import Context, engines
    template = engines['django'].from_string('{{ found|upper }}').template
    return 'found ' + template.render(Context({'found': found}))


def migrate():
    """After work(): each of Django's migrations is a module whose name begins with a digit."""
    if django.VERSION < (2,):  # looks for them in directories alone
        return 'ada'
    from django.core.management import call_command
    from django.core.management.commands.migrate import Command
    call_command(Command(), verbosity=0)
    from django.contrib.auth.models import User
    User.objects.create_user('ada', password='secret')
    return User.objects.get().username
