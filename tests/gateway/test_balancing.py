import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.balancing import Balancer, BalancingSettings, ReplicaState, fingerprint


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def replicas(count):
    made = [ReplicaState(f"10.0.0.{number}:1") for number in range(count)]
    for replica in made:
        replica.usable = True
    return made


def balancer(clock=None, **settings):
    return Balancer(BalancingSettings(**settings), clock=clock or Clock(), rng=random.Random(7))


def test_the_less_loaded_of_two_gets_the_call():
    two = replicas(2)
    two[0].outstanding = 5
    assert {balancer().choose(two).address for _ in range(20)} == {two[1].address}


def test_outstanding_calls_stay_even():
    many, chooser = replicas(5), balancer()
    for _ in range(500):
        chooser.started(chooser.choose(many))
    assert max(r.outstanding for r in many) - min(r.outstanding for r in many) <= 5


def test_unusable_and_tried_replicas_get_nothing():
    three = replicas(3)
    three[0].usable = False
    assert balancer().choose(three, tried=[three[1]]) is three[2]
    assert balancer().choose(three, tried=[three[1], three[2]]) is None


def test_the_same_prefix_goes_to_the_same_replica():
    many, chooser = replicas(4), balancer()
    assert len({chooser.choose(many, 12345).address for _ in range(50)}) == 1


def test_prefixes_spread_over_the_replicas():
    many, chooser = replicas(4), balancer()
    counts = Counter(chooser.choose(many, fingerprint(b"%d" % number)).address for number in range(4000))
    assert min(counts.values()) > 800


def test_a_replica_that_goes_moves_only_its_own_prefixes():
    many, chooser = replicas(4), balancer()
    before = {number: chooser.choose(many, fingerprint(b"%d" % number)) for number in range(500)}
    many[2].usable = False
    moved = [
        number for number, replica in before.items() if chooser.choose(many, fingerprint(b"%d" % number)) is not replica
    ]
    assert all(before[number] is many[2] for number in moved)


def test_a_prefix_yields_when_its_replica_has_more_than_its_share():
    many, chooser = replicas(4), balancer(load_bound=1.25, spare_calls=0)
    for _ in range(400):
        chooser.started(chooser.choose(many, 99))
    loads = sorted(replica.outstanding for replica in many)
    assert loads[-1] <= 1.25 * 400 / 4 + 2
    assert loads[-1] > loads[0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 2**64 - 1))
def test_a_usable_replica_is_always_found(loads, prefix):
    many = replicas(len(loads))
    for replica, load in zip(many, loads, strict=True):
        replica.outstanding = load
    assert balancer().choose(many, prefix) in many


def test_a_replica_that_fails_again_and_again_is_out_for_longer_and_longer():
    clock = Clock()
    two, chooser = replicas(2), balancer(clock, failures_to_eject=3, first_ejection=1.0, longest_ejection=5.0)
    bad, good = two

    def fail():
        chooser.started(bad)
        chooser.ended(bad, failed=True)

    fail()
    fail()
    assert bad.ejected_until == 0.0
    for length in (1.0, 2.0, 4.0, 5.0, 5.0):
        fail()
        assert bad.ejected_until == clock.now + length
        assert all(chooser.choose(two) is good for _ in range(20))
        clock.now += length


def test_after_an_ejection_one_call_probes_and_a_success_brings_the_replica_back():
    clock = Clock()
    two, chooser = replicas(2), balancer(clock, failures_to_eject=1, first_ejection=1.0)
    bad, good = two
    chooser.started(bad)
    chooser.ended(bad, failed=True)
    clock.now = 2.0
    good.outstanding = 100
    probe = chooser.choose(two)
    assert probe is bad
    chooser.started(probe)
    assert chooser.choose(two) is good
    chooser.ended(probe, failed=False)
    assert chooser.choose(two) is bad


def test_when_all_are_ejected_a_doubtful_replica_is_better_than_none():
    one, chooser = replicas(1), balancer(failures_to_eject=1)
    chooser.started(one[0])
    chooser.ended(one[0], failed=True)
    assert chooser.choose(one) is one[0]


def test_a_caller_that_goes_away_says_nothing_about_the_replica():
    one, chooser = replicas(1)[0], balancer(failures_to_eject=1)
    chooser.started(one)
    chooser.ended(one, failed=None)
    assert (one.outstanding, one.failures) == (0, 0)
