"""Predictions of ncnn, which takes one image at a time: a batch is its images one after the other."""

import ncnn
import numpy as np

import planes


class Peer:
    def __init__(self, spec):
        self._images = [np.ascontiguousarray(image) for image in planes.planes(spec)]
        self._net = ncnn.Net()
        self._net.opt.num_threads = spec["threads"]
        self._net.opt.use_fp16_packed = self._net.opt.use_fp16_storage = self._net.opt.use_fp16_arithmetic = False
        self._net.opt.use_bf16_storage = False
        param, weights = planes.ncnn_files(spec)
        self._net.load_param(str(param))
        self._net.load_model(str(weights))

    def facts(self):
        return {"version": ncnn.__version__, "first": self._first}

    def step(self):
        outputs = [self._predict(image) for image in self._images]
        self._first = outputs[0].tolist()

    def _predict(self, image):
        extractor = self._net.create_extractor()
        extractor.input("in0", ncnn.Mat(image))
        return np.array(extractor.extract("out0")[1])
