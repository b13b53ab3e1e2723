#!/usr/bin/env python3
"""Classifies images with a server, over REST, by Python's standard library alone.

    python3 predict.py [--url http://localhost:8501] [--model NAME] IMAGE...
"""

import argparse
import base64
import json
import pathlib
import sys
import urllib.error
import urllib.request


def ask(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {json.load(error)['error']}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://localhost:8501")
    parser.add_argument("--model", default="default")
    parser.add_argument("images", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    examples = [{"image": {"b64": base64.b64encode(image.read_bytes()).decode()}} for image in options.images]
    # classify names the classes; predict, which takes {"instances": examples}, gives bare probabilities in their order.
    reply = ask(f"{options.url}/v1/models/{options.model}:classify", {"examples": examples})
    for image, classes in zip(options.images, reply["results"]):
        label, probability = max(classes, key=lambda entry: entry[1])
        print(f"{image}: {label} {100 * probability:.1f}%")


if __name__ == "__main__":
    main()
