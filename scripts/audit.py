"""``make lint``: known vulnerabilities of the pinned packages, by pip-audit.

Where its data cannot be reached, or not in half a minute, one line says so, and nothing fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "constraints.txt"
SECONDS = 30.0


def main() -> int:
    """Exit status 1: a pinned package has a known vulnerability."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(PINS), "--no-deps", "--disable-pip",
        "--progress-spinner=off", "--timeout=5", "--format=json",
    ]  # fmt: skip
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        packages: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _skip(f"no answer in {SECONDS:.0f} s")
    except (ValueError, KeyError, TypeError):
        said = ended.stderr.strip().splitlines()
        return _skip(said[-1] if said else f"it ended with status {ended.returncode}")
    known = [package for package in packages if "vulns" in package]
    if not known:
        return _skip("nothing is known of any package: its data cannot be reached")
    for package in known:
        for found in package["vulns"]:
            fixed = ", ".join(found.get("fix_versions", [])) or "no version yet"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    print(f"pip-audit: {len(known)} of {len(packages)} pinned packages were looked up")
    return int(any(package["vulns"] for package in known))


def _skip(reason: str) -> int:
    print(f"pip-audit skipped: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
