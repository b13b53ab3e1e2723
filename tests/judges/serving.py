"""TensorFlow Serving's messages of prediction logs, by their field numbers; tensors are TensorFlow's own."""

import functools

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from tensorflow.core.framework import tensor_pb2

_PACKAGE = "tensorflow.serving"
_TENSOR = ".tensorflow.TensorProto"

# Message -> field -> number and type; a type "map" is one of names to tensors.
_MESSAGES = {
    "ModelSpec": {"name": (1, "string"), "version": (2, ".google.protobuf.Int64Value"), "signature_name": (3, "string")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "map"), "output_filter": (3, "strings")},
    "PredictResponse": {"outputs": (1, "map"), "model_spec": (2, "ModelSpec")},
    "PredictLog": {"request": (1, "PredictRequest"), "response": (2, "PredictResponse")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}


def parse(message, data):
    """A message of bytes, of which every field is known."""
    parsed = message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{message}"))()
    parsed.ParseFromString(data)
    without = type(parsed)()
    without.CopyFrom(parsed)
    without.DiscardUnknownFields()
    assert without.SerializeToString(deterministic=True) == parsed.SerializeToString(deterministic=True), "unknown fields"
    return parsed


@functools.cache
def _pool():
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="judges/prediction_log.proto", package=_PACKAGE, syntax="proto3",
        dependency=[tensor_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name])
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated = kind in ("map", "strings")
            added = message.field.add(name=field, number=number, label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL)
            if kind in ("string", "strings"):
                added.type = kinds.TYPE_STRING
                continue
            added.type = kinds.TYPE_MESSAGE
            if kind == "map":
                entry = message.nested_type.add(name=field.title() + "Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
                entry.field.add(
                    name="value", number=2, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_MESSAGE, type_name=_TENSOR)
                kind = f".{_PACKAGE}.{name}.{entry.name}"
            added.type_name = kind if kind.startswith(".") else f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool
