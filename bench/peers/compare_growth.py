"""How nacre's cost grows with the batch, the size of the images, the threads and the classes; no peers."""

import json

import alternation


def run(context):
    """One chart for each of what grows, with a line for each program."""
    begun = context.start("face96", 5)
    few = context.quick
    batches = [1, 4, 16, 64, 256] if few else [1, 2, 4, 8, 16, 32, 64, 128, 256]
    sizes = [32, 64, 128, 256] if few else [32, 48, 64, 96, 128, 192, 256]
    classes = [10, 100, 1000, 10000]
    threads = range(1, context.threads + 1)

    def batch_of(kind, threads_of):
        return [(batch, measure(context, kind, begun.model, batch, 5, threads_of)) for batch in batches]

    def size_of(kind):
        points = []
        for size in sizes:
            model = json.loads(json.dumps(begun.model))
            model["input"]["height"] = model["input"]["width"] = size
            points.append((size, measure(context, kind, model, 16, 5, context.threads)))
        return points

    def classes_of(kind):
        head = json.loads(json.dumps(begun.model))
        head["layers"][-1]["units"] = "classes"
        return [(count, measure(context, kind, head, 16, count, context.threads)) for count in classes]

    kinds = {"train": "training step", "infer": "inference"}
    say = context.say
    found = []
    say("growth: batch")
    found.append(chart("batch", "Batch of face96", "images a batch", [
        (f"{title}, {n} thread{'s' * (n > 1)}", batch_of(kind, n)) for kind, title in kinds.items() for n in threads]))
    say("growth: size of images")
    found.append(chart("size", "Size of the images, face96's layers, batch 16", "rows and columns",
                       [(title, size_of(kind)) for kind, title in kinds.items()]))
    say("growth: classes")
    found.append(chart("classes", "Classes, face96's layers, batch 16", "classes",
                       [(title, classes_of(kind)) for kind, title in kinds.items()]))
    return found


def chart(name, title, x, series):
    return {"name": name, "title": title, "x": x, "series": [{"name": of, "points": points} for of, points in series]}


def measure(context, kind, model, batch, classes, threads):
    """The least milliseconds of `nacre bench KIND`."""
    file = context.folder / "growing.json"
    file.write_text(json.dumps(model))
    command = [
        context.nacre, "bench", kind, "--model", file, "--batch-size", batch, "--classes", classes, "--threads", threads,
        "--steps", context.steps(10, 1), "--json"]
    return json.loads(alternation.output_of(command, threads))[{"train": "step_ms_min", "infer": "latency_ms_min"}[kind]]
