"""The usual Python stack beside nacre-serve: FastAPI on uvicorn, with TensorFlow or ONNX Runtime.

    NACRE_ENGINE=tensorflow|onnxruntime NACRE_MODEL=SAVED_MODEL-or-ONNX uvicorn --app-dir bench/load python_server:app --workers 2

Answers POST /v1/models/NAME:predict with {"instances": [{"b64": ...}]} as TensorFlow Serving does. NACRE_THREADS: what each worker
computes with (as many as the engine takes by itself, if not given).
"""

import base64
import os

import fastapi
import numpy as np
import pydantic

SOURCE = os.environ["NACRE_MODEL"]
SIDE = int(os.environ.get("NACRE_SIDE", "96"))
THREADS = int(os.environ.get("NACRE_THREADS", "0"))  # 0: the engine's default


class Image(pydantic.BaseModel):
    b64: str


class Images(pydantic.BaseModel):
    instances: list[Image]


def tensorflow_engine():
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    model = tf.saved_model.load(SOURCE)
    # The signature that decodes inside the graph: quicker than decoding beforehand, image by image.
    predict = model.signatures["serving_default"]

    def run(encoded):
        return predict(image=tf.constant(encoded))["prediction"].numpy()

    run.model = model  # kept, or its variables would go
    return run


def onnx_engine():
    import cv2
    import onnxruntime

    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(SOURCE, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name

    def run(encoded):
        images = []
        for image in encoded:
            pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            pixels = pixels.astype(np.float32) / 255
            images.append(pixels if pixels.shape[:2] == (SIDE, SIDE) else cv2.resize(pixels, (SIDE, SIDE)))
        return session.run(None, {source: np.stack(images)})[0]

    return run


engine = tensorflow_engine() if os.environ["NACRE_ENGINE"] == "tensorflow" else onnx_engine()
app = fastapi.FastAPI()


@app.post("/v1/models/{name}:predict")
async def predict(name: str, images: Images):
    return {"predictions": engine([base64.b64decode(image.b64) for image in images.instances]).tolist()}
