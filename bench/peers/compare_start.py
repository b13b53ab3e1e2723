"""What a process costs by itself: start to first prediction, and memory, of face96."""

import json
import pathlib
import statistics
import sys

import numpy as np

import alternation
import pictures
import planes

THREADS = 1  # for one image; a process may use all CPUs
LAUNCH = pathlib.Path(__file__).with_name("launch.py")
# Each does as little as its library lets it: file, thread count, one prediction of noise, print.
PROGRAMS = {
    "ONNX Runtime": """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[1], options, ["CPUExecutionProvider"])
print(session.run(None, {"x": numpy.load(sys.argv[2])})[0], flush=True)
""",
    "OpenVINO": """
import sys, numpy, openvino
model = openvino.Core().compile_model(
    sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": int(sys.argv[3])})
print(model([numpy.load(sys.argv[2])])[0], flush=True)
""",
    "LiteRT": """
import sys, numpy
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=int(sys.argv[3]))
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], numpy.load(sys.argv[2]).transpose(0, 2, 3, 1))
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), flush=True)
""",
    "ncnn": """
import sys, numpy, ncnn
net = ncnn.Net()
net.opt.num_threads = int(sys.argv[3])
net.load_param(sys.argv[1])
net.load_model(sys.argv[1].replace(".param", ".bin"))
extractor = net.create_extractor()
extractor.input("in0", ncnn.Mat(numpy.load(sys.argv[2])[0]))
print(numpy.array(extractor.extract("out0")[1]), flush=True)
""",
    "PyTorch": """
import sys, numpy, torch
torch.set_num_threads(int(sys.argv[3]))
with torch.inference_mode():
    print(torch.jit.load(sys.argv[1])(torch.from_numpy(numpy.load(sys.argv[2]))), flush=True)
""",
    "TensorFlow": """
import sys, numpy, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[3]))
model = tf.saved_model.load(sys.argv[1])
print(model.signatures["serving_default"](tf.constant(numpy.load(sys.argv[2]).transpose(0, 2, 3, 1).copy())), flush=True)
""",
}
NOTE = (
    "By turns, files in the page cache, one thread each (what `nacre predict` takes by itself for one image). A start is timed from the "
    "start of the process to the line that it prints. nacre decodes a PNG for its prediction, the peers (Python programs of five lines, "
    "`bench/peers/compare_start.py`) read an array.")


def run(context):
    begun = context.start("face96", 5)
    spec = begun.spec(1, THREADS, saved_model=str(begun.saved_model))
    image, png = context.folder / "one.npy", context.folder / "one.png"
    np.save(image, planes.planes(spec))
    png.write_bytes(pictures.png(pictures.photos(1, 96)[0]))
    commands = {"nacre": [context.nacre, "predict", begun.bundle, png, "--threads", THREADS]}
    for name, file in files(begun, spec).items():
        commands[name] = [sys.executable, "-c", PROGRAMS[name], file, image, THREADS]
    times, memory = {}, {}
    for i in range(context.alternations):
        for name, command in commands.items():
            for _ in range(context.steps(5, 1) if name == "nacre" else 1):
                ms, peak = first_line(command, context.threads)
                times.setdefault(name, []).append(ms)
                memory.setdefault(name, []).append(peak)
        last = ", ".join(f"{name} {ms[-1]:.0f} ms" for name, ms in times.items())
        context.say(f"  start {i + 1}/{context.alternations}: {last}")
    start = [
        {"name": name, "min_ms": min(ms), "median_ms": statistics.median(ms), "peak_mb": min(memory[name]), "ms": ms}
        for name, ms in times.items()]
    return {"note": NOTE, "start": start, "memory": training_memory(context, begun)}


def files(begun, spec):
    """What each peer loads, made beforehand by a worker for inference."""
    for name in ("torch", "ncnn", "litert"):
        alternation.Peer.of_module(name, f"infer_{name}", spec, begun.folder).close()
    onnx = planes.onnx_file(spec)
    return {
        "ONNX Runtime": onnx, "OpenVINO": onnx, "LiteRT": begun.folder / "model.tflite", "ncnn": planes.ncnn_files(spec)[0],
        "PyTorch": begun.folder / f"batch{spec['batch']}.pt", "TensorFlow": begun.saved_model}


def first_line(command, threads):
    """Milliseconds until a program prints something, and the most memory it held, in MB."""
    told = json.loads(alternation.output_of([sys.executable, "-I", "-S", LAUNCH, *command], threads))
    return told["ms"], told["peak_mb"]


def training_memory(context, begun):
    batch = begun.recipe["batch-size"]
    command = [
        context.nacre, "bench", "train", "--model", begun.model_file, "--batch-size", batch, "--classes", 5, "--recipe",
        "--steps", 3, "--threads", context.threads]
    found = [{"name": "nacre", "peak_mb": first_line(command, context.threads)[1]}]
    spec = begun.spec(batch, context.threads)
    peers = {
        name: alternation.Peer.of_module(name, f"train_{module}", spec, context.folder)
        for name, module in {"TensorFlow": "tensorflow", "PyTorch": "torch", "JAX": "jax"}.items()}
    peers["dlib"] = alternation.Peer("dlib", [str(context.dlib), str(batch)], context.threads, context.folder / "dlib.log")
    for name, peer in peers.items():
        peer.run(0, 3)
        found.append({"name": name, "peak_mb": peer.peak_mb()})
        peer.close()
    return found
