"""What Django reads by a name that it is given as text."""
SECRET_KEY = 'of a test'
USE_TZ = True
USE_I18N = False  # its translations are files that it opens itself
INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth', 'shop']
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}
DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'
TEMPLATES = [{'BACKEND': 'django.template.backends.django.DjangoTemplates'}]
