"""What every comparison is given."""

import dataclasses
import pathlib
from typing import Callable

import alternation
import start


@dataclasses.dataclass
class Context:
    nacre: pathlib.Path
    benches: pathlib.Path  # folder of nacre's Google Benchmark programs
    dlib: pathlib.Path  # the worker that dlib is linked to
    folder: pathlib.Path  # for files on the way
    threads: int
    alternations: int
    quick: bool
    say: Callable
    starts: dict = dataclasses.field(default_factory=dict)

    def steps(self, full, quick):
        return quick if self.quick else full

    def start(self, preset, classes):
        """A preset's model, variables and exported forms, made once."""
        key = f"{preset}-{classes}"
        if key not in self.starts:
            self.starts[key] = start.Start(self.nacre, preset, classes, self.folder / key)
        return self.starts[key]

    def contest(self, key, bench, peers, steps, warm_up=1):
        """`nacre bench WORD...`, which times `key`, and peers by turns; a peer is a module and its spec, or a command."""

        def opener(name, peer):
            if isinstance(peer, list):
                return lambda: alternation.Peer(name, peer, self.threads, self.folder / f"{name}.log")
            return lambda: alternation.Peer.of_module(name, *peer, self.folder)

        nacre = alternation.Nacre([self.nacre, "bench", *bench], key, self.threads)
        openers = {name: opener(name, peer) for name, peer in peers.items()}
        return alternation.contest(nacre, openers, (self.alternations, warm_up, steps), self.say)
