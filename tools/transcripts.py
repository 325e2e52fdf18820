#!/usr/bin/env python3
"""Runs the commands that the documentation shows.

    tools/transcripts.py PROGRAM [--update] [FILE...]

A block that starts with ```console holds lines "$ COMMAND" and their output. Every command must end
with 0, or with N where the block starts with ```console exit=N; --update also replaces the output
(only its first N lines with lines=N). Without FILE: README.md, docs/*.md and docs/guide/*.md. Each
file has a scratch folder of its own, in which docs/, examples/ and tests/ are those of the
repository."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```console([^\n]*)\n(.*?)^```$", re.S | re.M)


def run(command, folder, environment):
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, timeout=300,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def play(block, folder, environment, problems):
    """The block with fresh output; appends to `problems` what ended otherwise than foretold."""
    settings = dict(word.split("=") for word in block.group(1).split())
    commands = re.findall(r"^\$ (.*)$", block.group(2), re.M)
    text = ""
    for number, command in enumerate(commands):
        code, output = run(command, folder, environment)
        expected = int(settings.get("exit", 0)) if number == len(commands) - 1 else 0
        if code != expected:
            problems.append(f"'{command}' ended with {code}, not {expected}\n{output}")
        lines = [line.rstrip() for line in output.splitlines()]
        most = int(settings.get("lines", 10000))
        text += "\n".join([f"$ {command}"] + lines[:most] + ["..."] * (len(lines) > most)) + "\n"
    return f"```console{block.group(1)}\n{text}```"


def main():
    words = [word for word in sys.argv[1:] if word != "--update"]
    program = Path(words[0]).resolve()
    files = [Path(word) for word in words[1:]]
    files = files or [root / "README.md", *sorted(root.glob("docs/*.md")),
                      *sorted(root.glob("docs/guide/*.md"))]
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("NO_COLOR", "SPRY_ISA")}
    environment["COLUMNS"] = "96"
    problems = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            for name in ("docs", "examples", "tests"):
                os.symlink(root / name, Path(folder, name))
            os.mkdir(Path(folder, "bin"))
            os.symlink(program, Path(folder, "bin", "spry"))
            environment["PATH"] = f"{folder}/bin:{os.environ['PATH']}"
            found = []
            fresh = BLOCK.sub(lambda block: play(block, folder, environment, found), text)
        problems += [f"{file}: {problem}" for problem in found]
        if "--update" in sys.argv and not found and fresh != text:
            file.write_text(fresh, encoding="utf-8")
    print("\n".join(problems), end="")
    return 1 if problems else 0


sys.exit(main())
