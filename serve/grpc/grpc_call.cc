#include "serve/grpc/grpc_call.h"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

namespace nacre {
namespace {

/// Of a reply, up to which it is as small as what is held of the call anyway.
constexpr size_t kUncountedBytes = size_t{4} << 10;

}  // namespace

RpcStatus frame_message(const google::protobuf::MessageLite& message, std::string& framed) {
  const size_t size = message.ByteSizeLong();
  if (size > std::numeric_limits<int>::max())
    return {RpcCode::kResourceExhausted, "the response is too long for a message"};
  const auto prefix = grpc_prefix(size);
  const size_t begin = framed.size() + prefix.size();
  framed.reserve(begin + size);
  framed.append(prefix.begin(), prefix.end());
  framed.resize(begin + size);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(framed.data() + begin));
  return {};
}

UnsentReplies::Place UnsentReplies::add(const std::shared_ptr<GrpcCall>& call, size_t bytes) {
  std::vector<std::shared_ptr<GrpcCall>> condemned;
  Place place;
  {
    const std::lock_guard lock(mutex_);
    for (Reply& oldest : replies_) {
      if (bytes_ + bytes <= max_bytes_) break;
      // It stays in the list until its connection has given it up.
      bytes_ -= std::exchange(oldest.bytes, 0);
      if (auto old = oldest.call.lock()) condemned.push_back(std::move(old));
    }
    place = replies_.insert(replies_.end(), {call, bytes});
    bytes_ += bytes;
  }
  for (const auto& old : condemned) old->cancel();
  return place;
}

void UnsentReplies::remove(Place place) {
  const std::lock_guard lock(mutex_);
  bytes_ -= place->bytes;
  replies_.erase(place);
}

GrpcCall::GrpcCall(std::shared_ptr<GrpcReplySink> sink, int32_t stream, const Limits& limits)
    : sink_(std::move(sink)),
      stream_(stream),
      limits_(limits),
      reader_(limits.max_message_bytes, *limits.received),
      unread_share_(*limits.received, 0),
      begun_(ServeClock::now()),
      share_(*limits.received, 0),
      reply_share_(*limits.received, 0) {
  ++sink_->live_calls;
}

GrpcCall::~GrpcCall() {
  if (unsent_.has_value()) limits_.unsent->remove(*unsent_);
  --sink_->live_calls;
}

RpcStatus GrpcCall::decode(google::protobuf::MessageLite& message) const {
  std::string storage;
  ByteBudget::Share share(*limits_.received, 0);
  NACRE_ASSIGN_OR_RETURN(const std::string_view content,
                         grpc_content(request_, encoding_, limits_.max_message_bytes, storage, share));
  if (content.size() <= std::numeric_limits<int>::max() &&
      message.ParseFromArray(content.data(), static_cast<int>(content.size())))
    return {};
  return {RpcCode::kInternal, "Unable to parse request"};
}

void GrpcCall::send(const google::protobuf::MessageLite& response) {
  std::string framed;
  if (RpcStatus encoded = frame_message(response, framed); !encoded.ok()) return finish(std::move(encoded));
  ++waiting_messages_;
  sink_->post({shared_from_this(), GrpcReply::Kind::kMessage, std::move(framed), {}});
}

void GrpcCall::finish(RpcStatus status, const google::protobuf::MessageLite* response) {
  try {
    std::string framed;
    if (status.ok() && response != nullptr) status = frame_message(*response, framed);
    if (framed.size() > kUncountedBytes) unsent_ = limits_.unsent->add(shared_from_this(), framed.size());
    sink_->post({shared_from_this(), GrpcReply::Kind::kEnd, std::move(framed), std::move(status)});
  } catch (const std::bad_alloc&) {
    cancel();  // not even an error can be told
  }
}

void GrpcCall::cancel() {
  sink_->post({shared_from_this(), GrpcReply::Kind::kCancel, {}, {}});
}

}  // namespace nacre
