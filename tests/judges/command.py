"""Starts programs; what they say of an error is what the test says."""

import subprocess


def run(*command):
    """What a program that must succeed prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def refused(*command):
    """The outcome of a program that must fail."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode != 0, f"{done.args} did what it should have refused: {done.stdout}"
    return done
