"""scikit-learn's own checks of every estimator."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.hardening import check_estimators
from tests.hardening.check_estimators import LONG, NAMES, exempted, tiny


@parametrize_with_checks(
    [tiny(name) for name in NAMES if name not in LONG], expected_failed_checks=exempted
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.release
@parametrize_with_checks([tiny(name) for name in LONG], expected_failed_checks=exempted)
def test_scikit_learn_of_what_takes_long(estimator, check):
    check(estimator)


def test_the_command_counts(monkeypatch, capsys):
    def checked(estimator, expected_failed_checks, on_fail, on_skip):
        base = {"exception": None, "expected_to_fail_reason": None}
        return [
            base | {"status": "passed", "check_name": "one"},
            base | {"status": "failed", "check_name": "two", "exception": "why"},
            base
            | {"status": "xfail", "check_name": "three"}
            | {"expected_to_fail_reason": "because"},
        ]

    monkeypatch.setattr(check_estimators, "check_estimator", checked)
    assert check_estimators.main(["IMSAT"]) == 1
    out = capsys.readouterr().out
    assert "IMSAT: 1 passed, 1 exempted, 0 skipped, 1 FAILED" in out
    assert "  failed two: why" in out and "  xfail three: because" in out
    with pytest.raises(SystemExit, match="2"):
        check_estimators.main(["KMeans"])
    assert "there is no KMeans; name some of DGG" in capsys.readouterr().err
    assert check_estimators.main([]) == 1
    assert capsys.readouterr().out.count("1 FAILED") == len(NAMES)
