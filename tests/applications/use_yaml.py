"""There and back with the part that is written in Python."""
import datetime
import yaml

TEXT = '''
name: Ada
when: 2024-02-29
words: &w [one, "two: 2", ~]
again: *w
text: |
  a line
  another
'''


def work():
    loaded = yaml.safe_load(TEXT)
    assert loaded['when'] == datetime.date(2024, 2, 29) and loaded['again'] is loaded['words']
    dumped = yaml.safe_dump(loaded, default_flow_style=False)
    assert yaml.safe_load(dumped) == loaded
    return '%s %r %s' % (yaml.__with_libyaml__, loaded['text'], loaded['words'][1])
