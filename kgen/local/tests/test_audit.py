from kgen.local import audit

WELL = {"dependencies": [{"name": "django", "version": "5.2.19", "vulns": []}]}


def test_audit_of_every_package_without_a_finding_is_good():
    assert audit.problems(WELL, {"django"}) == []


def test_package_that_was_skipped_or_left_out_is_a_problem():
    skipped = {"dependencies": [*WELL["dependencies"], {"name": "six", "skip_reason": "unknown"}]}

    assert audit.problems(skipped, {"django", "six", "rlp"}) == ["2 of 3 not audited: rlp, six"]


def test_vulnerable_package_is_a_problem():
    hole = {"id": "PYSEC-1", "fix_versions": ["5.2.20"]}
    report = {"dependencies": [{"name": "django", "version": "5.2.19", "vulns": [hole]}]}

    assert audit.problems(report, {"django"}) == ["django 5.2.19: PYSEC-1, mended in 5.2.20"]


def test_locked_are_the_packages_of_this_machine():
    lines = ["# note", "", "six==1.17.0", "pywin32==312 ; sys_platform == 'never'"]

    assert audit.locked(lines) == {"six"}
