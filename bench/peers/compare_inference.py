"""Predictions of images of noise that are in memory, from the network's input to its probabilities."""

import numpy as np

CASES = {"face96": 5, "residual32": 10, "mobilenet96": 10}
PEERS = {
    "ONNX Runtime": "infer_onnxruntime", "OpenVINO": "infer_openvino", "ncnn": "infer_ncnn", "LiteRT": "infer_litert",
    "PyTorch": "infer_torch", "TensorFlow": "infer_tensorflow"}


def run(context):
    found = {}
    for preset, classes in CASES.items():
        begun = context.start(preset, classes)
        for batch in (1, 32):
            context.say(f"inference {preset}, batch {batch}")
            spec = begun.spec(batch, context.threads, saved_model=str(begun.saved_model))
            peers = {name: (module, spec) for name, module in PEERS.items()}
            bench = ["infer", begun.bundle, "--batch-size", batch]
            steps = context.steps(300 if batch == 1 else 30, 10 if batch == 1 else 2)
            case = context.contest("latency", bench, peers, steps, warm_up=2)
            same_work(case["results"])
            found[f"{preset}, batch {batch}"] = case
    return found


def same_work(results):
    """All peers must say the same of the first image: else one of them does not compute the network."""
    said = {name: result["facts"].pop("first") for name, result in results.items() if "first" in result["facts"]}
    names = list(said)
    for name in names[1:]:
        difference = np.abs(np.array(said[name]) - np.array(said[names[0]])).max()
        assert difference < 1e-3, f"{name} and {names[0]} differ by {difference}"
