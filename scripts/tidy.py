#!/usr/bin/env python3
"""Lets clang-tidy check the project's own code as the build release-tests compiles it.

  python3 scripts/tidy.py [FILE...]    (default: every .cc file but those of tests and benchmarks)

g++'s precompiled headers are left out, which clang cannot read; of Highway's instruction sets only one is looked at, for they
share a source. A file that was clean is not checked again until its preprocessed text, the settings or the program change.
Known files are in $NACRE_TIDY or ~/.cache/nacre/tidy.
"""

import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

PROJECT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ["engine", "layers", "image", "train", "serialize", "runtime", "serve", "cli", "examples"]
KNOWN = pathlib.Path(os.environ.get("NACRE_TIDY") or pathlib.Path.home() / ".cache/nacre/tidy")
DATABASE = PROJECT / "build" / "tidy"
EXTRA = ["-DHWY_COMPILE_ONLY_STATIC", "-Wno-unknown-warning-option"]


def compilations():
    """Source file -> its entry in the compilation database, without precompiled headers; also written for clang-tidy."""
    text = (PROJECT / "build/release-tests/compile_commands.json").read_text()
    entries = json.loads(re.sub(r" -Winvalid-pch -include [^ ]*cmake_pch\.hxx", "", text))
    DATABASE.mkdir(parents=True, exist_ok=True)
    (DATABASE / "compile_commands.json").write_text(json.dumps(entries))
    return {pathlib.Path(entry["directory"], entry["file"]).resolve(): entry for entry in entries}


def state_of(entry, settings):
    """A digest of all that a check depends on. Comments count, since they may silence one; places of files do not."""
    words = shlex.split(entry["command"])
    arguments = words[next(i for i, word in enumerate(words) if word.endswith("++")) + 1 :]
    output = arguments.index("-o")
    arguments = [word for word in arguments[:output] + arguments[output + 2 :] if word != "-c"]
    source = subprocess.run(["clang++-14", "-w", "-E", "-C", "-P", *EXTRA, *arguments], cwd=entry["directory"],
                            capture_output=True, check=True).stdout
    parts = [settings, shlex.join(arguments).encode(), source]
    return hashlib.sha256(b"\0".join(part.replace(str(PROJECT).encode(), b".") for part in parts)).hexdigest()


def fault_of(path, entry, settings):
    """What clang-tidy says of the file when it is not content; else an empty text."""
    known = KNOWN / state_of(entry, settings)
    if known.exists():
        return ""
    command = ["clang-tidy-14", "-quiet", "-p", str(DATABASE), *(f"-extra-arg={word}" for word in EXTRA), str(path)]
    outcome = subprocess.run(command, capture_output=True, text=True)
    if outcome.returncode != 0:
        return outcome.stdout + (outcome.stderr if "error:" not in outcome.stdout else "")
    known.touch()
    return ""


def main(arguments):
    entries = compilations()
    if arguments:
        paths = [pathlib.Path(argument).resolve() for argument in arguments]
        unknown = [str(path) for path in paths if path not in entries]
        if unknown:
            sys.exit(f"tidy.py: the build release-tests does not compile {', '.join(unknown)}")
    else:
        paths = sorted(path for path in entries if path.is_relative_to(PROJECT) and path.relative_to(PROJECT).parts[0] in FOLDERS)
    settings = (PROJECT / ".clang-tidy").read_bytes() + subprocess.run(
        ["clang-tidy-14", "--version"], capture_output=True, check=True).stdout
    KNOWN.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [fault for fault in pool.map(lambda path: fault_of(path, entries[path], settings), paths) if fault]
    print(*faults, sep="\n")
    print(f"tidy.py: {len(paths)} files, {len(faults)} with findings")
    return 1 if faults or not paths else 0


sys.exit(main(sys.argv[1:]))
