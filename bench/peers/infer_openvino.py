"""Predictions of OpenVINO, in single precision throughout."""

import openvino

import planes


class Peer:
    def __init__(self, spec):
        compiled = openvino.Core().compile_model(
            str(planes.onnx_file(spec)), "CPU",
            {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": spec["threads"], "PERFORMANCE_HINT": "LATENCY"})
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(openvino.Tensor(planes.planes(spec)))

    def facts(self):
        return {"version": openvino.__version__.split("-")[0], "first": self._request.get_output_tensor().data[0].tolist()}

    def step(self):
        self._request.infer()
