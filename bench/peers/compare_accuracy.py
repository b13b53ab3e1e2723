"""Time to an accuracy of 0.92 on Fashion-MNIST's test images: fashion28 by its recipe. Takes many minutes."""

import json
import time

import alternation
import data

GOAL = 0.92
NOTE = (
    "fashion28 by its recipe (batch 100, Adam, cosine over nine epochs, flips), from nacre's initial variables, tested after "
    "every epoch. nacre's time is that of the whole process, with checkpoints; the peers' clock starts when their data are in "
    "memory. One run each: draws differ, and with them the epoch in which the goal is reached.")


def run(context):
    begun = context.start("fashion28", 10)
    epochs = context.steps(begun.recipe["epochs"], 1)
    runs = [nacre_run(context, begun, epochs)]
    context.say(f"accuracy: {runs[0]}")
    spec = begun.spec(begun.recipe["batch-size"], context.threads)
    for name, module in {"TensorFlow": "accuracy_tensorflow", "PyTorch": "accuracy_torch"}.items():
        spec["recipe"] = begun.recipe | {"epochs": epochs}
        peer = alternation.Peer.of_module(name, module, spec, context.folder)
        seconds, taken, accuracy = 0.0, 0, 0.0
        while taken < epochs and accuracy < GOAL:
            answer = peer.ask(warm_up=0, steps=1)
            seconds, taken, accuracy = seconds + answer["ms"][0] / 1000, taken + 1, answer["facts"]["accuracy"]
        peer.close()
        runs.append({"name": name, "epochs": taken, "seconds": seconds, "accuracy": accuracy})
        context.say(f"accuracy: {runs[-1]}")
    return {"note": NOTE, "runs": runs}


def nacre_run(context, begun, epochs):
    run_ = context.folder / "accuracy-run"
    command = [
        context.nacre, "train", "--model", begun.model_file, "--data", data.SOURCE, "--out", run_, "--epochs", epochs,
        "--stop-at-accuracy", GOAL, "--seed", 1, "--events", "none", "--threads", context.threads]
    begin = time.perf_counter()
    alternation.output_of(command, context.threads)
    seconds = time.perf_counter() - begin
    tests = validations(run_)
    return {"name": "nacre", "epochs": len(tests), "seconds": seconds, "accuracy": tests[-1]}


def validations(run_):
    """The accuracies of a run's validations, in order."""
    lines = [json.loads(line) for line in (run_ / "metrics.jsonl").read_text().splitlines()]
    return [line["validation_accuracy"] for line in lines if "validation_accuracy" in line]
