"""What the checks share: which files there are, C text without comments, how to report."""

import os
import re
import subprocess
import sys

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else
                       os.path.join(os.path.dirname(__file__), "..", ".."))

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_problems = 0


def files(*patterns):
    """Paths (relative to ROOT, sorted) of the files that match one of the regular expressions.

    Files that git ignores do not count; without git, the build folder does not."""
    try:
        listing = subprocess.run(
            ["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"],
            capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        listing = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [name for name in folders if name != "build" and name[0] != "."]
            listing += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    wanted = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    return sorted(path for path in set(listing)
                  if path and wanted.search(path) and os.path.isfile(os.path.join(ROOT, path)))


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def code(path):
    """The C text of a file with comments and literals blanked out; lines keep their numbers."""
    return _TOKEN.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text(path))


def line_of(content, offset):
    return content.count("\n", 0, offset) + 1


def problem(path, line, message, remedy):
    global _problems
    _problems += 1
    print(f"{path}:{line}: {message}; {remedy}")


def finish():
    sys.exit(1 if _problems else 0)
