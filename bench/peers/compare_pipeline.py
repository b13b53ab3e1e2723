"""Training face96 from JPEG files, decoded and augmented anew for every step: nothing is kept in memory on either side."""

import json
import statistics

import alternation
import pictures

COUNT, WARM_UP = 1000, 3
NOTE = (
    "face96, batch 100, from 1,000 JPEG files of 96x96 (quality 90, 4:2:0), with all augmentations of the recipe; `nacre train "
    "--cache-mib 0` beside `tf.data` with as many threads and a prefetch of two batches. Times are a block's time divided by its "
    "steps; minimum and median are over blocks, one a turn.")


class NacreTraining:
    """`nacre train`, a run of its own each turn; its first steps are not counted."""

    name, facts = "nacre", {}

    def __init__(self, context, begun, images):
        self._context, self._begun, self._images, self._runs = context, begun, images, 0

    def run(self, _, steps):
        self._runs += 1
        run = self._context.folder / f"pipeline-run-{self._runs}"
        command = [
            self._context.nacre, "train", "--model", self._begun.model_file, "--data", self._images, "--out", run, "--steps",
            WARM_UP + steps, "--cache-mib", 0, "--events", "none", "--checkpoint-every", 0, "--threads", self._context.threads]
        alternation.output_of(command, self._context.threads)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        rates = [line["images_per_second"] for line in lines if "images_per_second" in line][WARM_UP:]
        assert len(rates) == steps
        ms = statistics.mean(self._begun.recipe["batch-size"] * 1000 / rate for rate in rates)
        return ms, ms

    def close(self):
        pass


class Block:
    """A peer whose step is a block of training steps."""

    def __init__(self, peer, block):
        self.name, self.facts, self._peer, self._block = peer.name, peer.facts, peer, block

    def run(self, warm_up, _):
        ms = self._peer.run(warm_up, 1)[0] / self._block
        return ms, ms

    def close(self):
        self._peer.close()


def run(context):
    begun = context.start("face96", 5)
    images = context.folder / "jpegs"
    for label in range(5):
        (images / str(label)).mkdir(parents=True)
    for i, photo in enumerate(pictures.photos(COUNT, 96)):
        encoded = pictures.jpeg(pictures.data.coloured(photo), 90, "420")
        (images / str(i % 5) / f"{i:04d}.jpg").write_bytes(encoded)
    block = context.steps(20, 3)
    context.say(f"pipeline: blocks of {block} steps")
    spec = begun.spec(begun.recipe["batch-size"], context.threads, images=str(images), block=block)

    def tensorflow():
        return Block(alternation.Peer.of_module("TensorFlow", "pipeline_tensorflow", spec, context.folder), block)

    peers = {"TensorFlow": tensorflow}
    case = alternation.contest(
        NacreTraining(context, begun, images), peers, (context.alternations, 0, block), context.say)
    return {"face96 from JPEGs, batch 100": case, "note": NOTE}
