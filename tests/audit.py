"""`python -m tests.audit`: known holes in what is installed, the requirements and all that they bring along, asked of PyPI by pip-audit.

Ends with status 1 where a hole is known. A mirror of the registry has packages and no advisories: what could not be asked is counted and told,
and is no failure, since nothing was found either; `--strict` makes it one, for where PyPI can be reached.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

COMMAND = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off"]


def told(dependencies: list[dict[str, Any]]) -> tuple[list[str], int, int]:
    """What pip-audit found.

    Args:
        dependencies: as it writes them: name, and version with vulns, or skip_reason.

    Returns:
        holes: a sentence for each; asked, not_asked: how many packages.
    """
    holes = [
        f"{one['name']} {one['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version yet'}"
        for one in dependencies
        for hole in one.get("vulns", ())
    ]
    not_asked = sum("skip_reason" in one for one in dependencies)
    return holes, len(dependencies) - not_asked, not_asked


def main() -> int:
    """Asks, prints, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__.partition("\n")[0])
    parser.add_argument("--strict", action="store_true", help="fail where a package could not be asked about")
    strict = parser.parse_args().strict
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        print(f"nothing was audited: pip-audit did not reach the advisories ({last[:300]})")
        return int(strict)
    holes, asked, not_asked = told(json.loads(done.stdout)["dependencies"])
    print("\n".join(holes), end="\n" * bool(holes))
    print(f"{asked} packages audited, {len(holes)} holes known", end="")
    print(f"; of {not_asked} the registry has no advisories: run this where pypi.org can be reached" * bool(not_asked))
    return int(bool(holes) or (strict and bool(not_asked)))


if __name__ == "__main__":
    sys.exit(main())
