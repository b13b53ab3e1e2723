#!/bin/sh
# Starts nacre-serve as TensorFlow Serving's container starts its server: the model MODEL_NAME in MODEL_BASE_PATH/MODEL_NAME, gRPC on
# 8500 and REST on 8501. Arguments are more options.
exec nacre-serve --port=8500 --rest_api_port=8501 --model_name="${MODEL_NAME:-model}" \
  --model_base_path="${MODEL_BASE_PATH:-/models}/${MODEL_NAME:-model}" "$@"
