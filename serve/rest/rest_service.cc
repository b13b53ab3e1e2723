#include "serve/rest/rest_service.h"

#include <fmt/format.h>

#include <boost/beast/core/string.hpp>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "serve/rest/json_reply.h"
#include "serve/rest/json_request.h"
#include "train/gzip.h"

namespace nacre {
namespace {

std::string_view api_of(RouteKind kind) {
  if (kind == RouteKind::kClassify) return "classify";
  return kind == RouteKind::kRegress ? "regress" : "predict";
}

std::string_view method_of(RouteKind kind) {
  if (kind == RouteKind::kClassify) return kClassifyMethod;
  return kind == RouteKind::kRegress ? kRegressMethod : kPredictMethod;
}

HttpReply json(std::string body) {
  HttpReply reply;
  reply.body = std::move(body);
  return reply;
}

HttpReply text(int status, std::string body) {
  HttpReply reply;
  reply.status = status;
  reply.body = std::move(body);
  reply.content_type = "text/plain; charset=utf-8";
  return reply;
}

std::vector<EncodedImage> borrowed(const std::vector<std::vector<std::byte>>& images) {
  return {images.begin(), images.end()};
}

/// "image 3: reason" as TensorFlow Serving's clients know it.
RpcStatus instance_error(const RpcStatus& status) {
  constexpr std::string_view kImage = "image ";
  const std::string& message = status.message();
  const size_t colon = message.find(": ");
  if (!message.starts_with(kImage) || colon == std::string::npos) return status;
  return {status.code(),
          fmt::format("Failed to process element: {} of 'instances' list. Error: image: {}",
                      message.substr(kImage.size(), colon - kImage.size()), message.substr(colon + 2))};
}

/// What came of a call, for the counters.
struct Call {
  std::shared_ptr<const Servable> servable;
  const ServedSignature* signature = nullptr;
};

std::string why_not_ready(const ServeCore& core) {
  if (core.draining) return "the server stops";
  const std::string names = core.models.unavailable_names();
  return names.empty() ? "no model is known yet" : "no version is available of " + names;
}

/// A reply's body.
RpcResult<std::string> classified(const Predictor& predictor, const simdjson::dom::object& root,
                                  RouteKind kind, const Call& call, const CallContext& context) {
  NACRE_ASSIGN_OR_RETURN(const auto images, read_examples(root));
  NACRE_ASSIGN_OR_RETURN(const Scores scores, predictor.run(*call.servable, borrowed(images), context));
  return kind == RouteKind::kClassify ? classify_json(*call.servable, scores) : regress_json(scores);
}

RpcResult<std::string> predicted(const Predictor& predictor, const simdjson::dom::object& root,
                                 RouteKind kind, const Call& call, const CallContext& context) {
  const bool cloud = kind == RouteKind::kCloudPredict;
  NACRE_ASSIGN_OR_RETURN(const PredictInputs inputs, read_predict(root, *call.signature, cloud));
  auto scores =
      call.signature->input == InputForm::kFloat
          ? predictor.run(*call.servable, inputs.floats, context, call.signature->output)
          : predictor.run(*call.servable, borrowed(inputs.encoded), context, call.signature->output);
  if (!scores.ok()) return inputs.rows ? instance_error(scores.status()) : scores.status();
  ReplyForm form = cloud ? ReplyForm::kNamed : ReplyForm::kRows;
  if (!inputs.rows) form = inputs.scalar ? ReplyForm::kScalar : ReplyForm::kColumns;
  return predict_json(*call.servable, *call.signature, *scores, form, inputs.keys);
}

/// Of a body's content, up to which what is made of it is not counted: threads bound how many there are.
constexpr size_t kUncountedBytes = size_t{1} << 20;

/// The content of a gzip stream, whose last four bytes say how much it is; counted in `share` when it is
/// large.
RpcResult<std::string> inflated(const std::string& body, size_t max_bytes, ByteBudget& budget,
                                ByteBudget::Share& share) {
  const auto bytes = std::as_bytes(std::span(body));
  const auto refused = [](const std::string& reason) {
    return RpcStatus(RpcCode::kInvalidArgument, "Malformed request: the body: " + reason);
  };
  constexpr size_t kLeast = 18;  // header and trailer
  if (!is_gzip(bytes) || body.size() < kLeast) return refused("expected gzip data");
  size_t size = 0;
  for (size_t i = body.size(); i-- > body.size() - 4;) size = size << 8 | static_cast<uint8_t>(body[i]);
  if (size > max_bytes) return refused(fmt::format("holds {} bytes, the limit is {}", size, max_bytes));
  if (size > gzip_upper_bound(body.size())) return refused("damaged gzip data");
  if (size > kUncountedBytes) {
    NACRE_ASSIGN_OR_RETURN(share, budget.take(size));
  }
  auto reader = GzipReader::open(bytes);
  if (!reader.ok()) return RpcStatus(RpcCode::kResourceExhausted, reader.status().message());
  std::string content(size, '\0');
  if (const Status read = (*reader)->read(std::as_writable_bytes(std::span(content))); !read.ok())
    return refused(read.message());
  if (const Status ended = (*reader)->finish(); !ended.ok()) return refused(ended.message());
  return content;
}

RpcResult<std::string> run(ServeCore& core, const Route& route, const HttpRequest& request,
                           size_t max_body_bytes, ByteBudget& budget, const CallContext& context,
                           Call& call) {
  // It may have waited for long.
  if (RpcStatus useful = context.check(); !useful.ok()) return useful;
  NACRE_ASSIGN_OR_RETURN(call.servable, core.models.find(route.model));
  ByteBudget::Share of_content;
  ByteBudget::Share of_json;
  std::string content;
  const bool gzip = boost::beast::iequals(request.content_encoding, "gzip");
  if (gzip) {
    NACRE_ASSIGN_OR_RETURN(content, inflated(request.body, max_body_bytes, budget, of_content));
  } else if (!request.content_encoding.empty() &&
             !boost::beast::iequals(request.content_encoding, "identity")) {
    return RpcStatus(RpcCode::kUnimplemented,
                     fmt::format("Content-Encoding {} is not supported", request.content_encoding));
  }
  const std::string& text = gzip ? content : request.body;
  if (text.size() > kUncountedBytes) {
    NACRE_ASSIGN_OR_RETURN(of_json, budget.take(json_memory(text)));
  }
  JsonDocument document;
  if (RpcStatus parsed = document.parse(text); !parsed.ok()) return parsed;
  NACRE_ASSIGN_OR_RETURN(const std::string name, signature_name_of(document.root()));
  NACRE_ASSIGN_OR_RETURN(call.signature, call.servable->signature(name, method_of(route.kind)));
  const bool examples = route.kind == RouteKind::kClassify || route.kind == RouteKind::kRegress;
  return examples ? classified(core.predictor, document.root(), route.kind, call, context)
                  : predicted(core.predictor, document.root(), route.kind, call, context);
}

}  // namespace

HttpReply RestService::handle(const HttpRequest& request, const CallContext& context) const {
  try {
    RpcResult<HttpReply> reply = RpcStatus();
    if (auto route = route_of(request.method, request.target, metrics_path_); route.ok()) {
      reply = answer(*route, request, context);
    } else {
      core_.metrics.count_refusal("REST", "no_route");
      reply = route.status();
    }
    if (!reply.ok()) return fail(http_status_of(reply.status().code()), reply.status().message());
    if (cors_ && !request.origin.empty()) reply->headers.emplace_back("Access-Control-Allow-Origin", "*");
    return std::move(reply).value();
  } catch (const std::bad_alloc&) {
    return fail(http_status_of(RpcCode::kResourceExhausted), "out of memory");
  }
}

bool RestService::is_quick(const HttpRequest& request) {
  return request.method != "POST";
}

HttpReply RestService::fail(int status, const std::string& message) const {
  HttpReply reply = json(error_json(message));
  reply.status = status;
  if (cors_) reply.headers.emplace_back("Access-Control-Allow-Origin", "*");
  return reply;
}

RpcResult<HttpReply> RestService::answer(const Route& route, const HttpRequest& request,
                                         const CallContext& context) const {
  switch (route.kind) {
    case RouteKind::kStatus: {
      NACRE_ASSIGN_OR_RETURN(const auto statuses, core_.models.status(route.model));
      return json(status_json(statuses));
    }
    case RouteKind::kMetadata: {
      NACRE_ASSIGN_OR_RETURN(const auto servable, core_.models.find(route.model));
      return json(metadata_json(*servable));
    }
    case RouteKind::kMetrics:
      return text(200, core_.metrics.prometheus());
    case RouteKind::kLive:
      return text(200, "");
    case RouteKind::kReady:
      return core_.ready() ? text(200, "") : text(503, why_not_ready(core_) + "\n");
    case RouteKind::kModelReady: {
      if (const auto found = core_.models.find(route.model); !found.ok()) return found.status();
      return text(200, "");
    }
    case RouteKind::kPreflight: {
      HttpReply reply = text(200, "");
      if (cors_) {
        reply.headers = {{"Access-Control-Allow-Methods", "POST, GET"},
                         {"Access-Control-Allow-Headers", "Content-Type"}};
      }
      return reply;
    }
    case RouteKind::kPredict:
    case RouteKind::kClassify:
    case RouteKind::kRegress:
    case RouteKind::kCloudPredict:
      break;
  }
  return infer(route, request, context);
}

RpcResult<HttpReply> RestService::infer(const Route& route, const HttpRequest& request,
                                        const CallContext& context) const {
  const ServeClock::time_point begun = ServeClock::now();
  Call call;
  auto body = run(core_, route, request, max_body_bytes_, decoded_, context, call);
  if (context.is_postponed()) return body.status();
  const std::string_view model = call.servable == nullptr ? core_.models.known_name(route.model.name)
                                                          : std::string_view(call.servable->name());
  core_.metrics.count_call({"REST", api_of(route.kind)}, model,
                           call.signature == nullptr ? "" : call.signature->info.name,
                           body.ok() ? RpcCode::kOk : body.status().code(),
                           std::chrono::duration_cast<std::chrono::microseconds>(ServeClock::now() - begun));
  if (!body.ok()) return body.status();
  return json(std::move(body).value());
}

}  // namespace nacre
