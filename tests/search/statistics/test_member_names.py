"""Names of the members of a final model, for people."""

from __future__ import annotations

from search.statistics.member_names import MemberName, members_named, trials_named

PROBE = MemberName(trial=3, is_probe=True)
TRIAL = MemberName(trial=3)


def test_a_probe_is_not_called_a_trial() -> None:
    assert (str(PROBE), PROBE.short, PROBE.first) == ("probe 3", "probe 3", "Probe 3")
    assert (str(TRIAL), TRIAL.short, TRIAL.first) == ("trial 3", "3", "Trial 3")
    beside = MemberName(trial=3, study="aug_tuning", is_probe=True)
    assert str(beside) == beside.first == "aug_tuning:3"


def test_the_number_alone_identifies_it() -> None:
    assert PROBE == TRIAL and hash(PROBE) == hash(TRIAL)


def test_trials_and_probes_are_listed_apart() -> None:
    others = [MemberName(trial=7), MemberName(trial=2, is_probe=True), MemberName(label="big")]
    assert members_named([PROBE]) == "probe 3"
    assert members_named([TRIAL, *others]) == "trials 3, 7, probe 2 and imported big"
    assert members_named([PROBE, *others]) == "trial 7, probes 3, 2 and imported big"
    assert trials_named([3, 7, 12], probes={12}) == "trials 3, 7 and probe 12"
    assert trials_named([3]) == "trial 3"
