import pytest


@pytest.fixture
def numbers():
    return [1, 2]


def test_passes(numbers):
    assert sum(numbers) == 3


@pytest.mark.parametrize('word', ['a', 'bb'])
def test_twice(word):
    assert len(word) < 2


@pytest.mark.skip(reason='of no interest')
def test_is_skipped():
    assert False


def test_raises(capsys):
    print('to be captured')
    assert 'captured' in capsys.readouterr()[0]
    with pytest.raises(ZeroDivisionError):
        1 / 0
