#pragma once

#include <string>

#include "schemas/tensorflow/inference.pb.h"
#include "schemas/tensorflow/model_service.pb.h"
#include "schemas/tensorflow/predict.pb.h"
#include "serve/call_context.h"
#include "serve/rpc_status.h"
#include "serve/serve_core.h"

namespace nacre {

/// What a call turned out to be about, for the counters: names of what is served, else empty.
struct CallSubject {
  std::string model;
  std::string signature;
};

// The calls of TensorFlow Serving's PredictionService, without a transport: each blocks until `response` is
// filled, or says why it is not. Codes and messages are TensorFlow Serving's where it has any. Thread-safe.

RpcStatus answer_predict(const ServeCore& core, const tensorflow::serving::PredictRequest& request,
                         const CallContext& context, tensorflow::serving::PredictResponse& response,
                         CallSubject& subject);

/// The input's examples hold an encoded image each, in the feature "image" of their own or of their context.
RpcStatus answer_classify(const ServeCore& core, const tensorflow::serving::ClassificationRequest& request,
                          const CallContext& context, tensorflow::serving::ClassificationResponse& response,
                          CallSubject& subject);

RpcStatus answer_regress(const ServeCore& core, const tensorflow::serving::RegressionRequest& request,
                         const CallContext& context, tensorflow::serving::RegressionResponse& response,
                         CallSubject& subject);

/// All tasks are for one model; the images go through it once.
RpcStatus answer_multi_inference(const ServeCore& core,
                                 const tensorflow::serving::MultiInferenceRequest& request,
                                 const CallContext& context,
                                 tensorflow::serving::MultiInferenceResponse& response, CallSubject& subject);

}  // namespace nacre
