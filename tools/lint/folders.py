#!/usr/bin/env python3
"""Every folder of src/ says what lives there; nothing names a place of one developer's machine."""

import re

import source

README_MAX = 40
# Absolute paths below the usual homes and workplaces. Written so that it does not match itself.
PRIVATE_PATH = re.compile(r"(?<![\w.$}){~*/-])/(?:home|root|Users|work|workspace|builds)/\w[\w/.-]*")
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")

for folder in sorted({path.split("/")[1] for path in source.files(r"^src/[^/]+/")}):
    readme = f"src/{folder}/README.md"
    if not source.files(f"^{re.escape(readme)}$"):
        source.problem(readme, 1, "is missing",
                       "say in a few lines what lives in this folder and what it may include")
for readme in source.files(r"^src/.*README\.md$"):
    count = len(source.text(readme).splitlines())
    if count > README_MAX:
        source.problem(readme, README_MAX, f"{count} lines, {README_MAX} are the most",
                       "move what is longer into docs/")

for path in source.files(r"\.(c|h|md|sh|py|js|txt|cmake|json|in|yml)$", r"(^|/)(Makefile|run)$"):
    content = source.text(path)
    for match in PRIVATE_PATH.finditer(content):
        source.problem(path, source.line_of(content, match.start()),
                       f"{match.group()} exists on one machine only",
                       "use a path relative to the source, or an environment variable")
    if path.startswith(("src/", "include/")):
        for match in UNFINISHED.finditer(content):
            source.problem(path, source.line_of(content, match.start()),
                           f"{match.group()} is left", "finish it, or say the limitation in prose")
source.finish()
