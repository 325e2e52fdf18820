"""Shows the lines of table.py: on the terminal, and as docs/performance.md."""

import os

import interleave

HEAD = ["line", "measured", "Spry", "peer", "figure", "demand", "verdict"]

INTRODUCTION = """# Performance

Written by `make bench MARKDOWN=docs/performance.md`; nothing here was typed in. A figure is a ratio
of times above 1 where Spry is faster, unless the line says otherwise: a share of the peer's time or
memory, a share of the measured peak, points of accuracy. How it is measured: `bench/README.md`.

To repeat: `make bench QUICK=1` (25 minutes) or, with more turns, `make bench`; one line by
`make bench ROWS="f32 gemm"`.
"""


def cells(line):
    return [line.name, line.what, line.ours, line.theirs, line.figure, line.demand, line.verdict]


def describe(machine, facts):
    """Facts that figures depend on, one per line."""
    rates = ", ".join(f"{name} {facts[name]:.0f} G/s ({facts[name + '_kernel']})"
                      for name in ("f32", "bf16", "s8") if name in facts)
    reading = ", ".join(f"{key[5:]} {rate:.0f} GB/s" for key, rate in facts.items()
                        if key.startswith("read_"))
    return [f"{machine['cpu']}, {machine['cores_usable']} cores usable, Linux {machine['kernel']}",
            f"{machine['date']}, load {machine['load_average_at_start']} at the start, "
            f"{machine['mode']} run of {machine['minutes']} minutes",
            f"peak of a core at {facts['clock_ghz']:.2f} GHz: {rates}",
            f"reading: {reading}"]


def print_lines(machine, facts, lines):
    """The whole table for people."""
    for text in describe(machine, facts):
        print(text)
    print()
    interleave.print_table(HEAD, [cells(line) for line in lines], texts=2)
    print(*[f"\n{line.note}" for line in lines if line.note], sep="")
    counts = {}
    for line in lines:
        word = line.verdict.split(":")[0]
        counts[word] = counts.get(word, 0) + 1
    print("\n" + ", ".join(f"{count} {word}" for word, count in counts.items()))


def versions(lines):
    """Every version that a raw row names."""
    found = set()
    for line in lines:
        for row in line.rows:
            found |= set(row.get("versions", []))
            found |= {row[key] for key in ("spry_version", "peer_version") if key in row}
    return sorted(found)


def raw_cells(row):
    """One raw row: what, threads, both sides, ratio, spread, kernel."""
    def milliseconds(key, other):
        if key in row:
            return f"{row[key]:.4g} ms"
        return f"{row[other]:.4g}" if other in row else ""

    turns = [row[key] for key in ("spry_turns_ms", "peer_turns_ms") if key in row]
    spread = f"{100 * max(map(interleave.spread, turns)):.0f} %" if turns else ""
    ratio = f"{row['ratio']:.2f}" if "ratio" in row else row.get("skipped", "")
    return [row.get("name") or row.get("shape", ""), row.get("threads", ""),
            milliseconds("spry_ms", "spry"), milliseconds("peer_ms", "peer"), ratio, spread,
            row.get("kernel", "").strip()]


def markdown_table(head, rows):
    """Lines of a Markdown table."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return ["| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |"
            for row in [head, rule, *rows]]


def roofs(lines):
    """What the peer leaves to be gained, as a section."""
    notes = [f"- {line.note}" for line in lines if line.note]
    return ["### Roofs", "", *notes, ""] if notes else []


def write_markdown(path, machine, facts, lines):
    """The page: conditions, the table, then every model and shape."""
    page = [INTRODUCTION, "## Conditions\n", *(f"- {text}" for text in describe(machine, facts)),
            f"- versions: {', '.join(versions(lines))}", "", "## Lines\n",
            *markdown_table(HEAD, map(cells, lines)), "", *roofs(lines), "## Models and shapes", "",
            "`spread` is the middle half of the turns over their median, of the noisier side.", ""]
    for line in lines:
        if line.rows:
            page += [f"### {line.name}: {line.what}", "",
                     *markdown_table(["of", "threads", "Spry", "peer", "ratio", "spread", "kernel"],
                                     map(raw_cells, line.rows)), ""]
    unfinished = f"{path}.part"
    with open(unfinished, "w", encoding="utf-8") as file:
        file.write("\n".join(page))
    os.replace(unfinished, path)
