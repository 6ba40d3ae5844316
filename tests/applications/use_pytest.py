"""Runs a test file on the machine where this is."""
import os
import shutil
import tempfile
import pytest


class Outcomes(object):
    def __init__(self):
        self.reports = []

    def pytest_runtest_logreport(self, report):
        if report.when == 'call' or report.outcome == 'skipped':
            self.reports.append(report)


def work(name, text):
    """The outcome of each test, and what was said of those that failed."""
    directory, outcomes = tempfile.mkdtemp(), Outcomes()
    try:
        path = os.path.join(directory, name)
        with open(path, 'wb') as file:
            file.write(text)
        options = ['-q', '-p', 'no:cacheprovider', '--rootdir', directory]
        status = pytest.main(options + [path], plugins=[outcomes])
    finally:
        shutil.rmtree(directory)
    told = ['%s %s' % (report.nodeid.split('::')[-1], report.outcome) for report in outcomes.reports]
    return int(status), told, '\n'.join(report.longreprtext for report in outcomes.reports if report.failed)


def imported():
    return pytest.__version__
