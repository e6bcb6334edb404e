#!/usr/bin/env python3
"""Draws what a command really printed as an SVG of a terminal, for the README.

    scripts/record.py docs/demo.svg make demo
"""
import html
import os
import pathlib
import re
import subprocess
import sys

WIDTH, LINE, CHAR, MARGIN = 118, 17, 7.8, 14      # columns; pixels
MOST = 60                                          # lines


def lines_of(command: list) -> list:
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": str(WIDTH)}
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, env=env).stdout
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", out).replace(str(pathlib.Path.cwd()), "~/lode")
    return [line[:WIDTH] for line in text.rstrip().splitlines()]


def draw(lines: list) -> str:
    if len(lines) > MOST:
        lines = lines[:MOST - 1] + ["..."]
    height = 2 * MARGIN + LINE * len(lines)
    rows = []
    for i, line in enumerate(lines):
        colour = "#7ee787" if line.startswith("$") else "#e6edf3"
        rows.append(f'<text x="{MARGIN}" y="{MARGIN + LINE * (i + 1) - 4}" fill="{colour}" xml:space="preserve">{html.escape(line)}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{int(2 * MARGIN + CHAR * WIDTH)}" height="{height}" '
            f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13">\n'
            f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n' + "\n".join(rows) + "\n</svg>\n")


def main() -> None:
    output, command = pathlib.Path(sys.argv[1]), sys.argv[2:]
    output.write_text(draw(lines_of(command)))


main()
