"""Training steps: forward, loss, backward, update, on images of noise that are in memory."""

CASES = {"face96": 5, "fashion28": 10, "residual32": 10, "lenet5": 10, "vgg32": 10}


def run(context):
    """Each preset by its own recipe: batch, optimizer, rate."""
    found = {}
    for preset, classes in CASES.items():
        begun = context.start(preset, classes)
        batch = begun.recipe["batch-size"]
        context.say(f"training {preset}, batch {batch}")
        spec = begun.spec(batch, context.threads)
        peers = {
            "TensorFlow": ("train_tensorflow", spec), "PyTorch": ("train_torch", spec), "JAX": ("train_jax", spec)}
        if preset == "face96":
            peers["dlib"] = [str(context.dlib), str(batch)]
        bench = ["train", "--model", begun.model_file, "--batch-size", batch, "--classes", classes, "--recipe"]
        steps = context.steps(20, 1)
        case = found[f"{preset}, batch {batch}"] = context.contest("step", bench, peers, steps)
        if not any(layer["op"] == "Dropout" for layer in begun.model["layers"]):
            same_work(case["results"])
    return found


def same_work(results):
    """Peers that start from the same variables and draw nothing must agree about the first loss."""
    losses = {name: result["facts"]["loss"] for name, result in results.items() if "loss" in result["facts"]}
    assert max(losses.values()) - min(losses.values()) < 1e-3 * max(losses.values()), losses
