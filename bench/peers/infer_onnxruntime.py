"""Predictions of ONNX Runtime."""

import onnxruntime

import planes


class Peer:
    def __init__(self, spec):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = spec["threads"], 1
        self._session = onnxruntime.InferenceSession(str(planes.onnx_file(spec)), options, ["CPUExecutionProvider"])
        self._input = {"x": planes.planes(spec)}

    def facts(self):
        return {"version": onnxruntime.__version__, "first": self._output[0].tolist()}

    def step(self):
        (self._output,) = self._session.run(None, self._input)
