import os, sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import kumotest


@pytest.fixture
def sink():
    made = []

    def make(*a, **kw):
        made.append(kumotest.Sink(*a, **kw))
        return made[-1]
    yield make
    for s in made:
        s.close()


@pytest.fixture
def kumod():
    made = []

    def make(policy, **kw):
        made.append(kumotest.Kumod(policy, **kw))
        return made[-1]
    yield make
    for k in made:
        k.close()
